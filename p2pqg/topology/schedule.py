"""Schedule: round -> W. A static network is a schedule of period 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count, takewhile
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.topology.checks import Promise, check
from p2pqg.topology.mixing import Mixing
from p2pqg.topology.mixing_rules import RULES, Arcs, default_rule

ROUNDS_SEEN = 16
"""Rounds of a network without a period that are looked at to see who talks to whom."""

KEPT, MOST_KEPT = 16, 2_000_000
"""Rounds that stay in memory; of a network that repeats all, up to so many rounds x clients."""

SMALL, MANY_KEPT = 500_000, 1024
"""More rounds than KEPT stay, but not more than MANY_KEPT, while all their W have at most so many
entries together: who keeps the books asks for W once more, many rounds later."""


@dataclass(eq=False)
class Schedule:
    """The network of every round. What comes back is pickled with it, what is drawn anew is not.

    Attributes:
        name: what the user called it.
        num_clients: n.
        directed: somebody sends to a client that does not send back.
        period: rounds until it repeats; 1: static; None: never, every round is drawn.
        draw: the round (within the period) -> W.
        rule: mixing rule that W comes from.
        labels: the clients' own names, [clients], or empty.
        source: where it comes from.
        notes: what a user should know before trusting it, one line each.
        memory: how many rounds old a message may be when it is mixed, >= 0.
        listed: rounds of the period that are unlike the others, which are all alike; None: each
            may differ from each.
        promise: what every W is checked for as soon as it is drawn; None: what its rule keeps.
    """

    name: str
    num_clients: int
    directed: bool
    period: int | None
    draw: Callable[[int], Mixing]
    rule: str = "given"
    labels: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    memory: int = 0
    listed: frozenset[int] | None = None
    promise: Promise | None = None
    _known: dict[int, Mixing] = field(default_factory=dict, init=False, repr=False)
    _entries: int = field(default=0, init=False, repr=False)

    @property
    def keeps(self) -> Promise:
        """What is true of every W."""
        return self.promise or Promise(**RULES[self.rule].traits)

    def mixing(self, round: int) -> Mixing:
        """W of a round; the very same object whenever a periodic network repeats.

        Raises:
            TopologyError: it is not what it promises to be.
        """
        key = round if self.period is None else round % self.period
        if key not in self._known:
            W = self.draw(key)
            check(W, self.name if self.period == 1 else f"{self.name}, round {key}", self.keeps)
            self._known[key], self._entries = W, self._entries + len(W.weights)
            if self.turn(round) is None:
                self._forget()
        return self._known[key]

    def _forget(self) -> None:
        """The oldest rounds, where there are too many."""
        known = self._known
        while len(known) > (KEPT if self._entries > SMALL else MANY_KEPT):
            self._entries -= len(known.pop(next(iter(known))).weights)

    def turn(self, round: int) -> int | None:
        """The round within the period; None where what is made for it is not worth keeping."""
        if self.period is None or self.period * self.num_clients > MOST_KEPT:
            return None
        return round % self.period

    def rounds(self, most: int = KEPT) -> Sequence[int]:
        """Rounds among which is every network there is: one period, of those alike only the first.

        Args:
            most: of a network that is drawn anew, so many.
        """
        if self.period is None:
            return range(most)
        if self.listed is None:
            return range(self.period)
        unlisted = next((t for t in range(self.period) if t not in self.listed), None)
        return sorted(self.listed if unlisted is None else {*self.listed, unlisted})

    def times(self, round: int) -> int:
        """How often in a period there is what one of `rounds` stands for."""
        if self.listed is None or self.period is None or round in self.listed:
            return 1
        return self.period - len(self.listed)

    def traffic(self, rounds: Sequence[int]) -> tuple[float, tuple[int, float, int]]:
        """Messages a round in the mean, and the least, mean and most that one client sends.

        Args:
            rounds: among those of `rounds()`; each counts as often as it stands for others.
        """
        total, count, least, most = 0, 0, self.num_clients, 0
        for round in rounds:
            sent, times = self.mixing(round).out_degrees(), self.times(round)
            total, count = total + times * int(sent.sum()), count + times
            least, most = min(least, int(sent.min())), max(most, int(sent.max()))
        messages = total / count
        return messages, (least, messages / self.num_clients, most)

    def busy(self, start: int = 0) -> Iterator[int]:
        """The rounds from `start` on in which somebody hears of somebody, perhaps for ever."""
        if self.listed is None or self.period is None:
            yield from count(start)
            return
        if any(round not in self.listed and not self._is_idle(round) for round in self.rounds()):
            yield from count(start)
            return
        turns, rounds = count(start // self.period), sorted(self.listed)
        yield from (
            round for turn in turns for t in rounds if (round := turn * self.period + t) >= start
        )

    def _is_idle(self, round: int) -> bool:
        W = self.mixing(round)
        return bool((W.receivers == W.senders).all())

    def graph(self, round: int = 0) -> nx.Graph | nx.DiGraph:
        """Who talks to whom in a round, without loops; directed edges run sender -> receiver."""
        graph = self.mixing(round).graph()
        return graph.to_directed() if self.directed and not graph.is_directed() else graph

    def called(self, client: int) -> str:
        """What a client is called: its own name, or its number."""
        return self.labels[client] if self.labels else str(client)

    def product(self, rounds: int, start: int = 0) -> np.ndarray:
        """What `rounds` rounds of gossip do together, [clients, clients]: W(last) ... W(start)."""
        product = np.eye(self.num_clients)
        for round in takewhile(lambda round: round < start + rounds, self.busy(start)):
            product = self.mixing(round).dense() @ product
        return product

    def __getstate__(self) -> dict[str, Any]:
        """Everything; the rounds worked out so far only if they come back."""
        if self.turn(0) == 0:
            return self.__dict__
        return {**self.__dict__, "_known": {}, "_entries": 0}


@dataclass(frozen=True)
class Rounds:
    """A network that changes: what a builder returns where one graph is not enough.

    Attributes:
        graph: the round (within the period) -> its graph, of networkx or as `Arcs`; a partial of
            a module's function.
        period: rounds until it repeats; None: never.
        listed: see `Schedule`.
    """

    graph: Callable[[int], nx.Graph | nx.DiGraph | Arcs]
    period: int | None
    listed: frozenset[int] | None = None


def in_turn(items: Sequence[Any], round: int) -> Any:
    """`items[round]`; a partial of it is a picklable schedule."""
    return items[round]


def weighted(graph: Callable[[int], nx.Graph | Arcs], rule: str, round: int) -> Mixing:
    """W of a round's graph by a mixing rule; a partial of it is a picklable schedule."""
    return RULES[rule].build(graph(round))


