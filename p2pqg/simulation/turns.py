"""One at a time: a simulation that plays in the background is used from two threads."""

from __future__ import annotations

import functools
from typing import Any, cast

from p2pqg.base.registry import F


def in_turn(method: F) -> F:
    """Decorator of a method of what has a `turn`, a lock: it waits until no other thread has it."""

    @functools.wraps(method)
    def alone(self: Any, /, *given: Any, **named: Any) -> Any:
        with self.turn:
            return method(self, *given, **named)

    return cast("F", alone)
