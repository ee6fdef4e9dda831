"""The quick set of attacks over the network; all of them: tests/system/abuse.py."""
import pathlib
import subprocess
import sys

ABUSE = pathlib.Path(__file__).resolve().parents[1] / "system" / "abuse.py"


def test_the_daemon_stands_the_quick_attacks():
    done = subprocess.run([sys.executable, ABUSE, "--quick"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "0 problems in " in done.stdout
