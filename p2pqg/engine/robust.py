"""What a rule makes of the inboxes of one block's clients, all at once (`algorithms.gossip_rules`).

Few clients: inner products of all rows that are there, in one matrix product; the rule makes other
weights of them, which are applied in another one. Many: one degree after the other, a cacheful of
clients at a time, so that the cost is linear in the edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.gossip_rules import GossipRule, Inbox
from p2pqg.base.errors import AlgorithmError
from p2pqg.engine.call import blame, guarded
from p2pqg.engine.mixer import Arrivals

CACHED = 2**21
"""Bytes of messages that are looked at together."""

DENSE_UP_TO = 256
"""Rows between which all inner products are cheaper than those that are needed, one by one."""

PADDED_UP_TO = 2**17
"""Inner products of padded inboxes, up to which these are all one group."""

NETWORK_UP_TO = 24
"""Values that are sorted by comparing rows; more are by torch."""


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

    def parts(self, clients: int) -> Iterator[Group]:
        """So many of them at a time."""
        fields = self.rows, self.own, self.columns, self.weights, self.there
        for at in range(0, len(self.rows), max(1, clients)):
            yield Group(*(field[at : at + max(1, clients)] for field in fields))


class RuleMixer:
    """Applies one rule to one block's inboxes."""

    def __init__(self, arrivals: Arrivals, rule: GossipRule, like: Tensor) -> None:
        self.rule = rule
        self.num_clients = arrivals.num_clients
        self.own: Tensor | slice = slice(0, arrivals.num_clients)  # a view costs nothing
        if not np.array_equal(arrivals.own, np.arange(arrivals.num_clients)):
            self.own = torch.from_numpy(arrivals.own).to(like.device)
        self.groups = [group_of(arrivals, some, like) for some in _by_size(arrivals, rule.kind)]
        self._looped = False

    def __call__(self, columns: Tensor, over: float) -> Tensor:
        """What the clients come to: [columns, ...] -> [own clients, ...].

        Args:
            columns: own rows, those that came in, and lies, as of `Arrivals`.
            over: share of the run that is over.
        """
        flat = columns.reshape(len(columns), -1)
        if self.rule.kind == "weights":
            mixed = self._weighed(flat, over)
        elif self.rule.kind == "trimmed":
            mixed = self._trimmed(flat)
        else:
            mixed = self._by_function(flat)
        return mixed.reshape(-1, *columns.shape[1:])

    def _weighed(self, columns: Tensor, over: float) -> Tensor:
        own = columns[self.own]
        asked = self.rule.entry.traits.get("lengths")
        length = own.norm(dim=1) if asked else own.new_full((len(own),), float("nan"))
        if len(columns) <= DENSE_UP_TO:
            return self._weighed_together(columns, length, over)
        columns, finite = _finite(columns, columns.sum(1))
        mixed = own.clone()
        for group in self.groups:
            per_client = group.columns.shape[1] * columns.shape[1] * columns.element_size()
            for part in group.parts(CACHED // max(1, per_client)):
                d = columns[part.columns] - own[part.rows, None]
                dots = d @ d.transpose(1, 2)
                c = self._coefficients(dots, part, finite[part.columns], length, over)
                mixed[part.rows] += (c[:, None] @ d)[:, 0]
        return mixed

    def _weighed_together(self, columns: Tensor, length: Tensor, over: float) -> Tensor:
        # From the middle of what nobody else has touched: far rows must not cost near ones digits.
        centered = columns - columns[self.own].mean(0)
        dots = centered @ centered.T
        columns, finite = _finite(columns, dots.diagonal())
        W = columns.new_zeros(self.num_clients, len(columns))
        for group in self.groups:
            i, j = group.own[:, None], group.columns
            to_own = dots[i, j]  # of x_j - x_i and x_k - x_i, from those of x_j, x_k and x_i
            between = dots[j[:, :, None], j[:, None, :]] - to_own[:, :, None] - to_own[:, None, :]
            between += dots[i, i][:, :, None]
            c = self._coefficients(between, group, finite[j], length, over)
            W.index_put_((group.rows[:, None], j), c, accumulate=True)
        everyone = torch.arange(self.num_clients, device=W.device)
        own = everyone if isinstance(self.own, slice) else self.own
        W.index_put_((everyone, own), 1 - W.sum(1), accumulate=True)
        return W @ columns

    def _coefficients(
        self, dots: Tensor, group: Group, finite: Tensor, length: Tensor, over: float
    ) -> Tensor:
        there = group.there & finite
        weights = torch.where(there, group.weights, 0)
        inbox = Inbox(dots, weights, there, length[group.rows], over)
        return self.rule.entry.build(inbox, self.rule.params).to(dots)

    def _trimmed(self, columns: Tensor) -> Tensor:
        """Means of the values in the middle, entry by entry."""
        mixed = columns[self.own].clone()
        if not columns.sum().isfinite():
            inf = float("inf")
            columns = columns.nan_to_num(nan=inf, posinf=inf, neginf=-inf)
        for group in self.groups:
            num_values = group.columns.shape[1] + 1
            left_out = self.rule.entry.build(num_values, self.rule.params)
            for part in group.parts(CACHED // (num_values * columns[0].nbytes)):
                index = torch.cat([part.own[None], part.columns.T])
                values = [columns[some] for some in index]  # each [k, params]
                mixed[part.rows] = mean_of_the_middle(values, left_out)
        return mixed

    def _by_function(self, columns: Tensor) -> Tensor:
        mixed = columns[self.own].clone()
        for group in self.groups:
            per_client = group.columns.shape[1] * columns.shape[1] * columns.element_size()
            for part in group.parts(32 * CACHED // max(1, per_client)):
                own, inbox = columns[part.own], columns[part.columns]
                found = self._applied(own, inbox, part.weights)
                if found.shape != own.shape:
                    raise AlgorithmError(
                        f"rule {self.rule.entry.name} must return [params], as many as it was "
                        f"given ({own.shape[1]}), got {list(found.shape[1:])}"
                    )
                mixed[part.rows] = found.to(mixed)
        return mixed

    def _applied(self, own: Tensor, inbox: Tensor, weights: Tensor) -> Tensor:
        """Of all clients in one call; where the function looks at values, one after the other."""
        function: Callable[..., Any] = self.rule.entry.build
        if not self._looped:
            try:
                return torch.vmap(function)(own, inbox, weights)
            except Exception as error:
                if "data-dependent" not in str(error) and ".item()" not in str(error):
                    blame(error, self.rule.entry)
                    raise
                self._looped = True
        each = zip(own, inbox, weights, strict=True)
        return torch.stack([guarded(self.rule.entry, function, *one) for one in each])


def _finite(columns: Tensor, of_each: Tensor) -> tuple[Tensor, Tensor]:
    """The rows, 0 where they are not finite, and which are; `of_each` is not where a row is not."""
    finite = of_each.isfinite()
    if finite.all():
        return columns, finite
    finite = columns.isfinite().all(1)  # what is merely far away is another thing
    return torch.where(finite[:, None], columns, 0), finite  # 0 times infinity is no number


def _by_size(arrivals: Arrivals, kind: str) -> list[np.ndarray]:
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


def group_of(arrivals: Arrivals, clients: np.ndarray, like: Tensor) -> Group:
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
        torch.from_numpy(clients).to(like.device),
        torch.from_numpy(arrivals.own[clients]).to(like.device),
        torch.from_numpy(columns).to(like.device),
        torch.from_numpy(weights).to(like),
        torch.from_numpy(there).to(like.device),
    )


def mean_of_the_middle(values: Sequence[Tensor], left_out: int) -> Tensor:
    """The mean of equal tensors, entry by entry, without so many of the smallest and largest.

    The values of others that lie far away cost it no digits. `values` are written to.
    """
    n = len(values)
    if left_out == 0:
        return torch.stack(list(values)).mean(0)
    if n > NETWORK_UP_TO:
        return torch.stack(list(values)).sort(0).values[left_out : n - left_out].mean(0)
    rows, spare = list(values), torch.empty_like(values[0])

    def order(small: int, large: int) -> None:
        nonlocal spare
        torch.minimum(rows[small], rows[large], out=spare)
        torch.maximum(rows[small], rows[large], out=rows[large])
        rows[small], spare = spare, rows[small]

    first, last = 0, n - 1
    for _ in range(left_out):
        for k in range(first, last):  # the largest goes up
            order(k, k + 1)
        last -= 1
        for k in range(last, first, -1):  # the smallest goes down
            order(k - 1, k)
        first += 1
    total = rows[first]
    for row in rows[first + 1 : last + 1]:
        total += row
    return total.div_(last + 1 - first)
