"""The program around its commands."""

import subprocess
import sys

CTRL_C_AT_THE_END = """
import atexit, os, signal
atexit.register(os.kill, os.getpid(), signal.{name})
from p2pqg.cli import main
main(["list", "topologies"{more}])
"""


def test_ctrl_c_while_the_interpreter_tidies_up_changes_nothing():
    for name, more, code in [("SIGINT", "", 0), ("SIGTERM", "", 0), ("SIGINT", ", '--nope'", 2)]:
        done = subprocess.run(
            [sys.executable, "-c", CTRL_C_AT_THE_END.format(name=name, more=more)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert done.returncode == code
        assert "KeyboardInterrupt" not in done.stderr
