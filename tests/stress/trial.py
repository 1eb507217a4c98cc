"""A run that is to be broken, and the commands and signals for it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2pqg.results.run import load

MARK = f"p2pqg-stress-{os.getpid()}"
"""In the environment of all that is started here, Ray's own processes among them."""

FLAG = Path(tempfile.gettempdir()) / f"{MARK}-flag"
"""While it is there, `method.py` does what is in it."""

METHOD = Path(__file__).with_name("method.py")

SMALL = [
    *("--topology", "ring6", "--alpha", "0.5", "--batch-size", "8", "--set", "model.hidden=[16]"),
    *("--rounds", "800", "--eval-every", "200", "--record-every", "10", "--seed", "1"),
    *("--clients-per-actor", "3", "--checkpoint-every", "0.3"),
    *("--set", "impairments.loss=0.1", "--set", "impairments.delay=[0,2]"),
]
"""Two actors, some seconds of rounds, messages on their way at any time."""

ALONE = [*SMALL, "--engine", "local"]
"""The same in one process, for what happens to files, which no actor writes."""

LARGE = [
    *("--topology", "ring6", "--alpha", "0.5", "--batch-size", "8", "--set", "model.hidden=[5000]"),
    *("--rounds", "60", "--eval-every", "30", "--record-every", "1", "--seed", "1"),
    *("--clients-per-actor", "3", "--checkpoint-every", "0.01"),
    *("--engine", "local"),
]
"""Checkpoints of 19 MB, one after the other."""

OWN = [*SMALL, "--algorithm", f"{METHOD}:stressed"]
"""A method of the user's."""


class MissedError(Exception):
    """The run was over before it could be broken; this trial does not count."""


@dataclass
class Trial:
    """One run that is to be broken.

    Attributes:
        out: where its directory is.
        job: words of the command.
        seconds: that its rounds take when nobody interferes.
        chance: of this trial.
    """

    out: Path
    job: list[str]
    seconds: float
    chance: random.Random

    @property
    def path(self) -> Path:
        return self.out / "run"

    @property
    def rounds(self) -> int:
        return int(self.job[self.job.index("--rounds") + 1])

    def launch(self, *words: str) -> subprocess.Popen:
        """Start the run."""
        return command("run", *self.job, "--out", str(self.out), "--name", "run", *words)

    def start(self, *words: str) -> subprocess.Popen:
        """Start the run; returns when its first rows are there."""
        process = self.launch(*words)
        wait_for(lambda: (self.path / "rounds.parquet").exists(), process)
        return process

    def some_time(self, share: float = 0.7) -> None:
        """Let a random part of the run's time pass."""
        time.sleep(self.chance.uniform(0, share * self.seconds))

    def resume(self) -> None:
        finish(command("resume", str(self.path)))

    def check_it_restarted(self) -> None:
        if "restarts" not in load(self.path).summary:
            raise MissedError


def command(*words: str, quiet: bool = True) -> subprocess.Popen:
    """A command of ours, in a session of its own, as of a terminal."""
    more = ["--quiet"] if quiet else []
    return subprocess.Popen(
        [sys.executable, "-m", "p2pqg.cli", *words, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"P2PQG_TEST": MARK, "P2PQG_FLAG": str(FLAG)},
        start_new_session=True,
    )


def finish(process: subprocess.Popen, code: int = 0, prints: bool = False) -> str:
    """Wait for the end of a command that must end so, with nothing on stdout; what it said."""
    printed, said = process.communicate(timeout=300)
    if process.returncode == 0 != code:
        raise MissedError
    if process.returncode != code or (printed and not prints):
        raise AssertionError(f"exit code {process.returncode}: {printed[-300:]} {said[-300:]}")
    return said


def refused(process: subprocess.Popen) -> str:
    """What a command says that ends with 0 (then nothing) or with 1 or 2 and a line."""
    said = process.communicate(timeout=300)[1]
    if process.returncode == 0:
        return ""
    if process.returncode not in (1, 2) or said.count("\n") > 4 or "a bug in p2pqg" in said:
        raise AssertionError(f"exit code {process.returncode}: {said[-500:]}")
    return said


def wait_for(
    condition: Callable[[], bool],
    process: subprocess.Popen,
    seconds: float = 120,
    poll: float = 0.002,
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise MissedError
        time.sleep(poll)


def hit(process: subprocess.Popen, number: signal.Signals, all_of_them: bool = False) -> None:
    """Send a signal to a command that still runs, or to its whole session, as terminals do."""
    if process.poll() is not None:
        raise MissedError
    if all_of_them:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)


def processes(name: str = "") -> list[int]:
    """What was started here and still lives, and has that in its command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ours = f"P2PQG_TEST={MARK}".encode() in (entry / "environ").read_bytes()
            if ours and name.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found
