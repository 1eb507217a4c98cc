"""NVIDIA's Multi-Process Service: processes on one card compute at the same time.

Without it the card takes them in turns, a slice of time each. A process uses it by itself, if its
daemon runs when CUDA starts: all we do is to look, and to say so.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PIPES = "/tmp/nvidia-mps"
"""Where its pipes are, unless $CUDA_MPS_PIPE_DIRECTORY says otherwise (NVIDIA's manual of MPS)."""


def mps_runs() -> bool:
    """Whether the daemon runs on this machine, as far as its pipes tell.

    Its folder may outlive it: where the number of its process is there, that must be alive.
    """
    folder = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or PIPES)
    if not (folder / "control").exists():
        return False
    with suppress(OSError, ValueError):
        number = int((folder / "nvidia-cuda-mps-control.pid").read_text(encoding="ascii"))
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it is there, and somebody else's
            return True
    return True


def of_mps(actors_per_gpu: int, runs: bool) -> str:
    """What there is to say of it, for the line on actors; "" where actors do not share cards.

    >>> of_mps(16, False)
    'actors take turns on a card without NVIDIA MPS (docs/gpus.md)'
    """
    if actors_per_gpu < 2:
        return ""
    if runs:
        return "NVIDIA MPS runs: actors use a card at the same time"
    return "actors take turns on a card without NVIDIA MPS (docs/gpus.md)"
