"""How far rows are from those they should be, one tensor after the other.

A small one is little of a row: by the row alone it could be all wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor

from p2pqg.models.stacked.layout import Layout

TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-8}
"""How far a gradient may be off, relative to its norm: all of it, and that of each tensor."""

NOISE = {torch.float32: 1e-6, torch.float64: 1e-10}
"""How far that of a tensor may be off beside, relative to the norm of all of it.

Some are 0 but for rounding, such as that of a bias before batch normalisation.
"""

LEAST = 1e-3
"""Norms below are taken for this one."""


def apart(found: Tensor, right: Tensor, layout: Layout, rounding: torch.dtype) -> dict[str, float]:
    """Name -> how far a tensor is off in the worst row, relative to what is told from rounding.

    Args:
        found: [rows, ...], the columns of the layout.
        right: the same.
        layout: of the tensors in a row.
        rounding: of which floats.

    Returns:
        ||found - right|| / (||right|| + a little of its row); NaN where there is one.
    """
    little = NOISE[rounding] / TOLERANCE[rounding] * norms(right).clamp_min(LEAST)
    off = layout.views(found - right)
    return {
        name: float((norms(off[name]) / (norms(tensor) + little)).max())
        for name, tensor in layout.views(right).items()
        if tensor.numel()
    }


def norms(rows: Tensor) -> Tensor:
    """[rows, ...] -> [rows]."""
    return rows.reshape(len(rows), -1).norm(dim=1)
