"""Rules that weigh messages: a sum like plain mixing, with weights of the round.

They see how far messages are from the own row and, where they ask for it, from each other. Among
few clients all inner products are one matrix product; among many, or where somebody is so far away
that differences of these lose their digits, as many as there are inboxes, so that the cost is
linear in the edges. Who has no finite model itself has nothing to compare with, and stays without.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from p2pqg.algorithms.gossip_rules import GossipRule, Inbox, Slots
from p2pqg.base.uploading import uploaded
from p2pqg.engine.distances import Pairs, inner_products
from p2pqg.engine.inbox_groups import Group, at_once
from p2pqg.engine.mixer import Arrivals, Mixer, weighted_sums

DENSE_UP_TO = 256
"""Rows between which all inner products are cheaper than those that are needed, one by one."""

PAIR_COST = 6
"""What a distance costs that is taken alone, in inner products of one matrix product."""

LOST_UP_TO = 1e-3
"""Part of a squared distance that may be rounding."""


class Weighing:
    """Applies one rule that weighs to one block's inboxes."""

    def __init__(
        self,
        arrivals: Arrivals,
        rule: GossipRule,
        groups: list[Group],
        own: Tensor | slice,
        like: Tensor,
    ) -> None:
        self.rule, self.groups, self.own = rule, groups, own
        self.num_clients = arrivals.num_clients
        self._between = bool(rule.entry.traits.get("between"))
        self._sum = _Sum(groups, arrivals, like)
        self._no_length = like.new_full((arrivals.num_clients,), float("nan"))
        self._places: tuple[int, list[Tensor]] = 0, []
        self._pairs: Pairs | None = None
        if groups and not self._between:
            ends = [(g.own[:, None].expand_as(g.columns), g.columns) for g in groups]
            self._pairs = Pairs(ends, at_once(like))

    def __call__(self, columns: Tensor, over: float) -> Tensor:
        """[columns, params] -> [clients, params]; `over`: share of the run that is over."""
        if not self.groups:
            return columns[self.own].clone()
        find = self._products if self._between else self._squares
        seen, found = columns, find(columns)
        finite: Tensor | None = None
        if not _all_finite(found):
            finite = columns.isfinite().all(1)  # what is merely far away is another thing
            if not finite.all():  # 0 times infinity is no number
                seen = columns = torch.where(finite[:, None], columns, 0)
                found = find(seen)
            if not _all_finite(found):  # so far that its square is beyond float32
                seen = columns.double()
                found = find(seen)
        length = self._no_length
        if self.rule.entry.traits.get("lengths"):
            length = seen[self.own].norm(dim=1)
        coefficients = []
        for group, some in zip(self.groups, found, strict=True):
            slots = group.slots
            if finite is not None:
                there = slots.there & finite[group.columns]
                slots = Slots(torch.where(there, slots.weights, 0).to(seen.dtype), there)
            own = length if len(group.rows) == len(length) else length[group.rows]
            squares, products = (None, some) if self._between else (some, None)
            inbox = Inbox(squares, products, slots, own, over)
            coefficients.append(self.rule.entry.build(inbox, self.rule.params).to(columns))
        mixed = self._sum(columns, coefficients)
        if finite is not None:
            mixed[~finite[self.own]] = math.nan
        return mixed

    def _squares(self, columns: Tensor) -> list[Tensor]:
        """The squared distances of each group to the own rows, [k, slots]."""
        assert self._pairs is not None
        few = len(columns) <= DENSE_UP_TO
        if not few or len(self._pairs.ends.T) * PAIR_COST <= len(columns) ** 2:
            return self._pairs(columns)
        made = self._from_one_place(columns)
        return self._pairs(columns) if made is None else made[1]

    def _products(self, columns: Tensor) -> list[Tensor]:
        """All inner products of each group, [k, 1 + slots, 1 + slots]."""
        if len(columns) <= DENSE_UP_TO and (made := self._from_one_place(columns)) is not None:
            return made[0]
        found = []
        for group in self.groups:
            per_client = group.columns.shape[1] * columns[:1].nbytes
            parts = []
            for part in group.parts(at_once(columns) // max(1, per_client)):
                d = columns[part.columns] - columns[part.own][:, None]
                parts.append(pad(d @ d.transpose(1, 2), (1, 0, 1, 0)))
            found.append(torch.cat(parts))
        return found

    def _from_one_place(self, columns: Tensor) -> tuple[list[Tensor], list[Tensor]] | None:
        """All inner products and squared distances of each group, from one matrix product.

        None: wherever one looks from, it is so far from a client that rounding takes the digits of
        half of its distances.
        """
        # A place that nobody else has touched: far rows must not cost near ones digits.
        place, own = self.groups[0].own[:1], self.own  # an index of its own would be waited for
        if isinstance(own, slice):
            own = torch.arange(self.num_clients, device=columns.device)
        for _ in range(2):
            products = inner_products(columns, columns.index_select(0, place)[0])
            found = self._of_groups(products)
            squares = [_to_own(some) for some in found]
            if all(map(self._tells, self.groups, found, squares)):
                return found, squares
            # It may be that one which is far away: most of the others are not as near to it.
            middle = len(own) // 2
            place = own[products.diagonal()[own].argsort()[middle : middle + 1]]
        return None

    def _of_groups(self, products: Tensor) -> list[Tensor]:
        """[rows, rows] -> [k, 1 + slots, 1 + slots] of each group."""
        n = len(products)
        if self._places[0] != n:
            each = (group.values for group in self.groups)
            self._places = n, [some[:, :, None] * n + some[:, None, :] for some in each]
        return [products.take(place) for place in self._places[1]]

    @staticmethod
    def _tells(group: Group, products: Tensor, squares: Tensor) -> bool:
        """Whether rounding has left the digits of more than half of each one's distances."""
        most = products[:, :1, 0] * (torch.finfo(products.dtype).eps / LOST_UP_TO)
        lost = group.there & ~(most <= squares)  # nor does what is no number tell anything
        return bool((2 * lost.sum(1) + 1 < group.slots.counts).all())


class _Sum:
    """x_i + sum_j c[i, j] (x_j - x_i) of all clients: plain mixing, with weights of the round."""

    def __init__(self, groups: list[Group], arrivals: Arrivals, like: Tensor) -> None:
        n = arrivals.num_clients
        everyone = torch.arange(n, device=like.device)
        own = uploaded(torch.from_numpy(arrivals.own), like.device)
        rows = [g.rows[:, None].expand_as(g.columns).flatten() for g in groups]
        there = torch.cat([g.there.flatten() for g in groups] + [torch.ones_like(own).bool()])
        receivers = torch.cat([*rows, everyone])
        columns = torch.cat([*(g.columns.flatten() for g in groups), own])
        # Entries of the sum in the order of the receivers, and which of the coefficients each is.
        self.source = receivers.argsort(stable=True)
        self.source = self.source[there[self.source]]
        self.rows, self.columns = receivers[self.source], columns[self.source]
        self.heard = [None if len(g.rows) == n else g.rows for g in groups]
        self.num_clients = n
        self.offsets = torch.searchsorted(self.rows, torch.arange(n + 1, device=like.device))

    def __call__(self, columns: Tensor, coefficients: list[Tensor]) -> Tensor:
        """[columns, params] -> [clients, params]; coefficients [k, slots] of each group."""
        kept = columns.new_ones(self.num_clients)
        for rows, c in zip(self.heard, coefficients, strict=True):
            if rows is None:
                kept -= c.sum(1)
            else:
                kept[rows] -= c.sum(1)
        weights = torch.cat([*(c.flatten() for c in coefficients), kept])[self.source]
        if Mixer.wants_matrix(len(weights), self.num_clients, columns):
            W = columns.new_zeros(self.num_clients, len(columns))
            return W.index_put_((self.rows, self.columns), weights, accumulate=True) @ columns
        if 2 * int(weights.count_nonzero()) > len(weights):
            return weighted_sums(columns, self.columns, self.offsets, weights)
        used = weights != 0
        before = torch.cat([self.offsets[:1], used.cumsum(0)])
        return weighted_sums(columns, self.columns[used], before[self.offsets], weights[used])


def _all_finite(found: list[Tensor]) -> bool:
    return all(math.isfinite(some.sum().item()) for some in found)


def _to_own(products: Tensor) -> Tensor:
    """Squared distances to the own row, [k, slots], from [k, 1 + slots, 1 + slots]."""
    length = products.diagonal(dim1=1, dim2=2)
    return length[:, 1:] + length[:, :1] - 2 * products[:, 0, 1:]
