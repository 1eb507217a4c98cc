"""What lives in one process only, such as threads: who was forked makes its own."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Generic, TypeVar

T = TypeVar("T")


class OfProcess(Generic[T]):
    """Something that a process makes when it first asks for it, and again once it was forked.

    Threads do not come along into a forked process, and who waits for them waits without an end.

    Examples:
        >>> rows = OfProcess(list)
        >>> rows() is rows()
        True
    """

    def __init__(self, make: Callable[[], T]) -> None:
        """Say how it is made."""
        self._make = make
        self._process: int | None = None

    def __call__(self) -> T:
        """That of this process."""
        if (process := os.getpid()) != self._process:
            self._made = self._make()
            self._process = process  # last: a thread that sees it finds what was made
        return self._made


_most_threads = [math.inf]


@cache
def computes() -> None:
    """Say that this process computes: who is forked from it from now on does so with one thread.

    PyTorch's threads do not come along either, and a large product would wait for them.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_with_one_thread)


def threads(wanted: int) -> int:
    """How many threads may compute in this process, at most as many as are wanted."""
    return int(min(wanted, _most_threads[0]))


def _with_one_thread() -> None:
    _most_threads[0] = 1
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)
