"""What each client's next steps take and whom they lead to, as lists, for timelines to run along.

All of it is a function of the seed, the network, the client and the number of its step: drawing it
again, in other portions or by another process, gives the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from p2pqg.base.seeding import uniforms
from p2pqg.engine.waves.calls import Asks
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.topology import Mixing

MOST = 2**17
"""Steps that are drawn at once, about, of all clients together."""
AHEAD = 64
"""Steps of each client that are drawn at once, at most."""

Letter = tuple[int, float, float]
"""(receiver, weight, seconds that it travels)"""


class Post(NamedTuple):
    """What a client sends after a step.

    Attributes:
        receivers: to whom.
        letters: what will arrive of it.
        busy: seconds until it has left the client's line.
        kept: 1 less the weights of what will arrive.
    """

    receivers: list[int]
    letters: list[Letter]
    busy: float
    kept: float


class Draws(ABC):
    """The steps `base[i]` .. `base[i] + ahead - 1` of each client i; lists [clients][ahead].

    Attributes:
        base: the first step that is drawn, of each client.
        seconds: of computing.
    """

    def __init__(self, routing: WaveRouting, asks: Asks) -> None:
        self.network, self.timing, self.asks = routing.network, routing.timing, asks
        self.num_clients = routing.num_clients
        self.ahead = max(4, min(AHEAD, MOST // self.num_clients))
        self.base = [-self.ahead] * self.num_clients
        self.seconds: list[list[float]] = [[]] * self.num_clients

    def draw(self, steps: list[int]) -> None:
        """Draw on from these steps, of the clients that have used half of what was drawn."""
        used = np.array(steps) - self.base
        who = np.flatnonzero((used < 0) | (2 * used >= self.ahead))
        number = np.array(steps)[who][:, None] + np.arange(self.ahead)
        clients = who[:, None] + np.zeros_like(number)
        fill(self.base, who, number[:, 0].tolist())
        fill(self.seconds, who, self.timing.compute.seconds_of(clients, number).tolist())
        self._draw(who, clients, number)

    @abstractmethod
    def _draw(self, who: np.ndarray, clients: np.ndarray, number: np.ndarray) -> None:
        """Draw whom steps lead to: [clients, ahead] whose, and which; of those of `who`."""

    def _rounds(self, number: np.ndarray) -> Iterator[tuple[Mixing, np.ndarray]]:
        """Every W that is asked for, and where: a mask of the shape of `number`."""
        schedule = self.network.remaining
        rounds = number if schedule.period is None else number % schedule.period
        for round in np.unique(rounds).tolist():
            yield schedule.mixing(round), rounds == round

    def _travel(
        self, senders: np.ndarray, receivers: np.ndarray, number: np.ndarray, phase: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Seconds on the way without what the lines take, and the bandwidth of each link."""
        timing = self.timing
        latency, bandwidth, jitter = timing.links.look_up(senders, receivers)
        if jitter.any():
            u = uniforms(timing.seed, "jitter", senders, receivers, number, phase)
            latency = latency - jitter * np.log1p(-u)
        return latency, bandwidth

    def _one_of(self, purpose: str, arcs: Arcs, clients: np.ndarray, steps: np.ndarray) -> Any:
        """For each step of a client one of its arcs, drawn by weight; -1: it has none.

        Args:
            purpose: of the draw.
            arcs: of whom it is one.
            clients: int64 [steps], whose step.
            steps: int64 [steps], which of its.

        Returns:
            int64 [steps].
        """
        sums = np.concatenate([[0.0], np.cumsum(arcs.weights)])
        first, last = arcs.first[clients], arcs.first[clients + 1]
        u = uniforms(self.network.seed, purpose, clients, steps)
        wanted = sums[first] + u * (sums[last] - sums[first])
        at = np.searchsorted(sums, wanted, side="right") - 1
        return np.where(first < last, np.clip(at, first, last - 1), -1)


