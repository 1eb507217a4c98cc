"""Who must send which rows to whom: one mixing matrix cut along the borders of the blocks.

Blocks host consecutive clients. For every request of an algorithm a block hands out `parcels`
(rows that other blocks need) and names the `addresses` (block, parcel) of what it needs itself;
an engine carries them, knowing nothing of their content. A block that hosts all clients needs
no one.

An example: a ring of four clients in two blocks. Block 0 hosts clients 0 and 1, block 1 hosts 2
and 3; the ring has the links 0-1, 1-2, 2-3 and 3-0, of which 1-2 and 3-0 cross the border.

>>> from p2pqg.topology import build
>>> routing = Routing(build("ring4"), bounds=(0, 2, 4))
>>> gossip = routing.rows(round=0)

Client 0 wants the model of client 3, and client 1 that of client 2: block 0 needs both rows of
block 1, which hands them out as one parcel, its number 0. Block 1 needs the like of block 0.

>>> [[rows.tolist() for rows in parcels] for parcels in gossip.parcels]
[[[0, 1]], [[0, 1]]]
>>> gossip.leg.addresses  # block 0 takes parcel 0 of block 1; block 1 takes parcel 0 of block 0
(((1, 0),), ((0, 0),))

A block stacks its own rows and below them what came in. Its part of W has a row for each client it
hosts, and a column for each of these stacked rows, whose senders are:

>>> [senders.tolist() for senders in gossip.senders]
[[0, 1, 2, 3], [2, 3, 0, 1]]

In an exchange every message is another one: it leaves from a slot, one for each neighbor in rising
order, and arrives in a slot. Client 1 has the neighbors 0 and 2, so that what it sends to client 2
leaves its row 1 of block 0 from slot 1; client 2 has the neighbors 1 and 3, so that it arrives in
row 0 of block 1 in slot 0. Client 0 has the neighbors 1 and 3, client 3 has 0 and 2.

>>> routing.edges(round=0).edges[0, 1].tolist()  # sender's row and slot, receiver's row and slot
[[1, 1, 0, 0], [0, 1, 1, 0]]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from p2pqg.algorithms.effects import AllReduce, Decide, Effect, Exchange, Gossip, Neighbors
from p2pqg.base.distinct import distinct
from p2pqg.network.lies import Attack, liars
from p2pqg.topology import Mixing, Schedule, check_round

Address = tuple[int, int]
"""(block, which of its parcels)"""


@dataclass(frozen=True)
class Leg:
    """One request's traffic as all blocks see it.

    Attributes:
        num_parcels: for each block, how many parcels it hands out.
        addresses: for each block, where its incoming parcels come from, in order.
    """

    num_parcels: tuple[int, ...]
    addresses: tuple[tuple[Address, ...], ...]

    @property
    def silent(self) -> bool:
        """Nothing crosses a border: nobody waits for anybody."""
        return not any(self.num_parcels)


@dataclass(frozen=True, eq=False)
class RowRoutes:
    """Gossip: the rows that cross borders, and each block's own part of W."""

    mixing: Mixing
    bounds: tuple[int, ...]
    leg: Leg
    parcels: tuple[tuple[np.ndarray, ...], ...]
    """parcels[block]: the sets of its rows, counted from its first client, that it hands out."""
    senders: tuple[np.ndarray, ...]
    """senders[block]: sources in the order of its columns: its own, then the incoming ones. What a
    client sends now is source `client`, what it sent one round ago is source n + client, ..."""
    memory: int = 0
    """How many rounds old a message may be, at most."""

    @classmethod
    def cut(cls, mixing: Mixing, bounds: tuple[int, ...], memory: int = 0) -> RowRoutes:
        num_blocks, n = len(bounds) - 1, mixing.num_clients
        parcels: list[dict[bytes, np.ndarray]] = [{} for _ in range(num_blocks)]
        addresses: list[list[Address]] = [[] for _ in range(num_blocks)]
        ages = n * np.arange(memory + 1)[:, None]
        senders = [
            [(ages + np.arange(bounds[b], bounds[b + 1])).ravel()] for b in range(num_blocks)
        ]
        for here, there, wanted in _crossing(mixing, bounds, memory):
            age, client = np.divmod(wanted, n)
            rows = client - bounds[there] + age * (bounds[there + 1] - bounds[there])
            shelf = parcels[there]
            shelf.setdefault(rows.tobytes(), rows)  # neighbors that want the same rows share them
            addresses[here].append((there, list(shelf).index(rows.tobytes())))
            senders[here].append(wanted)
        return cls(
            mixing,
            bounds,
            Leg(tuple(map(len, parcels)), tuple(map(tuple, addresses))),
            tuple(tuple(shelf.values()) for shelf in parcels),
            tuple(np.concatenate(parts) for parts in senders),
            memory,
        )


