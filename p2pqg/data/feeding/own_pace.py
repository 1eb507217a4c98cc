"""Batches of clients each of which is at a step of its own.

The same streams as in `batches.py` and `augment.py`, read client by client: batch number s of a
client is the same whoever asks for it, and whenever.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from p2pqg.data._stream import CHUNK, Stream
from p2pqg.data.feeding.augment import codes_of
from p2pqg.data.feeding.batches import epochs_of

TABLE = 2**21
"""Numbers that are kept ahead, of all clients together, about."""


class OwnPace:
    """What the clients of one block see next, each at its own step."""

    def __init__(
        self,
        sizes: Sequence[int] | np.ndarray,
        clients: Sequence[int],
        batch_size: int,
        seed: int,
        augmented: bool,
    ) -> None:
        """Say for whom: [k] sizes of shards and client numbers, and the run's seed."""
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist()
        draws = {size: epochs_of(size, seed) for size in {int(size) for size in sizes}}
        samples = [
            Stream([client], size * -(-CHUNK // size), np.min_scalar_type(size - 1), draws[size])
            for client, size in zip(clients, np.asarray(sizes).tolist(), strict=True)
        ]
        self._samples = _Pages(samples, first, batch_size)
        self._codes: _Pages | None = None
        if augmented:
            codes = [Stream([client], CHUNK, np.uint8, codes_of(seed)) for client in clients]
            self._codes = _Pages(codes, [0] * len(first), batch_size)

    def samples(self, rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """int64 [rows, batch]: places of those batches among the samples of all clients."""
        return self._samples.read(rows, steps)

    def codes(self, rows: np.ndarray, steps: np.ndarray) -> np.ndarray | None:
        """[rows, batch]: their crops and mirrors, see `augment.crops`; None: there are none."""
        return None if self._codes is None else self._codes.read(rows, steps)


class _Pages:
    """Endless rows, read a batch at a time and each from a place of its own.

    Args:
        streams: of each row.
        add: to each row's numbers.
        width: numbers in a batch.
    """

    def __init__(self, streams: Sequence[Stream], add: Sequence[int], width: int) -> None:
        self._streams, self._add, self._width = streams, add, width
        self._ahead = max(4, min(64, TABLE // (len(streams) * width)))
        self._first = np.full(len(streams), -self._ahead)
        self._table = np.empty((len(streams), self._ahead, width), dtype=np.int64)

    def read(self, rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """int64 [rows, width]: numbers of a step of each of these rows."""
        first = steps - steps % self._ahead
        for row, page in zip(*_apart(rows, first, self._first), strict=True):
            numbers = self._streams[row].read(
                page * self._width, (page + self._ahead) * self._width
            )
            self._table[row] = numbers[0].reshape(self._ahead, self._width)
            self._table[row] += self._add[row]
            self._first[row] = page
        return self._table[rows, steps - first]


def _apart(rows: np.ndarray, wanted: np.ndarray, known: np.ndarray) -> tuple[list[int], list[int]]:
    """The rows whose page is another one, and which page they want."""
    turn = known[rows] != wanted
    return rows[turn].tolist(), wanted[turn].tolist()
