"""What lives in one process only, such as threads: who was forked makes its own."""

from __future__ import annotations

import os
from collections.abc import Callable
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
