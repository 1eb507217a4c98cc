"""How far rows are from each other: what rules of gossip weigh them by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from p2pqg.engine.middle import ENTRIES_AT_ONCE

LONG = 4096
"""Entries of a row from which on pairs are taken one by one, without being copied."""

AWAY_AT_ONCE = 2**19
"""Bytes that are in the cache when they are multiplied."""

ROWS_AT_ONCE = 16
"""Rows of a matrix product on an accelerator: what is below the diagonal is not computed twice."""


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
        apart = self.ends[0] != self.ends[1]
        self._at = apart.nonzero()[:, 0].cpu().numpy()
        self._apart = self.ends[:, apart].T.tolist()
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
        squares = np.zeros(self.ends.shape[1])
        array = rows.detach().numpy()  # NumPy's calls cost half of torch's
        buffer = np.empty(min(width, ENTRIES_AT_ONCE), array.dtype)
        subtract = np.subtract
        with np.errstate(all="ignore"):
            for start in range(0, width, ENTRIES_AT_ONCE):
                part = list(array[:, start : start + ENTRIES_AT_ONCE])
                d = buffer[: len(part[0])]
                found = [subtract(part[a], part[b], d).dot(d) for a, b in self._apart]
                squares[self._at] += found
        return torch.from_numpy(squares).to(rows)


def inner_products(rows: Tensor, origin: Tensor) -> Tensor:
    """[rows, rows]: of what the rows are away from the origin, [params]; symmetric."""
    n, width = rows.shape
    if rows.device.type == "cpu":
        return _on_cpu(rows.detach().numpy(), origin.detach().numpy())
    dots = rows.new_zeros(n, n)
    away = rows - origin
    for first in range(0, n, ROWS_AT_ONCE):
        some = slice(first, first + ROWS_AT_ONCE)
        dots[some, first:].addmm_(away[some], away[first:].T)
    return dots.triu() + dots.triu(1).T


def _on_cpu(rows: np.ndarray, origin: np.ndarray) -> Tensor:
    """NumPy knows that the product of rows with themselves is symmetric, and does half of it."""
    n, width = rows.shape
    dots = np.zeros((n, n), rows.dtype)
    at_once = max(1, AWAY_AT_ONCE // (n * rows.itemsize))
    buffer = np.empty((n, min(width, at_once)), rows.dtype)
    with np.errstate(all="ignore"):
        for start in range(0, width, at_once):
            part = rows[:, start : start + at_once]
            away = buffer[:, : part.shape[1]]
            np.subtract(part, origin[start : start + at_once], out=away)
            dots += away @ away.T
    return torch.from_numpy(dots)
