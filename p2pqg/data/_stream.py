"""One endless row of numbers per client, in chunks keyed by (client, chunk).

All it remembers is a cache: where a run starts reading, or which process does, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import DTypeLike

CHUNK = 1024
"""Numbers per client and chunk, about: making a generator costs as much as drawing these."""


class Stream:
    """Endless rows [clients, ...]: `draw(client, chunk)` -> the [length] numbers of one chunk."""

    def __init__(
        self,
        clients: Iterable[int],
        length: int,
        dtype: DTypeLike,
        draw: Callable[[int, int], np.ndarray],
    ) -> None:
        self._clients = [int(client) for client in clients]
        self._length = length
        self._dtype = dtype
        self._draw = draw
        self._chunks: dict[int, np.ndarray] = {}

    def read(self, start: int, stop: int) -> np.ndarray:
        """Columns start .. stop - 1, as [clients, stop - start]; not to be written to."""
        first, offset = divmod(start, self._length)
        end = offset + stop - start
        needed = range(first, first + -(-end // self._length))
        self._chunks = {
            chunk: self._chunks[chunk] if chunk in self._chunks else self._fill(chunk)
            for chunk in needed
        }
        rows = list(self._chunks.values())
        return (rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1))[:, offset:end]

    def _fill(self, chunk: int) -> np.ndarray:
        rows = np.empty((len(self._clients), self._length), dtype=self._dtype)
        for row, client in zip(rows, self._clients, strict=True):
            row[:] = self._draw(client, chunk)
        return rows
