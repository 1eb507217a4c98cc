"""Named tensors <-> one flat row, in a fixed order; the columns of [clients, params]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor


class Layout:
    """Which columns of a row hold which tensor.

    Attributes:
        names: in column order.
        size: length of a row, in floats.
    """

    def __init__(self, named: Iterable[tuple[str, Tensor]]) -> None:
        self._shapes = {name: tensor.shape for name, tensor in named}
        self.names = list(self._shapes)
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        self.size = sum(self._sizes)

    @property
    def in_pairs(self) -> list[str]:
        """Names of tensors [..., 2]."""
        return [name for name, shape in self._shapes.items() if shape[-1:] == (2,)]

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """[..., size] -> name -> view of [..., *shape]; nothing is copied."""
        if not self.names:
            return {}
        columns = rows.split(self._sizes, -1)
        return {
            name: column.view((*rows.shape[:-1], *shape))  # of no dimension, too
            for (name, shape), column in zip(self._shapes.items(), columns, strict=True)
        }

    def row(self, named: Mapping[str, Tensor]) -> Tensor:
        """Name -> tensor of its shape, to a new row [size]."""
        assert self.names, "an empty row has no dtype; the caller knows it"
        return torch.cat([named[name].reshape(-1) for name in self.names])
