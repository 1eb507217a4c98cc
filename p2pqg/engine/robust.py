"""What a rule makes of the inboxes of one block's clients, all at once (`algorithms.gossip_rules`).

Rules that weigh messages see how far these are from the own row and, where they ask for it, from
each other; then they are a sum like plain mixing, with other weights. Among few clients all inner
products are one matrix product; among many, or where somebody is so far away that differences of
these lose their digits, as many as there are inboxes, so that the cost is linear in the edges.
Who has no finite model itself has nothing to compare with, and stays without. Rules that trim
compare whole rows (`engine.middle`, `engine.compiled`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from p2pqg.algorithms.gossip_rules import GossipRule, Inbox, Slots
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.uploading import uploaded
from p2pqg.engine.call import blame, guarded
from p2pqg.engine.distances import LONG, Pairs, inner_products
from p2pqg.engine.middle import (
    COMPARED_UP_TO,
    mean_of_the_middle,
    means_of_the_middle,
    plan,
)
from p2pqg.engine.mixer import Arrivals, Mixer, weighted_sums

if TYPE_CHECKING:
    from p2pqg.engine.compiled import Middles

CACHED, ON_CARD = 2**21, 2**27
"""Bytes of messages that are looked at together: as a core's cache holds; as a card has room for,
where every part is launches more."""

DENSE_UP_TO = 256
"""Rows between which all inner products are cheaper than those that are needed, one by one."""

PAIR_COST = 6
"""What a distance costs that is taken alone, in inner products of one matrix product."""

LOST_UP_TO = 1e-3
"""Part of a squared distance that may be rounding."""

PADDED_UP_TO = 2**17
"""Inner products of padded inboxes, up to which these are all one group."""


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
            self.own = uploaded(torch.from_numpy(arrivals.own), like.device)
        self.groups = [group_of(arrivals, some, like) for some in _by_size(arrivals, rule.kind)]
        self._sum = _Sum(self.groups, arrivals, like) if rule.kind == "weights" else None
        self._no_length = like.new_full((arrivals.num_clients,), float("nan"))
        self._places: tuple[int, list[Tensor]] = 0, []
        self._pairs: Pairs | None = None
        if self._sum and self.groups and not rule.entry.traits.get("between"):
            ends = [(g.own[:, None].expand_as(g.columns), g.columns) for g in self.groups]
            self._pairs = Pairs(ends, at_once(like))
        self._middles: Middles | None = None
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
        assert self._sum is not None
        if not self.groups:
            return columns[self.own].clone()
        between = bool(self.rule.entry.traits.get("between"))
        find = self._products if between else self._squares
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
            squares, products = (None, some) if between else (some, None)
            inbox = Inbox(squares, products, slots, own, over)
            coefficients.append(self.rule.entry.build(inbox, self.rule.params).to(columns))
        mixed = self._sum(columns, coefficients)
        if finite is not None:
            mixed[~finite[self.own]] = math.nan
        return mixed

    def _squares(self, columns: Tensor) -> list[Tensor]:
        """Of each group, the squared distances to the own rows, [k, slots]."""
        assert self._pairs is not None
        few = len(columns) <= DENSE_UP_TO
        if not few or len(self._pairs.ends.T) * PAIR_COST <= len(columns) ** 2:
            return self._pairs(columns)
        made = self._from_one_place(columns)
        return self._pairs(columns) if made is None else made[1]

    def _products(self, columns: Tensor) -> list[Tensor]:
        """Of each group, all inner products, [k, 1 + slots, 1 + slots]."""
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
            each = map(_values, self.groups)
            self._places = n, [some[:, :, None] * n + some[:, None, :] for some in each]
        return [products.take(place) for place in self._places[1]]

    @staticmethod
    def _tells(group: Group, products: Tensor, squares: Tensor) -> bool:
        """Whether rounding has left the digits of more than half of each one's distances."""
        most = products[:, :1, 0] * (torch.finfo(products.dtype).eps / LOST_UP_TO)
        lost = group.there & ~(most <= squares)  # nor does what is no number tell anything
        return bool((2 * lost.sum(1) + 1 < group.slots.counts).all())

    def _trimmed(self, columns: Tensor) -> Tensor:
        """Means of the values in the middle, entry by entry."""
        heard = sum(len(group.rows) for group in self.groups)
        own = columns[self.own]
        # In order, whatever the rows are: who writes into them in one call counts on it.
        mixed = own.new_empty(own.shape) if heard == len(own) else own.contiguous().clone()
        if self._comparable(columns) and (module := compiled()):
            self._in_one_call(module, columns, mixed)
            return mixed
        if not columns.is_cpu or not columns.sum().isfinite():  # a card would have to be asked
            columns = _in_order(columns)
        whole = list[tuple[list[int], Tensor, int]]()
        for group in self.groups:
            num_values = group.columns.shape[1] + 1
            left_out = self._left_out(group)
            index = _values(group).T  # [values, k]
            if columns.shape[1] >= LONG and columns.is_cpu and num_values <= COMPARED_UP_TO:
                to = [mixed[client] for client in group.rows.tolist()]
                whole += zip(index.T.tolist(), to, [left_out] * len(to), strict=True)
                continue
            size = max(1, at_once(columns) // (num_values * max(1, columns[:1].nbytes)))
            for rows, some in zip(group.rows.split(size), index.split(size, 1), strict=True):
                mixed[rows] = mean_of_the_middle(columns[some], left_out)
        if whole:
            means_of_the_middle(list(columns), whole)
        return mixed

    def _comparable(self, columns: Tensor) -> bool:
        most = max((group.columns.shape[1] for group in self.groups), default=0)
        known = columns.dtype in (torch.float32, torch.float64)
        return known and columns.is_cpu and 0 < most < COMPARED_UP_TO

    def _in_one_call(self, module: ModuleType, columns: Tensor, mixed: Tensor) -> None:
        if self._middles is None:
            values = [(_values(g).numpy(), self._left_out(g)) for g in self.groups]
            plans = [plan(some.shape[1], left_out, apart=True) for some, left_out in values]
            to = [group.rows.numpy() for group in self.groups]
            sets = zip(to, (some for some, _ in values), plans, strict=True)
            self._middles = module.Middles(list(sets))
        out, threads = mixed.numpy(), torch.get_num_threads()
        rows = columns.detach().contiguous()
        if not self._middles(rows.numpy(), out, threads):
            self._middles(_in_order(rows).numpy(), out, threads)

    def _left_out(self, group: Group) -> int:
        return self.rule.entry.build(group.columns.shape[1] + 1, self.rule.params)

    def _by_function(self, columns: Tensor) -> Tensor:
        mixed = columns[self.own].clone()
        for group in self.groups:
            per_client = group.columns.shape[1] * columns.shape[1] * columns.element_size()
            for part in group.parts(max(32 * CACHED, at_once(columns)) // max(1, per_client)):
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


def at_once(rows: Tensor) -> int:
    """Bytes of such rows that are best looked at together."""
    return CACHED if rows.is_cpu else ON_CARD


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


def _all_finite(found: list[Tensor]) -> bool:
    return all(math.isfinite(some.sum().item()) for some in found)


def _in_order(columns: Tensor) -> Tensor:
    """With infinity for what is not a number: that has its place among others."""
    inf = float("inf")
    return columns.nan_to_num(nan=inf, posinf=inf, neginf=-inf)


def _to_own(products: Tensor) -> Tensor:
    """Squared distances to the own row, [k, slots], from [k, 1 + slots, 1 + slots]."""
    length = products.diagonal(dim1=1, dim2=2)
    return length[:, 1:] + length[:, :1] - 2 * products[:, 0, 1:]


def _values(group: Group) -> Tensor:
    """[k, slots + 1]: where the own one is and those received."""
    return torch.cat([group.own[:, None], group.columns], 1)


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
        uploaded(torch.from_numpy(clients), like.device),
        uploaded(torch.from_numpy(arrivals.own[clients]), like.device),
        uploaded(torch.from_numpy(columns), like.device),
        uploaded(torch.from_numpy(weights), like),
        uploaded(torch.from_numpy(there), like.device),
    )


@lru_cache
def compiled() -> ModuleType | None:
    """`engine.compiled`, where Numba is installed, and goes with the NumPy that is."""
    if find_spec("numba") is None:
        return None
    try:
        import numba

        from p2pqg.engine import compiled
    except ImportError:
        return None
    return None if numba.config.DISABLE_JIT else compiled
