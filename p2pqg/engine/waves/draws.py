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

MOST = 2**16
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
        self.base: list[int] = []
        self.seconds: list[list[float]] = []

    def draw(self, steps: list[int]) -> None:
        """Draw on from these steps."""
        self.base = list(steps)
        clients = np.arange(self.num_clients)[:, None]
        number = np.array(steps)[:, None] + np.arange(self.ahead)
        self.seconds = self.timing.compute.seconds_of(clients, number).tolist()
        self._draw(clients + np.zeros_like(number), number)

    @abstractmethod
    def _draw(self, clients: np.ndarray, number: np.ndarray) -> None:
        """Draw whom these steps of the clients lead to."""

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

    def _draw(self, clients: np.ndarray, number: np.ndarray) -> None:
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
        self.partner = partner.tolist()
        self.lasts = _listed(lasts.reshape(number.shape))
        self.lost = _listed(lost.reshape(number.shape))


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

    def _draw(self, clients: np.ndarray, number: np.ndarray) -> None:
        n, ahead = number.shape
        nothing = Post([], [], 0.0, 1.0)
        self.posts = [[nothing] * ahead for _ in range(n)]
        self.row = [[{}] * ahead for _ in range(n)] if self.asks.keep == "last" else []
        room = np.zeros(number.shape)
        for W, where in self._rounds(number):
            into, arcs = Arcs.into(W), Arcs.out_of(W)
            if self.row:
                rows = into.listed()
                for client, at in np.argwhere(where).tolist():
                    self.row[client][at] = rows[client]
            mass = np.concatenate([[0.0], np.cumsum(into.weights)])
            room[where] = (mass[into.first[1:]] - mass[into.first[:-1]])[clients[where]]
            if self._is_certain:  # then all posts of a client are one
                for client, post in enumerate(self._posts(into, arcs, clients[:, 0], number[:, 0])):
                    row = self.posts[client]
                    for at in np.flatnonzero(where[client]).tolist():
                        row[at] = post
                continue
            cells = zip(*(index.tolist() for index in np.nonzero(where)), strict=True)
            found = self._posts(into, arcs, clients[where], number[where])
            for (client, at), post in zip(cells, found, strict=True):
                self.posts[client][at] = post
        self.room = _listed(room)

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


def _listed(table: np.ndarray) -> Any:
    """Of [clients, ahead] a list of lists."""
    return table.tolist()


def spread(first: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranges first[k] .. first[k] + counts[k] - 1, end to end: which k, and which number.

    >>> spread(np.array([4, 9]), np.array([2, 1]))
    (array([0, 0, 1]), array([4, 5, 9]))
    """
    of = np.repeat(np.arange(len(first)), counts)
    start = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else counts
    return of, np.arange(len(of)) - np.repeat(start, counts) + np.repeat(first, counts)
