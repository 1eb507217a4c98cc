"""Noise of gradients and of messages, drawn by threads, and ahead of its use where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from p2pqg.base.forked import OfProcess
from p2pqg.base.seeding import rng

AHEAD_BYTES = 2**26
"""So much is drawn ahead at most."""
TASK = 2**16
"""Numbers that are worth a thread's while."""

Keys = tuple[tuple[int, ...], ...]
Drawing = tuple[Tensor, list[Future[None]]]
"""Rows, and the tasks after which they are filled in."""


class Noise:
    """Rows of standard normal numbers, each of its own key, whenever they are drawn."""

    def __init__(self, seed: int, purpose: str, device: torch.device) -> None:
        """Say whose draws they are, see `rng`, and where the numbers will be used."""
        self._seed, self._purpose = seed, purpose
        self._for_a_card = device.type == "cuda"
        self._threads = OfProcess(lambda: ThreadPoolExecutor(torch.get_num_threads(), "noise"))
        self._ahead = OfProcess(dict[Keys, Drawing])

    def rows(
        self,
        keys: Sequence[tuple[int, ...]],
        width: int,
        dtype: torch.dtype,
        ahead: bool = False,
    ) -> Tensor:
        """[keys, width] in main memory: float64 if that is `dtype`, else float32.

        Args:
            keys: of each row; the last one is a number that grows.
            width: of a row.
            dtype: that they are wanted in.
            ahead: the next rows will be those of the numbers that come next; begin with them.
        """
        kind = torch.float64 if dtype == torch.float64 else torch.float32
        now, drawn = tuple(keys), self._ahead()
        rows, drawing = drawn.pop(now) if now in drawn else self._begin(now, width, kind)
        if ahead:
            self._guess(tuple((*key, number + 1) for *key, number in now), width, kind)
        for task in drawing:
            task.result()
        return rows

    def _guess(self, keys: Keys, width: int, dtype: torch.dtype) -> None:
        """Begin with these; what was guessed in vain before is forgotten."""
        passed, ahead = keys[0][-1] - 1, self._ahead()
        for old in [old for old in ahead if old[0][-1] < passed]:
            del ahead[old]
        waiting = sum(rows.nbytes for rows, _ in ahead.values())
        if waiting + len(keys) * width * dtype.itemsize <= AHEAD_BYTES:
            ahead[keys] = self._begin(keys, width, dtype)

    def _begin(self, keys: Keys, width: int, dtype: torch.dtype) -> Drawing:
        rows = torch.empty(len(keys), width, dtype=dtype, pin_memory=self._for_a_card)
        each, to = max(1, TASK // max(1, width)), rows.numpy()
        parts = [slice(i, i + each) for i in range(0, len(keys), each)]
        submit = self._threads().submit
        return rows, [submit(self._draw, keys[part], to[part]) for part in parts]

    def _draw(self, keys: Keys, rows: np.ndarray) -> None:
        for key, row in zip(keys, rows, strict=True):
            rng(self._seed, self._purpose, *key).standard_normal(dtype=row.dtype, out=row)
