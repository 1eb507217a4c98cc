"""The mixing itself: a block's rows of W times the rows it has and those that came in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from p2pqg.base.uploading import uploaded
from p2pqg.engine.routes import RowRoutes, sources


@dataclass(frozen=True)
class Arrivals:
    """Where one block finds what its clients received in a round, among all rows that it has.

    Attributes:
        num_clients: of the block.
        own, own_weights: int64, float64 [own clients], the column of each one's own row; of W.
        rows, columns: int64 [messages], who received it, rising; where it is.
        senders: int64 [messages], numbers of the clients that sent it; weights: float64, of W.
    """

    num_clients: int
    own: np.ndarray
    own_weights: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    senders: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, routes: RowRoutes, block: int) -> Arrivals:
        """What arrives by these routes."""
        rows, columns, weights, apart = _entries(routes, block)
        k = routes.bounds[block + 1] - routes.bounds[block]
        kept = np.zeros(k)
        kept[rows[~apart]] = weights[~apart]
        mine = slice(*np.searchsorted(routes.mixing.receivers, routes.bounds[block : block + 2]))
        senders = routes.mixing.senders[mine][apart]
        own = np.arange(k)
        return cls(k, own, kept, rows[apart], columns[apart], senders, weights[apart])

    def only(self, messages: np.ndarray) -> Arrivals:
        """Some of the messages, bool [messages]."""
        parts = self.rows, self.columns, self.senders, self.weights
        return Arrivals(self.num_clients, self.own, self.own_weights, *(p[messages] for p in parts))

    def replaced(self, own: np.ndarray, columns: np.ndarray) -> Arrivals:
        """The same messages, with rows that are to be found elsewhere."""
        return replace(self, own=own, columns=columns)


def _entries(
    routes: RowRoutes, block: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The block's entries of W: own row, column, weight; and whether it is somebody else's row."""
    mixing, first, last = routes.mixing, routes.bounds[block], routes.bounds[block + 1]
    mine = slice(*np.searchsorted(mixing.receivers, (first, last)))
    column = np.empty(mixing.num_clients * (routes.memory + 1), dtype=np.int64)
    column[routes.senders[block]] = np.arange(len(routes.senders[block]))
    apart = mixing.senders[mine] != mixing.receivers[mine]
    return (
        mixing.receivers[mine] - first,
        column[sources(mixing)[mine]],
        mixing.weights[mine],
        apart,
    )


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
        rows, columns, weights, others = _entries(routes, block)
        self.noise: Tensor | None = None
        if mixing.noise:
            power = np.bincount(rows[others], weights[others] ** 2, last - first)
            self.noise = uploaded(torch.from_numpy(mixing.noise * np.sqrt(power)), like)
            self.noise = self.noise.view(-1, *[1] * (like.dim() - 1))
        self.out_degrees = mixing.out_degrees()[first:last]
        parcels = map(torch.from_numpy, routes.parcels[block])
        self.parcels = [uploaded(own, like.device) for own in parcels]
        self.dense: Tensor | None = None
        shape = (last - first, len(routes.senders[block]))
        if self.wants_matrix(len(weights), shape[0], like, shape[1]):
            W = np.zeros(shape)
            W[rows, columns] = weights
            self.dense = uploaded(torch.from_numpy(W), like)
        else:
            self.gather = Gather(rows, columns, weights, last - first, like)

    @classmethod
    def wants_matrix(
        cls, entries: int, clients: int, like: Tensor, columns: int | None = None
    ) -> bool:
        """Whether so many entries other than 0 are better a matrix.

        Args:
            entries: of the block's rows of W.
            clients: of the block.
            like: rows, where they live.
            columns: of the matrix; None: as many as `like` has rows.
        """
        columns = len(like) if columns is None else columns
        small = like.is_cuda and columns <= cls.DENSE_ON_GPU
        return small or entries >= cls.DENSE_FROM * clients * columns

    def __call__(self, rows: Tensor) -> Tensor:
        """sum_j W[i, j] rows_j: [own + incoming, ...] -> [own, ...]."""
        if self.dense is None:
            return self.gather(rows)
        mixed = self.dense @ rows.reshape(rows.shape[0], -1)
        return mixed.reshape(-1, *rows.shape[1:])


class Gather:
    """Weighted sums of rows, each of those that it needs and of no others."""

    def __init__(
        self,
        rows: np.ndarray,
        columns: np.ndarray,
        weights: np.ndarray,
        num_rows: int,
        like: Tensor,
    ) -> None:
        """Say which: rows rise."""
        offsets = np.searchsorted(rows, np.arange(num_rows + 1))
        self.columns = uploaded(torch.from_numpy(columns), like.device)
        self.offsets = uploaded(torch.from_numpy(offsets), like.device)
        self.weights = uploaded(torch.from_numpy(weights), like)

    @classmethod
    def of(cls, arrivals: Arrivals, like: Tensor) -> Gather:
        """The sums that receivers come to."""
        everyone = np.arange(arrivals.num_clients)
        rows = np.concatenate([arrivals.rows, everyone])
        order = np.argsort(rows, kind="stable")
        columns = np.concatenate([arrivals.columns, arrivals.own])[order]
        weights = np.concatenate([arrivals.weights, arrivals.own_weights])[order]
        return cls(rows[order], columns, weights, arrivals.num_clients, like)

    def __call__(self, rows: Tensor, part: slice | None = None) -> Tensor:
        """[columns, ...] -> [rows, ...], of all sums or of a part."""
        columns, weights, offsets = self.columns, self.weights, self.offsets
        if part is not None:
            offsets = offsets[part.start : part.stop + 1]
            first, last = offsets[0].item(), offsets[-1].item()
            columns, weights, offsets = columns[first:last], weights[first:last], offsets - first
        mixed = weighted_sums(rows.reshape(rows.shape[0], -1), columns, offsets, weights)
        return mixed.reshape(-1, *rows.shape[1:])


def weighted_sums(rows: Tensor, columns: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """[rows, params] -> [sums, params].

    Args:
        rows: what is summed.
        columns: int64 [entries], the row of each entry.
        offsets: int64 [sums + 1], where the entries of each sum begin and the last ones end.
        weights: [entries].
    """
    return embedding_bag(
        columns,
        rows,
        offsets,
        mode="sum",
        per_sample_weights=weights,
        include_last_offset=True,
    )
