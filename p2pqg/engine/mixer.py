"""The mixing itself: a block's rows of W times the rows it has and those that came in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from p2pqg.engine.routes import RowRoutes, sources


class Mixer:
    """One block's rows of W, ready to be applied: [own clients, own + incoming clients].

    Attributes:
        out_degrees: [own clients], messages that each sends.
        parcels: the sets of own rows that others need, as indices on the device.
        noise: [own clients, 1], standard deviation of the sum of its messages' noise, or None.
    """

    DENSE_FROM = 0.25
    """From this share of non-zeros on, a matrix product is faster than gather and add."""

    DENSE_ON_GPU = 1024
    """Up to this many columns a GPU does the matrix product whatever the share."""

    def __init__(self, routes: RowRoutes, block: int, like: Tensor) -> None:
        mixing, first, last = routes.mixing, routes.bounds[block], routes.bounds[block + 1]
        mine = slice(*np.searchsorted(mixing.receivers, (first, last)))
        column = np.empty(mixing.num_clients * (routes.memory + 1), dtype=np.int64)
        column[routes.senders[block]] = np.arange(len(routes.senders[block]))
        rows = mixing.receivers[mine] - first
        columns = column[sources(mixing)[mine]]
        weights = mixing.weights[mine]
        self.noise: Tensor | None = None
        if mixing.noise:
            others = mixing.senders[mine] != mixing.receivers[mine]
            power = np.bincount(rows[others], weights[others] ** 2, last - first)
            self.noise = torch.from_numpy(mixing.noise * np.sqrt(power)).to(like)
            self.noise = self.noise.view(-1, *[1] * (like.dim() - 1))
        self.out_degrees = mixing.out_degrees()[first:last]
        self.parcels = [torch.from_numpy(own).to(like.device) for own in routes.parcels[block]]
        self.dense: Tensor | None = None
        shape = (last - first, len(routes.senders[block]))
        small = like.is_cuda and shape[1] <= self.DENSE_ON_GPU
        if small or len(weights) >= self.DENSE_FROM * shape[0] * shape[1]:
            W = np.zeros(shape)
            W[rows, columns] = weights
            self.dense = torch.from_numpy(W).to(like)
        else:
            offsets = np.searchsorted(rows, np.arange(last - first + 1))
            self.columns = torch.from_numpy(columns).to(like.device)
            self.offsets = torch.from_numpy(offsets).to(like.device)
            self.weights = torch.from_numpy(weights).to(like)

    def __call__(self, rows: Tensor) -> Tensor:
        """sum_j W[i, j] rows_j: [own + incoming, ...] -> [own, ...]."""
        flat = rows.reshape(rows.shape[0], -1)
        if self.dense is not None:
            mixed = self.dense @ flat
        else:
            mixed = embedding_bag(
                self.columns,
                flat,
                self.offsets,
                mode="sum",
                per_sample_weights=self.weights,
                include_last_offset=True,
            )
        return mixed.reshape(-1, *rows.shape[1:])
