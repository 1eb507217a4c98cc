"""One at a time: a simulation that plays in the background is used from two threads."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class TakesTurns(Protocol):
    """Attributes: turn: held by the thread whose turn it is."""

    turn: Any


S = TypeVar("S", bound=TakesTurns)


def in_turn(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorator of a method: it waits until no other thread is in one of them."""

    @functools.wraps(method)
    def alone(self: S, *given: P.args, **named: P.kwargs) -> R:
        with self.turn:
            return method(self, *given, **named)

    return alone
