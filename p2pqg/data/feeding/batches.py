"""Each client's batches, as a function of (seed, client, step) and nothing else.

A client's samples are a stream: its shard in a fresh order, epoch after epoch, end to end. Step s
takes samples [s * batch_size, (s + 1) * batch_size) of it. A checkpoint needs only the step, and
neither packing nor process matters.

All batches are full. They run on over the border of two epochs, where torch's DataLoader ends an
epoch with a short batch; so a sample may come twice in the batch at a border, and a shard smaller
than a batch comes around more than once in each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.seeding import rng
from p2pqg.data._stream import CHUNK, Stream

AHEAD = 2**16
"""Positions computed at a time, about: a few clients' next step costs little more than many."""


class Batches:
    """The batches of the clients that one block hosts."""

    def __init__(
        self,
        num_samples: Sequence[int] | np.ndarray,
        clients: Sequence[int],
        batch_size: int,
        seed: int,
    ) -> None:
        """Say whose batches they are.

        Args:
            num_samples: [k], the size of each hosted client's shard, >= 1.
            clients: [k], their numbers in the whole network.
            batch_size: samples per client and step, >= 1.
            seed: the run's.

        Raises:
            ConfigError: batch_size < 1.
            DataError: an empty shard.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be >= 1, got {batch_size}")
        for client, size in zip(clients, num_samples, strict=True):
            if size < 1:
                raise DataError(f"client {client} has no samples; use fewer clients")
        self._shape = (len(clients), batch_size)
        # Shards of one size begin a new epoch together, so they are read as one array.
        sizes, group = np.unique(np.asarray(num_samples), return_inverse=True)
        self._dtype = smallest(int(sizes[-1]) - 1 if len(sizes) else 0)
        self._ahead = torch.from_numpy(np.empty((0, *self._shape), self._dtype))
        self._first_ahead = 0
        self._streams = []
        for number, size in enumerate(sizes.tolist()):
            rows = np.flatnonzero(group == number)
            length = size * -(-CHUNK // size)  # whole epochs
            dtype = np.min_scalar_type(size - 1)
            stream = Stream(np.asarray(clients)[rows], length, dtype, epochs_of(size, seed))
            self._streams.append((rows if len(sizes) > 1 else slice(None), stream))

    def indices(self, first_step: int, num_steps: int) -> Tensor:
        """Which samples the clients use in steps first_step .. first_step + num_steps - 1.

        Returns:
            Whole numbers [num_steps, k, batch_size], of as few bytes as hold them: positions in
            each client's own shard; not to be written to.
        """
        begin = first_step - self._first_ahead
        if begin < 0 or begin + num_steps > len(self._ahead):
            k, batch_size = self._shape
            self._ahead = self._read(first_step, max(num_steps, AHEAD // (k * batch_size)))
            self._first_ahead, begin = first_step, 0
        return self._ahead[begin : begin + num_steps]

    def _read(self, first_step: int, num_steps: int) -> Tensor:
        k, batch_size = self._shape
        start, stop = first_step * batch_size, (first_step + num_steps) * batch_size
        indices = np.empty((num_steps, k, batch_size), self._dtype)
        for rows, stream in self._streams:
            steps = stream.read(start, stop).reshape(-1, num_steps, batch_size)
            indices[:, rows] = steps.swapaxes(0, 1)
        return torch.from_numpy(indices)


def smallest(largest: int) -> type[np.integer]:
    """The smallest whole numbers that torch can add and that hold 0 .. `largest`.

    >>> [smallest(n).__name__ for n in (255, 256, 2**15, 2**31)]
    ['uint8', 'int16', 'int32', 'int64']
    """
    kinds: tuple[type[np.integer], ...] = (np.uint8, np.int16, np.int32)
    return next((kind for kind in kinds if largest <= np.iinfo(kind).max), np.int64)


def epochs_of(num_samples: int, seed: int) -> Callable[[int, int], np.ndarray]:
    """draw(client, chunk) -> as many shuffled epochs as make up a chunk, end to end."""
    in_order = np.tile(np.arange(num_samples), (-(-CHUNK // num_samples), 1))

    def draw(client: int, chunk: int) -> np.ndarray:
        return rng(seed, "batches", client, chunk).permuted(in_order, axis=1).ravel()

    return draw
