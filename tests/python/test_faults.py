"""A fixed sample of the faults at system calls; all of them: tests/system/faults.py."""
import pathlib
import subprocess
import sys

FAULTS = pathlib.Path(__file__).resolve().parents[1] / "system" / "faults.py"


def test_a_sample_of_faults_leaves_the_old_or_the_new_state():
    done = subprocess.run([sys.executable, FAULTS, "--quick"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert done.stdout.rstrip().splitlines()[-1].startswith("0 violations")
