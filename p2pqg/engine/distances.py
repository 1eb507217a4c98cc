"""How far rows are from each other: what rules of gossip weigh them by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from p2pqg.engine.middle import ENTRIES_AT_ONCE

LONG = 4096
"""Entries of a row from which on pairs are taken one by one, without being copied."""

ROWS_AT_ONCE = 16
"""Of one matrix product: what is below the diagonal is not computed twice."""


class Pairs:
    """Squared distances of certain pairs of rows; each pair once, whoever asks for it.

    Attributes:
        ends: int64 [2, pairs].
    """

    def __init__(self, ends: Sequence[tuple[Tensor, Tensor]], cached: int) -> None:
        """Say which.

        Args:
            ends: int64 tensors of one shape, for each set of pairs.
            cached: bytes of rows that are looked at together.
        """
        self._shapes = [one.shape for one, _ in ends]
        one, other = (torch.cat([part[side].flatten() for part in ends]) for side in (0, 1))
        both = torch.stack([torch.minimum(one, other), torch.maximum(one, other)])
        self.ends, self._place = both.unique(dim=1, return_inverse=True)
        self._lists = [tuple(pair) for pair in self.ends.T.tolist()]
        self._cached = cached

    def __call__(self, rows: Tensor) -> list[Tensor]:
        """[rows, params] -> squared distances, for each set."""
        if rows.shape[1] >= LONG and rows.device.type == "cpu":
            squares = self._one_by_one(rows)
        else:
            size = max(1, self._cached // max(1, rows[:1].nbytes))
            parts = zip(*(side.split(size) for side in self.ends), strict=True)
            squares = torch.cat([(rows[a] - rows[b]).square_().sum(1) for a, b in parts])
        found = squares[self._place].split([shape.numel() for shape in self._shapes])
        return [part.view(shape) for part, shape in zip(found, self._shapes, strict=True)]

    def _one_by_one(self, rows: Tensor) -> Tensor:
        width = rows.shape[1]
        squares = np.zeros(len(self._lists), dtype=np.float64)
        buffer = rows.new_empty(min(width, ENTRIES_AT_ONCE))
        with np.errstate(all="ignore"):
            for start in range(0, width, ENTRIES_AT_ONCE):
                part = list(rows[:, start : start + ENTRIES_AT_ONCE].detach().numpy())
                difference = buffer[: len(part[0])]
                array = difference.numpy()
                for at, (a, b) in enumerate(self._lists):
                    if a != b:
                        np.subtract(part[a], part[b], out=array)
                        squares[at] += torch.dot(difference, difference).item()
        return torch.from_numpy(squares).to(rows)


def inner_products(rows: Tensor, origin: Tensor) -> Tensor:
    """[rows, rows]: of what the rows are away from the origin, [params]; symmetric."""
    n, width = rows.shape
    dots = rows.new_zeros(n, n)
    at_once = ENTRIES_AT_ONCE if rows.device.type == "cpu" else max(1, width)
    for start in range(0, width, at_once):
        part = slice(start, start + at_once)
        away = rows[:, part] - origin[part]
        for first in range(0, n, ROWS_AT_ONCE):
            some = slice(first, first + ROWS_AT_ONCE)
            dots[some, first:].addmm_(away[some], away[first:].T)
    return dots.triu() + dots.triu(1).T