def schedule_of(
    network: nx.Graph | Arcs | Rounds, name: str, rule: str | None = None, **about: Any
) -> Schedule:
    """The schedule of a graph, or of one graph per round.

    Args:
        network: nodes 0 .. n-1.
        name: what the user calls it.
        rule: mixing rule; None: the one that suits the network, see `default_rule`.
        about: further fields of `Schedule`.
    """
    if isinstance(network, Rounds):
        first, period = network.graph(0), network.period
        rule = rule or ("columns" if first.is_directed() else "metropolis_hastings")
        draw = partial(weighted, network.graph, rule)
        about["listed"] = network.listed
    else:
        first, period = network, 1
        rule = rule or default_rule(network)
        draw = partial(in_turn, (RULES[rule].build(network),))
    n, directed = first.number_of_nodes(), first.is_directed()
    return Schedule(name, n, directed, period, draw, rule, **about)


def schedule_of_arrays(W: np.ndarray, name: str, **about: Any) -> Schedule:
    """The schedule of an array [clients, clients], or [rounds, clients, clients] used in turn."""
    if W.ndim == 2:
        W = W[None]
    if W.ndim != 3 or W.shape[1] != W.shape[2] or 0 in W.shape:
        raise TopologyError(
            f"{name!r}: W must be [clients, clients] or [rounds, clients, clients], got shape "
            f"{list(W.shape)}"
        )
    mixings = tuple(Mixing.from_dense(one) for one in W)
    directed = any(one.graph().is_directed() for one in mixings)
    return Schedule(name, W.shape[1], directed, len(W), partial(in_turn, mixings), **about)
