"""An array that is fetched a piece at a time, as all of it would take too much memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PIECE_BYTES = 2**24
"""About what a piece takes. An array of no more is no burden."""


@dataclass(frozen=True)
class Pieces:
    """Rows that somebody has.

    Attributes:
        shape: of all rows, [rows, ...].
        dtype: theirs.
        fetch: (first, last) -> rows first .. last - 1.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fetch: Callable[[int, int], np.ndarray]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Pieces:
        """Some rows, one after the other, which are not fetched yet either."""
        first, last, _ = rows.indices(len(self))
        shape, fetch = (max(0, last - first), *self.shape[1:]), self.fetch
        return Pieces(shape, self.dtype, lambda a, b: fetch(first + a, first + b))

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, wherever they are."""
        return self.dtype.itemsize * int(np.prod(self.shape))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Piece after piece, in order."""
        row = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        step = max(1, PIECE_BYTES // max(1, row))
        for first in range(0, len(self), step):
            yield self.fetch(first, min(first + step, len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it."""
        whole, done = np.empty(self.shape, self.dtype), 0
        for piece in self:
            whole[done : done + len(piece)] = piece
            done += len(piece)
        return whole if dtype is None else whole.astype(dtype)


Array = np.ndarray | Pieces


def pieces_of(array: Array) -> Iterator[np.ndarray]:
    """The pieces of an array; one that is in memory is a single piece."""
    return iter(array) if isinstance(array, Pieces) else iter([array])


def joined(parts: Sequence[Array]) -> Array:
    """One after the other; fetched in pieces, if any of them is."""
    if not any(isinstance(part, Pieces) for part in parts):
        return np.concatenate(parts)
    ends = list(itertools.accumulate(map(len, parts)))

    def fetch(first: int, last: int) -> np.ndarray:
        found = []
        for part, end in zip(parts, ends, strict=True):
            begin = end - len(part)
            a, b = max(first, begin) - begin, min(last, end) - begin
            if a < b:
                found.append(part.fetch(a, b) if isinstance(part, Pieces) else part[a:b])
        return np.concatenate(found)

    return Pieces((ends[-1], *parts[0].shape[1:]), parts[0].dtype, fetch)
