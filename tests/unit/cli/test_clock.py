"""When a command began."""

import subprocess
import sys
import time

TELL_WHEN = """
import time
imports_begin = time.time()
from p2pqg.cli.program import command_started
print(imports_begin - command_started())
print(command_started())
"""


def test_the_clock_starts_with_the_interpreter_and_not_with_a_shell_before_it():
    told = subprocess.check_output([sys.executable, "-c", TELL_WHEN], text=True)
    assert float(told.split()[0]) > 0.005  # what Python itself took until then
    line = 'sleep 0.5; date +%s.%N; exec "$0" -c "$1"'
    told = subprocess.check_output(["sh", "-c", line, sys.executable, TELL_WHEN], text=True)
    slept_until, _, started = map(float, told.split())
    assert slept_until - 0.25 < started < time.time()
