"""Break real runs on real Ray actors at random moments, and see whether anything is lost.

    python tests/stress/stress.py [--trials 5] [--seed 0] [--kinds actor,driver]

Every trial starts `p2pqg run`, waits for its first rows, lets a random time pass, and breaks
something; then the run goes on by itself, or `p2pqg resume` goes on with it. It has survived if it
comes to its end, and is bit-identical if all its tables but wall time, and all its models, are
those of the run that nothing happened to. About a quarter of a minute per trial on two cores.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from p2pqg.results.checkpoint import newest, read_checkpoint
from p2pqg.results.records import Run, load

MARK = f"p2pqg-stress-{os.getpid()}"
"""In the environment of all that is started here, Ray's own processes among them."""

SMALL = [
    *("--topology", "ring6", "--alpha", "0.5", "--batch-size", "8", "--set", "model.hidden=[16]"),
    *("--rounds", "1500", "--eval-every", "250", "--record-every", "10", "--seed", "1"),
    *("--clients-per-actor", "3", "--checkpoint-every", "0.5"),
    *("--set", "impairments.loss=0.1", "--set", "impairments.delay=[0,2]"),
]
"""Two actors, some seconds of rounds, messages on their way at any time."""

LARGE = [
    *("--topology", "ring6", "--alpha", "0.5", "--batch-size", "8", "--set", "model.hidden=[5000]"),
    *("--rounds", "60", "--eval-every", "30", "--record-every", "1", "--seed", "1"),
    *("--clients-per-actor", "3", "--checkpoint-every", "0.01"),
]
"""Checkpoints of 19 MB, one after the other."""


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

    def start(self, *words: str) -> subprocess.Popen:
        """Start the run; returns when its first rows are there."""
        process = command("run", *self.job, "--out", str(self.out), "--name", "run", *words)
        wait_for(lambda: (self.path / "rounds.parquet").exists(), process)
        return process

    def some_time(self, share: float = 0.7) -> None:
        """Let a random part of the run's time pass."""
        time.sleep(self.chance.uniform(0, share * self.seconds))

    def resume(self) -> None:
        finish(command("resume", str(self.path)))


def command(*words: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "p2pqg.cli", *words, "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"P2PQG_TEST": MARK},
    )


def finish(process: subprocess.Popen, code: int = 0) -> str:
    """Wait for the end of a command that must end so, with nothing on stdout; what it said."""
    printed, said = process.communicate(timeout=300)
    if process.returncode == 0 != code:
        raise MissedError
    if process.returncode != code or printed:
        raise AssertionError(f"exit code {process.returncode}: {printed[-300:]} {said[-300:]}")
    return said


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen, seconds: float = 120
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise MissedError
        time.sleep(0.002)


def hit(process: subprocess.Popen, number: signal.Signals) -> None:
    """Send a signal to a command that still runs."""
    if process.poll() is not None:
        raise MissedError
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


# What may happen


def actor(trial: Trial) -> None:
    """SIGKILL to the process of an actor; the run goes on by itself."""
    process = trial.start()
    trial.some_time()
    actors = processes("ray::HostActor")
    if not actors:
        raise MissedError
    with suppress(ProcessLookupError):
        os.kill(trial.chance.choice(actors), signal.SIGKILL)
    finish(process)
    if "restarts" not in load(trial.path).summary:
        raise MissedError


def node(trial: Trial) -> None:
    """A node of the Ray cluster is lost with the actor on it; the run goes on on the other."""
    from ray.cluster_utils import Cluster  # noqa: TID251 (a cluster is what is broken here)

    quiet = {"num_cpus": 1, "include_dashboard": False, "env_vars": {"P2PQG_TEST": MARK}}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    try:
        other = cluster.add_node(num_cpus=1, env_vars={"P2PQG_TEST": MARK})
        process = trial.start("--address", cluster.address)
        trial.some_time()
        cluster.remove_node(other, allow_graceful=False)
        finish(process)
    finally:
        cluster.shutdown()
    if "restarts" not in load(trial.path).summary:
        raise MissedError


def driver(trial: Trial) -> None:
    """SIGKILL to the command itself, which takes Ray with it; resumed."""
    with trial.start() as process:
        trial.some_time()
        hit(process, signal.SIGKILL)
    trial.resume()


def polite(trial: Trial) -> None:
    """Ctrl-C or SIGTERM; resumed."""
    process = trial.start()
    trial.some_time()
    hit(process, trial.chance.choice([signal.SIGINT, signal.SIGTERM]))
    if f"p2pqg resume {trial.path}" not in finish(process, code=1):
        raise AssertionError("it did not say how to go on")
    trial.resume()


def writing(trial: Trial) -> None:
    """SIGKILL to the command while it writes a checkpoint; resumed."""
    with trial.start() as process:
        trial.some_time()
        wait_for(lambda: any(trial.path.glob("checkpoints/.round-*")), process)
        time.sleep(trial.chance.uniform(0, 0.05))
        hit(process, signal.SIGKILL)
    trial.resume()