class Arcs(NamedTuple):
    """The entries of W apart from the own ones, sorted by whose they are.

    Attributes:
        first: int64 [clients + 1], client i's are first[i] .. first[i + 1] - 1.
        others: int64 [arcs], the client at the other end.
        weights: float64 [arcs].
    """

    first: np.ndarray
    others: np.ndarray
    weights: np.ndarray

    def listed(self) -> list[dict[int, float]]:
        """Of each client: the other end -> weight."""
        others, weights, ends = self.others.tolist(), self.weights.tolist(), self.first.tolist()
        return [
            dict(zip(others[a:b], weights[a:b], strict=True))
            for a, b in zip(ends, ends[1:], strict=False)
        ]

    @classmethod
    def into(cls, W: Mixing) -> Arcs:
        """By receiver: a row of W."""
        return cls._of(W.num_clients, W.receivers, W.senders, W.weights)

    @classmethod
    def out_of(cls, W: Mixing) -> Arcs:
        """By sender: a column."""
        order = np.lexsort((W.receivers, W.senders))
        return cls._of(W.num_clients, W.senders[order], W.receivers[order], W.weights[order])

    @classmethod
    def _of(cls, n: int, by: np.ndarray, others: np.ndarray, weights: np.ndarray) -> Arcs:
        apart = (by != others) & (weights > 0)
        first = np.searchsorted(by[apart], np.arange(n + 1))
        return cls(first, others[apart], weights[apart])


class MeetingDraws(Draws):
    """Of clients that meet.

    Attributes:
        partner: whom the client wants to meet, -1: there is nobody.
        lasts: seconds that the meeting takes.
        lost: a message gets lost, and nothing comes of it.
    """

    partner: list[list[int]]
    lasts: list[list[float]]
    lost: list[list[bool]]

    def __init__(self, routing: WaveRouting, asks: Asks) -> None:
        super().__init__(routing, asks)
        n = self.num_clients
        self.partner, self.lasts, self.lost = [[]] * n, [[]] * n, [[]] * n

    def _draw(self, who: np.ndarray, clients: np.ndarray, number: np.ndarray) -> None:
        partner = np.full(number.shape, -1)
        for W, where in self._rounds(number):
            arcs = Arcs.into(W)
            at = self._one_of("meet", arcs, clients[where], number[where])
            partner[where] = np.where(at < 0, -1, arcs.others[at] if len(arcs.others) else -1)
        mine, other, step = clients.ravel(), np.maximum(partner, 0).ravel(), number.ravel()
        lasts, lost = np.zeros(len(mine)), np.zeros(len(mine), dtype=bool)
        lines, wrong = self.timing, self.network.impairments
        bits = 8 * self.asks.message_bytes
        for phase, (a, b) in enumerate([(mine, other), (other, mine)]):
            seconds, bandwidth = self._travel(a, b, step, phase)
            rate = np.minimum(bandwidth, np.minimum(lines.uplink[a], lines.downlink[b]))
            lasts = np.maximum(lasts, seconds + bits / rate)
            lost |= wrong.lost(self.network.seed, step, a, b)
        fill(self.partner, who, partner.tolist())
        fill(self.lasts, who, lasts.reshape(number.shape).tolist())
        fill(self.lost, who, lost.reshape(number.shape).tolist())


