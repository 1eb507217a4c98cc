"""The program around its commands."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import p2pqg.data
from p2pqg.cli import main
from p2pqg.cli.program import Program

CTRL_C_AT_THE_END = """
import atexit, os, signal, sys
atexit.register(os.kill, os.getpid(), signal.{name})
from p2pqg.cli import main
sys.argv = ["p2pqg", "list", "topologies"{more}]
main()
"""

CTRL_C_WHILE_LOADED = """
import importlib.abc, os, signal, sys
class Stopping(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.{name})
sys.meta_path.insert(0, Stopping())
sys.argv = [{called!r}, "list"]
try:
    import p2pqg.cli
except KeyboardInterrupt:
    print("it goes on")
"""


def test_the_package_is_a_program_too():
    done = subprocess.run(
        [sys.executable, "-m", "p2pqg", "list", "topologies"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "social" in done.stdout


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


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("p2pqg", "SIGINT"),
        ("/opt/bin/p2pqg", "SIGTERM"),
        ("-m", "SIGHUP"),
        ("/opt/p2pqg/__main__.py", "SIGINT"),
    ],
)
def test_ctrl_c_while_the_program_is_loaded_is_a_line_and_no_traceback(called, name):
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C_WHILE_LOADED.format(called=called, name=name)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "StoppedError: stopped\n"


def test_another_program_that_loads_the_commands_hears_of_ctrl_c_itself():
    script = CTRL_C_WHILE_LOADED.format(called="my_p2pqg_script.py", name="SIGINT")
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "it goes on\n", "")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_whatever_command_is_asked_to_end_says_so(name):
    number = getattr(signal, name)
    usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
    before = signal.signal(number, usual)  # which may be to ignore it, as of nohup
    try:
        stopped = click.Command("c", callback=lambda: os.kill(os.getpid(), number))
        done = CliRunner().invoke(Program(commands={"c": stopped}), ["c"])
        assert (done.exit_code, done.stdout, done.stderr) == (1, "", "StoppedError: stopped\n")
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_a_program_that_calls_a_command_can_be_stopped_afterwards(capsys):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(SystemExit):
        main(["list", "topologies"])
    after = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert after == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_log_on_a_full_disk_is_no_bug_of_ours():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "p2pqg", "list", "topologies"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    told = "StorageError: what it prints cannot be written: No space left on device\n"
    assert done.stderr == told


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


def test_what_is_warned_of_is_a_note_in_one_line(monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back afterwards
    main(["list", "links"], standalone_mode=False)
    said = warnings.formatwarning("no room", p2pqg.Notice, p2pqg.data.__file__, 3)
    assert said == "note: no room\n"
    said = warnings.formatwarning("no room", UserWarning, "theirs.py", 3, "")
    assert said == "theirs.py:3: UserWarning: no room\n"
    said = warnings.formatwarning("old", FutureWarning, p2pqg.data.__file__, 3, "")
    assert said.endswith("__init__.py:3: FutureWarning: old\n")


@pytest.mark.parametrize(
    ("env", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_who_wants_no_colours_or_has_no_terminal_for_them_gets_none(env, coloured):
    told = CliRunner(env={"NO_COLOR": None, "TERM": "xterm"} | env).invoke(
        main, ["list", "topologies"], color=True
    )
    assert ("\x1b" in told.output) is coloured


def test_in_a_folder_that_was_deleted_a_command_says_so(tmp_path, monkeypatch):
    here = tmp_path / "gone"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    done = CliRunner().invoke(main, ["list", "topologies"])
    assert done.exit_code == 2
    assert "the folder that this was started in has been deleted; cd into" in done.output
