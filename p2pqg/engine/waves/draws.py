"""What each client's next steps take and whom they lead to, as lists, for timelines to run along.

All of it is a function of the seed, the network, the client and the number of its step: drawing it
again, in other portions or by another process, gives the same.
"""

from __future__ import annotations

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
"""(receiver, weight, seconds that it travels; less than 0: it gets lost)"""


class Draws:
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

    def _draw(self, clients: np.ndarray, number: np.ndarray) -> None:
        raise NotImplementedError

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
        letters: those that the client sends at the end of the step.
        busy: seconds until they have left it.
        room: the sum of W's row without the own entry.
    """

    letters: list[list[list[Letter]]]
    busy: list[list[float]]
    room: list[list[float]]

    def _draw(self, clients: np.ndarray, number: np.ndarray) -> None:
        n, ahead = number.shape
        self.letters = [[[] for _ in range(ahead)] for _ in range(n)]
        busy, room = np.zeros(number.shape), np.zeros(number.shape)
        for W, where in self._rounds(number):
            who, step = clients[where], number[where]
            into, arcs = Arcs.into(W), Arcs.out_of(W)
            mass = np.concatenate([[0.0], np.cumsum(into.weights)])
            room[where] = (mass[into.first[1:]] - mass[into.first[:-1]])[who]
            if self.asks.to == "one":
                at = self._one_of("push", arcs, who, step)
                of, at = np.flatnonzero(at >= 0), at[at >= 0]
                weights, copies, shares = np.full(len(at), 0.5), np.ones(n), np.ones(n)
            else:
                copies, shares = np.diff(arcs.first), np.diff(into.first)
                of, at = spread(arcs.first[who], copies[who])
                weights = arcs.weights[at]
            a, b = who[of], arcs.others[at]
            seconds, bandwidth = self._travel(a, b, step[of], 0)
            bits, lines = 8 * self.asks.message_bytes, self.timing
            wrong = self.network.impairments
            sending = np.maximum(copies[a] * bits / lines.uplink[a], bits / bandwidth)
            sending = np.maximum(sending, shares[b] * bits / lines.downlink[b])
            line = np.zeros(len(who))
            np.maximum.at(line, of, sending)
            busy[where] = line
            travel = np.where(
                wrong.lost(self.network.seed, step[of], a, b), -1.0, seconds + sending
            )
            letters = list(zip(b.tolist(), weights.tolist(), travel.tolist(), strict=True))
            ends = np.searchsorted(of, np.arange(len(who) + 1)).tolist()
            cells = zip(*(index.tolist() for index in np.nonzero(where)), strict=True)
            for (client, number_ahead), first, last in zip(cells, ends[:-1], ends[1:], strict=True):
                self.letters[client][number_ahead] = letters[first:last]
        self.busy, self.room = _listed(busy), _listed(room)


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
