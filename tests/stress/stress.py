"""Break real runs on real Ray actors at random moments, and see whether anything is lost.

    python tests/stress/stress.py [--trials 5] [--seed 0] [--kinds actor,driver] [--long]
        [--minutes 60]

Every trial starts `p2pqg run`, waits for its first rows, lets a random time pass, and breaks
something (`faults.py`); then the run goes on by itself, or `p2pqg resume` goes on with it. It has
survived if it comes to its end, or to the line that its kind of fault shall end with, and leaves
no process behind. It is bit-identical if all its tables but wall time, and all its models, are
those of the run that nothing happened to. About twenty seconds per trial on two cores; `--long`
tries each kind a hundred times. Needs root, for disks that are full or cannot be written.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from itertools import product
from pathlib import Path

import pandas as pd
from faults import KINDS
from trial import MissedError, Trial, command, finish, processes

from p2pqg.results.checkpoint import newest, read_checkpoint
from p2pqg.results.run import Run, load

SECONDS_TO_END = 5.0
"""Processes of Ray may take so long after the command has ended."""


def numbers(run: Run) -> list[pd.DataFrame]:
    """All tables of a run but wall time, and the models at its end."""
    models = read_checkpoint(next(newest(run.path / "checkpoints"))).arrays["rows.state.x"]
    return [run.rounds.drop(columns="wall_seconds"), run.clients, pd.DataFrame(models)]


def undisturbed(folder: Path, job: list[str]) -> tuple[list[pd.DataFrame], float]:
    """The numbers that are expected, and the seconds from the first row to the last."""
    finish(command("run", *job, "--out", str(folder), "--name", "whole"))
    whole = load(folder / "whole")
    return numbers(whole), whole.rounds["wall_seconds"].agg(lambda s: s.iloc[-1] - s.iloc[0])


def attempt(kind: str, trial: Trial, expected: list[pd.DataFrame]) -> tuple[bool, bool] | None:
    """Whether a run survives, and is bit-identical; again if it was over too soon, at last None."""
    for _ in range(5):
        try:
            compares = KINDS[kind][0](trial) is not False
            check_nothing_runs()
        except MissedError:
            shutil.rmtree(trial.out, ignore_errors=True)
            trial.seconds /= 2
        except Exception as error:  # whatever it is, the other trials go on
            print(f"  {kind}: {type(error).__name__}: {error}", flush=True)
            return False, False
        else:
            pairs = zip(numbers(load(trial.path)), expected, strict=True) if compares else ()
            return True, all(mine.equals(other) for mine, other in pairs)
    print(f"  {kind}: the run was over too soon each time", flush=True)
    return None


def check_nothing_runs() -> None:
    deadline = time.monotonic() + SECONDS_TO_END
    while left := processes():
        if time.monotonic() > deadline:
            names = [Path(f"/proc/{pid}/cmdline").read_bytes()[:60] for pid in left]
            raise AssertionError(f"processes are left behind: {names}")
        time.sleep(0.05)


def main() -> int:
    """Break things; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5, help="of each kind; default: 5")
    parser.add_argument("--long", action="store_true", help="100 trials of each kind: a day")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then it ends")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"default: {','.join(KINDS)}")
    options = parser.parse_args()
    trials = 100 if options.long else options.trials
    # In the background of a shell, or under nohup, commands would rightly ignore these.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    kinds = options.kinds.split(",")
    outcomes: dict[str, list[tuple[bool, bool, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="stress-") as place, suppress(KeyboardInterrupt):
        folder, wholes = Path(place), {}
        for kind in kinds:
            job = KINDS[kind][1]
            if str(job) not in wholes:
                wholes[str(job)] = undisturbed(folder / f"whole-{len(wholes)}", job)
        until = time.monotonic() + 60 * options.minutes
        for number, kind in product(range(trials), kinds):
            began = time.monotonic()
            if began > until:
                break
            job = KINDS[kind][1]
            expected, seconds = wholes[str(job)]
            chance = random.Random(f"{options.seed} {kind} {number}")
            trial = Trial(folder / f"{kind}-{number}", job, seconds, chance)
            if (outcome := attempt(kind, trial, expected)) is not None:
                outcomes[kind].append((*outcome, time.monotonic() - began))
                print(f"{kind} {number}: {outcomes[kind][-1]}", flush=True)
            shutil.rmtree(trial.out, ignore_errors=True)
    left = processes()
    print(f"\n{'kind':<10}{'tried':>6}{'survived':>10}{'bit-identical':>15}{'seconds each':>14}")
    lost = False
    for kind, found in outcomes.items():
        tried = len(found)
        survived, identical, seconds = map(sum, zip(*found, strict=True)) if found else (0, 0, 0)
        lost |= identical < tried
        each = seconds / max(tried, 1)
        print(f"{kind:<10}{tried:>6}{survived:>10}{identical:>15}{each:>14.1f}")
    print(f"processes left behind: {len(left)}")
    return int(bool(left) or lost)


if __name__ == "__main__":
    sys.exit(main())
