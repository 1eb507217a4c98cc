"""Clients with inboxes of about one size, whose messages are looked at in one call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.gossip_rules import Slots
from p2pqg.base.uploading import uploaded
from p2pqg.engine.mixer import Arrivals

CACHED, ON_CARD = 2**21, 2**29
"""Bytes of messages that are looked at together: as a core's cache holds; as a card has room for,
where every part is launches more."""

PADDED_UP_TO = 2**17
"""Inner products of padded inboxes, up to which these are all one group."""


def at_once(rows: Tensor) -> int:
    """Bytes of such rows that are best looked at together."""
    return CACHED if rows.is_cpu else ON_CARD


@dataclass(frozen=True)
class Group:
    """Clients with inboxes of one size, or padded to one.

    Attributes:
        rows: int64 [k], which of the block's clients; own: the columns of their own rows.
        columns: int64 [k, slots], where what they received is; the own row where a slot is empty.
        weights: [k, slots], of W; 0 where a slot is empty.
        there: bool [k, slots].
    """

    rows: Tensor
    own: Tensor
    columns: Tensor
    weights: Tensor
    there: Tensor

    @cached_property
    def slots(self) -> Slots:
        """What rules want to know of them."""
        return Slots(self.weights, self.there)

    def parts(self, clients: int) -> Iterator[Group]:
        """Parts of this group, of so many clients at a time."""
        fields = self.rows, self.own, self.columns, self.weights, self.there
        for at in range(0, len(self.rows), max(1, clients)):
            yield Group(*(field[at : at + max(1, clients)] for field in fields))

    @cached_property
    def values(self) -> Tensor:
        """[k, slots + 1]: where the own row is, and those received."""
        return torch.cat([self.own[:, None], self.columns], 1)


def group_of(arrivals: Arrivals, clients: np.ndarray, like: Tensor) -> Group:
    """The inboxes of some clients, padded to the largest of them."""
    mine = np.isin(arrivals.rows, clients)
    row = np.searchsorted(clients, arrivals.rows[mine])
    slot = np.arange(len(row)) - np.searchsorted(row, row)
    shape = len(clients), int(slot.max(initial=-1)) + 1
    columns = np.repeat(arrivals.own[clients][:, None], shape[1], axis=1)
    weights, there = np.zeros(shape), np.zeros(shape, dtype=bool)
    columns[row, slot] = arrivals.columns[mine]
    weights[row, slot] = arrivals.weights[mine]
    there[row, slot] = True
    return Group(
        uploaded(torch.from_numpy(clients), like.device),
        uploaded(torch.from_numpy(arrivals.own[clients]), like.device),
        uploaded(torch.from_numpy(columns), like.device),
        uploaded(torch.from_numpy(weights), like),
        uploaded(torch.from_numpy(there), like.device),
    )


def by_size(arrivals: Arrivals, kind: str) -> list[np.ndarray]:
    """The clients that received anything, by how much of it.

    Where weights are sought inboxes may be padded: then few groups are better than small ones.
    """
    sizes = np.bincount(arrivals.rows, minlength=arrivals.num_clients)
    if kind == "weights":
        small = sizes.max(initial=0) ** 2 * len(sizes) <= PADDED_UP_TO
        return [np.flatnonzero(sizes)] if small and sizes.any() else of_one_size(arrivals)
    return [np.flatnonzero(sizes == size) for size in np.unique(sizes) if size]


def of_one_size(arrivals: Arrivals, among: np.ndarray | None = None) -> list[np.ndarray]:
    """Clients whose inboxes are to be padded to one size: up to the next power of 2.

    Args:
        arrivals: what they received.
        among: of these, with those that received nothing; None: of all that received anything.
    """
    sizes = np.bincount(arrivals.rows, minlength=arrivals.num_clients)
    wanted = sizes > 0 if among is None else np.isin(np.arange(len(sizes)), among)
    classes = np.ceil(np.log2(np.maximum(sizes, 1))).astype(int)
    found = [np.flatnonzero((classes == c) & wanted) for c in np.unique(classes)]
    return [some for some in found if len(some)]
