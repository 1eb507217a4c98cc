"""Ways to compute gradients, tried in a process of its own: a failed capture spoils the process.

python -m p2pqg.models.stacked.probe JOB
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from p2pqg.base.ending import end_with_the_parent
from p2pqg.models.stacked.trying import Job, Tried, trials

MARK = "tried: "
"""Before a line of ours; a user's model may print, too."""

PATIENCE = 180
"""Seconds for one process."""


def tried_elsewhere(job: Job, pickling: Any = pickle) -> list[Tried]:
    """What came of each way of a job, the eager strategy first.

    A process that fails has tried one way in vain; the next one tries the others.

    Args:
        job: what to try.
        pickling: a module like `pickle`, by which the job goes to the other process.

    Raises:
        ValueError: a process of its own cannot be had, or knows not what to do with the job.
    """
    found: list[Tried] = []
    left = job.ways
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.pt"
        while not found or left:
            try:
                torch.save(replace(job, ways=left), path, pickle_module=pickling)
            except Exception as error:  # whatever a user's class raises when it is pickled
                raise ValueError(f"it cannot be sent to another process ({error})") from None
            new, why = _process(path)
            if not (new or found):
                raise ValueError(why or "the process that tried it said nothing")
            found += new[bool(found) :]
            done = {tried.way for tried in found}
            left = tuple(way for way in left if way not in done)
            if left:
                found.append(Tried(left[0], why=why or "the process that tried it ended"))
                left = left[1:]
    return found


def _process(path: Path) -> tuple[list[Tried], str]:
    """What a process found, and how it ended if it failed."""
    here = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", __name__, str(path)]
    try:
        done = subprocess.run(
            command, capture_output=True, env={**os.environ, **here}, timeout=PATIENCE, check=False
        )
        out, said = done.stdout, done.stderr.decode(errors="replace").strip().splitlines()
        why = (said[-1] if said else f"exit code {done.returncode}") if done.returncode else ""
    except subprocess.TimeoutExpired as late:
        out, why = late.stdout or b"", f"it took more than {PATIENCE} s"
    except OSError as error:
        raise ValueError(f"no process can be started to try it ({error})") from None
    lines = out.decode(errors="replace").splitlines()
    return [
        Tried(*json.loads(line.removeprefix(MARK))) for line in lines if line.startswith(MARK)
    ], why[:200]


def main(path: str) -> None:
    """Tell what comes of a job as soon as it is known, a line each."""
    end_with_the_parent()  # else it would keep a card busy for an actor that was killed
    job = torch.load(path, weights_only=False)
    for tried in trials(job):
        print(MARK + json.dumps(tuple(tried)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
