"""Whether somebody's code takes random numbers from a state that a whole process shares."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

LOOKS = 3
"""Another thread may draw in between; it hardly does so each time."""


def draws_from(call: Callable[[], object]) -> set[str]:
    """Whose numbers a call takes: "torch", "Python's random", "numpy.random".

    Args:
        call: is made once, and again where it seems to draw.
    """
    found: set[str] | None = None
    for _ in range(LOOKS):
        before = _states()
        call()
        moved = {whose for whose, state in _states().items() if before.get(whose) != state}
        found = moved if found is None else found & moved
        if not found:
            break
    return found or set()


def _states() -> dict[str, Any]:
    numpys: Any = np.random.get_state()  # noqa: NPY002  whether somebody took from it
    found = {"Python's random": random.getstate(), "numpy.random": (numpys[1].tobytes(), numpys[2])}
    if torch := sys.modules.get("torch"):
        found["torch"] = torch.get_rng_state().numpy().tobytes()
    return found
