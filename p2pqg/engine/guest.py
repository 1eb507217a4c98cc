"""How many threads torch computes with: those of a block, and then again those of its host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import torch

from p2pqg.base.forked import computes, threads

_changing = Lock()
_found: list[int] = []
"""For each one inside, how many threads there were before the first of them came."""


@contextmanager
def with_threads(wanted: int) -> Iterator[None]:
    """Inside, torch has that many threads in a process of a user's, and afterwards as many as had.

    So neither a script nor another simulation changes by how many a block computes, on which the
    rounding of its sums depends, nor does it change what they compute by.

    Args:
        wanted: >= 1; one in a process that was forked from one that computes.
    """
    computes()
    with _changing:
        _found.append(_found[0] if _found else torch.get_num_threads())  # a new thread has the last
        torch.set_num_threads(threads(wanted))
    try:
        yield
    finally:
        with _changing:
            torch.set_num_threads(threads(_found.pop()))