def damage(trial: Trial) -> None:
    """SIGKILL to the command, and a file of its newest checkpoint is damaged; resumed."""
    with trial.start() as process:
        wait_for(lambda: len(list(newest(trial.path / "checkpoints"))) == 2, process)
        trial.some_time(0.5)
        hit(process, signal.SIGKILL)
    file = trial.chance.choice(sorted(next(newest(trial.path / "checkpoints")).iterdir()))
    content = bytearray(file.read_bytes())
    at = trial.chance.randrange(len(content) - 1)
    match trial.chance.choice(["flip", "cut", "remove"]):
        case "flip":
            content[at] ^= 1 << trial.chance.randrange(8)
            file.write_bytes(content)
        case "cut":
            file.write_bytes(content[:at])
        case "remove":
            file.unlink()
    trial.resume()


def disk(trial: Trial) -> None:
    """The disk is full, for a while or until the run ends; resumed in the latter case."""
    with small_disk(trial.out):
        process = trial.start()
        trial.some_time(0.3)
        with full(trial.out):
            if for_a_while := trial.chance.random() < 0.5:
                trial.some_time(0.4)
            else:
                finish(process, code=1)
        if for_a_while:
            finish(process)
        else:
            trial.resume()
        shutil.copytree(trial.path, copy := trial.out.with_name("run"))
    shutil.move(copy, trial.path)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, of 2 MB, while inside; needs root."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Whatever room there is in a file system is taken at once, while inside."""
    ballast, over = folder / "ballast", threading.Event()

    def fill() -> None:
        with ballast.open("ab", buffering=0) as file:
            while not over.wait(0.001):
                with suppress(OSError):
                    while True:
                        file.write(bytes(4096))

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        yield
    finally:
        over.set()
        filling.join()
        ballast.unlink()


KINDS: dict[str, tuple[Callable[[Trial], None], list[str]]] = {
    "actor": (actor, SMALL),
    "node": (node, SMALL),
    "driver": (driver, SMALL),
    "polite": (polite, SMALL),
    "writing": (writing, LARGE),
    "damage": (damage, SMALL),
    "disk": (disk, SMALL),
}


# What came of it


def numbers(run: Run) -> list[pd.DataFrame]:
    """All tables of a run but wall time, and the models at its end."""
    models = read_checkpoint(next(newest(run.path / "checkpoints"))).arrays["rows.state.x"]
    return [run.rounds.drop(columns="wall_seconds"), run.clients, pd.DataFrame(models)]


def undisturbed(folder: Path, job: list[str]) -> tuple[list[pd.DataFrame], float]:
    """The numbers that are expected, and the seconds from the first row to the last."""
    finish(command("run", *job, "--out", str(folder), "--name", "whole"))
    whole = load(folder / "whole")
    return numbers(whole), whole.rounds["wall_seconds"].agg(lambda s: s.iloc[-1] - s.iloc[0])


def attempt(kind: str, trial: Trial, expected: list[pd.DataFrame]) -> tuple[bool, bool]:
    """Whether a run survives, and is bit-identical; again if it was over too soon."""
    for _ in range(5):
        try:
            KINDS[kind][0](trial)
        except MissedError:
            shutil.rmtree(trial.out, ignore_errors=True)
            trial.seconds /= 2
        except (AssertionError, subprocess.TimeoutExpired) as error:
            print(f"  {kind}: {error}", flush=True)
            return False, False
        else:
            pairs = zip(numbers(load(trial.path)), expected, strict=True)
            return True, all(mine.equals(other) for mine, other in pairs)
    raise SystemExit(f"{kind}: the run is over too soon each time")


def main() -> int:
    """Break things; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5, help="of each kind; default: 5")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"default: {','.join(KINDS)}")
    options = parser.parse_args()
    table, wholes = [], {}
    with tempfile.TemporaryDirectory(prefix="p2pqg-stress-") as place:
        folder = Path(place)
        for kind in options.kinds.split(","):
            job = KINDS[kind][1]
            if str(job) not in wholes:
                wholes[str(job)] = undisturbed(folder / f"whole-{len(wholes)}", job)
            expected, seconds = wholes[str(job)]
            outcomes, began = [], time.monotonic()
            for number in range(options.trials):
                chance = random.Random(f"{options.seed} {kind} {number}")
                trial = Trial(folder / f"{kind}-{number}", job, seconds, chance)
                outcomes.append(attempt(kind, trial, expected))
            each = (time.monotonic() - began) / options.trials
            table.append((kind, len(outcomes), *map(sum, zip(*outcomes, strict=True)), each))
            print(f"{kind}: {table[-1][1:4]}", flush=True)
    time.sleep(5)
    left = processes()
    print(f"\n{'kind':<10}{'tried':>6}{'survived':>10}{'bit-identical':>15}{'seconds each':>14}")
    for kind, tried, survived, identical, each in table:
        print(f"{kind:<10}{tried:>6}{survived:>10}{identical:>15}{each:>14.1f}")
    print(f"processes left behind: {len(left)}")
    return int(bool(left) or any(tried != identical for _, tried, _, identical, _ in table))


if __name__ == "__main__":
    sys.exit(main())