def _crossing(
    mixing: Mixing, bounds: tuple[int, ...], memory: int
) -> Iterator[tuple[int, int, np.ndarray]]:
    """(receiving block, sending block, rising sources) of all that crosses a border, in order."""
    num_blocks, num_sources = len(bounds) - 1, mixing.num_clients * (memory + 1)
    if num_blocks == 1:  # most often, and in every round of a network that is drawn anew
        return
    owner = np.searchsorted(bounds, np.arange(mixing.num_clients), side="right") - 1
    here, there = owner[mixing.receivers], owner[mixing.senders]
    apart = here != there
    pairs = (here * num_blocks + there)[apart]
    codes = distinct(pairs * num_sources + sources(mixing)[apart])
    pairs, wanted = np.divmod(codes, num_sources)
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    for pair, some in zip(pairs[starts], np.split(wanted, starts[1:]), strict=False):
        yield *divmod(int(pair), num_blocks), some


def sources(mixing: Mixing) -> np.ndarray:
    """int64 [entries]: whose message, and how old: sender + clients * age."""
    if mixing.ages is None:
        return mixing.senders
    return mixing.senders + mixing.num_clients * mixing.ages


@dataclass(frozen=True, eq=False)
class EdgeRoutes:
    """Exchange: a message of its own on every directed edge sender -> receiver."""

    leg: Leg
    edges: dict[Address, np.ndarray]
    """(from block, to block) -> [edges, 4]: sender's row and slot, receiver's row and slot."""
    mixing: Mixing
    receivers: np.ndarray
    """int64 [clients, slots], to whom each slot goes; -1: it is empty."""
    senders: np.ndarray
    """int64 [clients, slots], from whom what comes back in it is."""
    weights: np.ndarray
    """float64 [clients, slots], of those in W."""

    @property
    def num_slots(self) -> int:
        return self.receivers.shape[1]

    @classmethod
    def cut(cls, mixing: Mixing, bounds: tuple[int, ...], memory: int = 0) -> EdgeRoutes:
        num_blocks = len(bounds) - 1
        apart = mixing.receivers != mixing.senders
        receivers, senders = mixing.receivers[apart], mixing.senders[apart]
        sent_in, heard_in = _rank_within(senders, receivers), _rank_within(receivers, senders)
        owner = np.searchsorted(bounds, np.arange(mixing.num_clients), side="right") - 1
        first = np.asarray(bounds)[owner]
        table = np.stack(
            [
                senders - first[senders],
                sent_in,
                receivers - first[receivers],
                heard_in,
            ],
            axis=1,
        )
        between = owner[senders] * num_blocks + owner[receivers]
        edges = {
            (int(pair) // num_blocks, int(pair) % num_blocks): table[between == pair]
            for pair in np.unique(between)
        }
        targets = [sorted(b for a, b in edges if a == block != b) for block in range(num_blocks)]
        addresses = tuple(
            tuple((a, targets[a].index(block)) for a in range(num_blocks) if block in targets[a])
            for block in range(num_blocks)
        )
        num_slots = max(sent_in.max(initial=-1), heard_in.max(initial=-1)) + 1
        nobody = np.full((mixing.num_clients, num_slots), -1)
        to, by, weights = nobody, nobody.copy(), np.zeros(nobody.shape)
        to[senders, sent_in] = receivers
        by[receivers, heard_in] = senders
        weights[receivers, heard_in] = mixing.weights[apart]
        leg = Leg(tuple(map(len, targets)), addresses)
        return cls(leg, edges, mixing, to, by, weights)


def _rank_within(group: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Place of each item among those of its group, in rising order."""
    order = np.lexsort((item, group))
    sorted_group = group[order]
    starts = np.searchsorted(sorted_group, sorted_group)
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - starts
    return rank


def everyone(num_blocks: int) -> Leg:
    """All-reduce: every block hands out one parcel, its sum, and takes all the others'."""
    addresses = tuple(
        tuple((a, 0) for a in range(num_blocks) if a != block) for block in range(num_blocks)
    )
    return Leg((1 if num_blocks > 1 else 0,) * num_blocks, addresses)


Routes = TypeVar("Routes", RowRoutes, EdgeRoutes)


@dataclass(frozen=True, eq=False)
class Routing:
    """The network as blocks see it: a schedule of mixing matrices, cut at `bounds`.

    Attributes:
        schedule: round -> W.
        bounds: block b hosts clients bounds[b] .. bounds[b + 1] - 1.
        attacks: who lies, how and when.
        needs: what an algorithm relies on in every W, and its name, see `topology.check_round`.
    """

    schedule: Schedule
    bounds: tuple[int, ...]
    attacks: tuple[Attack, ...] = ()
    needs: tuple[tuple[str, ...], str] = ((), "")
    _cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def num_clients(self) -> int:
        return self.bounds[-1]

    @property
    def num_blocks(self) -> int:
        return len(self.bounds) - 1

    def rows(self, round: int) -> RowRoutes:
        return self._cut(RowRoutes, round)

    def edges(self, round: int) -> EdgeRoutes:
        return self._cut(EdgeRoutes, round)

    def lies(self, round: int) -> tuple[Attack, ...]:
        """The attacks of a round on what is sent, not on what is learned from."""
        return tuple(a for a in self.attacks if a.lie.kind != "data" and a.at(round))

    def flipped(self, round: int) -> np.ndarray | None:
        """Whose labels are flipped in a round, bool [clients]; None: nobody's."""
        data = [a for a in self.attacks if a.lie.kind == "data"]
        return liars(data, round, self.num_clients)

    def liars(self, round: int) -> np.ndarray | None:
        """Who lies in a round, bool [clients]; None: nobody."""
        return liars(self.attacks, round, self.num_clients)

    def legs(self, effect: Effect, round: int) -> tuple[Leg, ...]:
        """What travels between blocks to answer this request, one after the other."""
        match effect:
            case Gossip():
                seen = any(a.lie.kind == "own" for a in self.lies(round))
                return (*([everyone(self.num_blocks)] if seen else []), self.rows(round).leg)
            case Exchange():
                return (self.edges(round).leg,)
            case AllReduce() | Decide():
                return (everyone(self.num_blocks),)
            case Neighbors():
                return ()

    def _cut(self, kind: type[Routes], round: int) -> Routes:
        turn = self.schedule.turn(round)
        if turn is None:  # never comes back, or not soon: keep only the latest
            if self._cache.get((kind, "round")) != round:
                made = self._made(kind, round)  # if that fails, the round before stays the latest
                self._cache[kind, "round"], self._cache[kind] = round, made
            return self._cache[kind]
        key = (kind, turn)
        if key not in self._cache:
            self._cache[key] = self._made(kind, round)
        return self._cache[key]

    def _made(self, kind: type[Routes], round: int) -> Routes:
        W, schedule = self.schedule.mixing(round), self.schedule
        if schedule.period is None:  # of others, all were looked at beforehand
            check_round(W, round, schedule.name, *self.needs)
        return kind.cut(W, self.bounds, schedule.memory)

    def __getstate__(self) -> tuple[Any, ...]:
        # Routes are cut anew where this arrives.
        return self.schedule, self.bounds, self.attacks, self.needs

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        names = ("schedule", "bounds", "attacks", "needs", "_cache")
        for name, value in zip(names, (*state, {}), strict=True):
            object.__setattr__(self, name, value)


def even_bounds(num_clients: int, num_blocks: int) -> tuple[int, ...]:
    """Borders of blocks as even as can be; sizes differ by at most one.

    >>> even_bounds(10, 4)
    (0, 3, 6, 8, 10)
    """
    small, extra = divmod(num_clients, num_blocks)
    sizes = [small + (b < extra) for b in range(num_blocks)]
    return (0, *np.cumsum(sizes).tolist())