class LetterDraws(Draws):
    """Of clients that push.

    Attributes:
        posts: what the client sends at the end of the step.
        room: the sum of W's row without the own entry.
        row: W's row, sender -> weight, where the last message of every neighbor counts on.
    """

    posts: list[list[Post]]
    room: list[list[float]]
    row: list[list[dict[int, float]]]

    def __init__(self, routing: WaveRouting, asks: Asks) -> None:
        super().__init__(routing, asks)
        n = self.num_clients
        self.posts, self.room, self.row = [[]] * n, [[]] * n, [[]] * n

    def _draw(self, who: np.ndarray, clients: np.ndarray, number: np.ndarray) -> None:
        nothing = Post([], [], 0.0, 1.0)
        posts = [[nothing] * self.ahead for _ in who]
        weights: list[list[dict[int, float]]] = [[{}] * self.ahead for _ in who]
        room = np.zeros(number.shape)
        for W, where in self._rounds(number):
            into, arcs = Arcs.into(W), Arcs.out_of(W)
            if self.asks.keep == "last":
                rows = into.listed()
                for place, at in np.argwhere(where).tolist():
                    weights[place][at] = rows[who[place]]
            mass = np.concatenate([[0.0], np.cumsum(into.weights)])
            room[where] = (mass[into.first[1:]] - mass[into.first[:-1]])[clients[where]]
            if self._is_certain:  # then all posts of a client are one
                for place, post in enumerate(self._posts(into, arcs, who, number[:, 0])):
                    for at in np.flatnonzero(where[place]).tolist():
                        posts[place][at] = post
                continue
            cells = zip(*(index.tolist() for index in np.nonzero(where)), strict=True)
            found = self._posts(into, arcs, clients[where], number[where])
            for (place, at), post in zip(cells, found, strict=True):
                posts[place][at] = post
        fill(self.posts, who, posts)
        fill(self.row, who, weights)
        fill(self.room, who, room.tolist())

    @property
    def _is_certain(self) -> bool:
        """Nothing is drawn: with one W a client's posts are all alike."""
        jitter = self.timing.links.figures[:, 2]
        return self.asks.to == "all" and not self.network.impairments.loss and not jitter.any()

    def _posts(
        self, into: Arcs, arcs: Arcs, clients: np.ndarray, steps: np.ndarray
    ) -> Iterator[Post]:
        """What some clients send after some of their steps, of one W."""
        n, wrong = self.num_clients, self.network.impairments
        if self.asks.to == "one":
            at = self._one_of("push", arcs, clients, steps)
            of, at = np.flatnonzero(at >= 0), at[at >= 0]
            weights, copies, shares = np.full(len(at), 0.5), np.ones(n), np.ones(n)
        else:
            copies, shares = np.diff(arcs.first), np.diff(into.first)
            of, at = spread(arcs.first[clients], copies[clients])
            weights = arcs.weights[at]
        a, b = clients[of], arcs.others[at]
        travel, bandwidth = self._travel(a, b, steps[of], 0)
        bits, lines = 8 * self.asks.message_bytes, self.timing
        sending = np.maximum(copies[a] * bits / lines.uplink[a], bits / bandwidth)
        sending = np.maximum(sending, shares[b] * bits / lines.downlink[b])
        busy = np.zeros(len(clients))
        np.maximum.at(busy, of, sending)
        there = ~wrong.lost(self.network.seed, steps[of], a, b)
        kept = 1 - np.bincount(of[there], weights[there], len(clients))
        letters = list(
            zip(
                b.tolist(),
                weights.tolist(),
                (travel + sending).tolist(),
                there.tolist(),
                strict=True,
            )
        )
        ends = np.searchsorted(of, np.arange(len(clients) + 1)).tolist()
        rows = zip(ends, ends[1:], busy.tolist(), kept.tolist(), strict=False)
        for first, last, line, rest in rows:
            mine = letters[first:last]
            yield Post(
                [receiver for receiver, *_ in mine], [one[:3] for one in mine if one[3]], line, rest
            )


def fill(items: list[Any], at: np.ndarray, values: Any) -> None:
    """items[at[k]] = values[k]."""
    for place, value in zip(at.tolist(), values, strict=True):
        items[place] = value


def spread(first: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranges first[k] .. first[k] + counts[k] - 1, end to end: which k, and which number.

    >>> spread(np.array([4, 9]), np.array([2, 1]))
    (array([0, 0, 1]), array([4, 5, 9]))
    """
    of = np.repeat(np.arange(len(first)), counts)
    start = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else counts
    return of, np.arange(len(of)) - np.repeat(start, counts) + np.repeat(first, counts)
