"""A fixed sample of the faults at system calls; all of them: tests/system/faults.py."""
import pathlib
import subprocess
import sys

import pytest

SYSTEM = pathlib.Path(__file__).resolve().parents[1] / "system"
sys.path.insert(0, str(SYSTEM))

from fault_control import is_instrumented  # noqa: E402

FAULTS = SYSTEM / "faults.py"


@pytest.mark.skipif(is_instrumented(), reason="a daemon with a sanitizer takes no preloaded library")
def test_a_sample_of_faults_leaves_the_old_or_the_new_state():
    done = subprocess.run([sys.executable, FAULTS, "--quick"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert done.stdout.rstrip().splitlines()[-1].startswith("0 violations")
