"""What each client's next steps take, and whom they lead to.

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

MOST = 2**17
"""Steps that are drawn at once, about, of all clients together."""
AHEAD = 64
"""Steps of each client that are drawn at once, at most."""
KNOWN = 64
"""Rounds whose W is kept, at most."""


class Draws:
    """What is drawn on a network, each time by whoever asks.

    Args:
        routing: the network.
        asks: what a step asks of it.
    """

    def __init__(self, routing: WaveRouting, asks: Asks) -> None:
        self.network, self.timing, self.asks = routing.network, routing.timing, asks
        self.num_clients = routing.num_clients

    def _rounds(self, number: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Every round whose W is asked for, and where: a mask of the shape of `number`."""
        period = self.network.remaining.period
        if period == 1 or not number.size:
            yield 0, np.ones(number.shape, dtype=bool)
            return
        rounds = number if period is None else number % period
        for round in np.unique(rounds).tolist():
            yield round, rounds == round

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
    """The draws of clients that meet, as lists [clients][ahead] for a timeline to run along.

    Step number `base[i]` .. `base[i] + ahead - 1` of each client i.

    Attributes:
        base: the first step that is drawn, of each client.
        seconds: of computing.
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
        self.ahead = max(4, min(AHEAD, MOST // n))
        self.base = [-self.ahead] * n
        self.seconds: list[list[float]] = [[]] * n
        self.partner, self.lasts, self.lost = [[]] * n, [[]] * n, [[]] * n

    def draw(self, steps: list[int]) -> None:
        """Draw on from these steps, of the clients that have used half of what was drawn."""
        used = np.array(steps) - self.base
        who = np.flatnonzero((used < 0) | (2 * used >= self.ahead))
        number = np.array(steps)[who][:, None] + np.arange(self.ahead)
        clients = who[:, None] + np.zeros_like(number)
        fill(self.base, who, number[:, 0].tolist())
        fill(self.seconds, who, self.timing.compute.seconds_of(clients, number).tolist())
        partner = np.full(number.shape, -1)
        for round, where in self._rounds(number):
            arcs = Arcs.into(self.network.remaining.mixing(round))
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


class Sending(NamedTuple):
    """What some steps send; letters [letters] in the order of the steps.

    Attributes:
        first: int64 [steps + 1], step k sends letters first[k] .. first[k + 1] - 1.
        receiver: int64 [letters], to whom.
        weight: float64 [letters].
        travel: float64 [letters], seconds until it is there.
        there: bool [letters], it will be there; the others get lost.
        busy: float64 [steps], seconds until all have left the client's line.
        kept: float64 [steps], 1 less the weights of what will arrive.
    """

    first: np.ndarray
    receiver: np.ndarray
    weight: np.ndarray
    travel: np.ndarray
    there: np.ndarray
    busy: np.ndarray
    kept: np.ndarray


class LetterDraws(Draws):
    """The draws of clients that push."""

    def __init__(self, routing: WaveRouting, asks: Asks) -> None:
        super().__init__(routing, asks)
        self._arcs: dict[int, tuple[Arcs, Arcs]] = {}

    def arcs(self, round: int) -> tuple[Arcs, Arcs]:
        """The entries of a round's W by receiver, and by sender."""
        found = self._arcs.get(round)
        if found is None:
            if len(self._arcs) >= KNOWN:
                self._arcs.clear()
            W = self.network.remaining.mixing(round)
            self._arcs[round] = found = Arcs.into(W), Arcs.out_of(W)
        return found

    def sending(self, clients: np.ndarray, steps: np.ndarray) -> Sending:
        """What some clients send after some of their steps; int64 [steps] each."""
        parts = list[tuple[np.ndarray, ...]]()
        for round, where in self._rounds(steps):
            at = np.flatnonzero(where)
            of, *letters = self._letters(round, clients[at], steps[at])
            parts.append((at[of], *letters))
        columns = [np.concatenate(some) for some in zip(*parts, strict=True)]
        if len(parts) > 1:
            order = np.argsort(columns[0], kind="stable")
            columns = [column[order] for column in columns]
        of, receiver, weight, travel, leaving, there = columns
        size = len(clients)
        first = np.searchsorted(of, np.arange(size + 1))
        busy = np.zeros(size)
        np.maximum.at(busy, of, leaving)
        lost = ~there
        arriving = np.where(lost, 0.0, weight) if lost.any() else weight
        kept = 1 - np.bincount(of, arriving, size)
        return Sending(first, receiver, weight, travel, there, busy, kept)

    def _letters(
        self, round: int, clients: np.ndarray, steps: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        """The letters of one W, [letters] each.

        Returns:
            of which of these steps, its receiver, its weight, seconds on the way, seconds until it
            has left, and whether it arrives.
        """
        into, arcs = self.arcs(round)
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
        leaving = np.maximum(copies[a] * bits / lines.uplink[a], bits / bandwidth)
        leaving = np.maximum(leaving, shares[b] * bits / lines.downlink[b])
        there = ~wrong.lost(self.network.seed, steps[of], a, b)
        return of, b, weights, travel + leaving, leaving, there

    def room(self, clients: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """float64 [steps]: the sum of W's row without the own entry, in some of their steps."""
        room = np.zeros(len(clients))
        for round, where in self._rounds(steps):
            into, _ = self.arcs(round)
            mass = np.concatenate([[0.0], np.cumsum(into.weights)])
            room[where] = (mass[into.first[1:]] - mass[into.first[:-1]])[clients[where]]
        return room

    def weights(self, clients: np.ndarray, senders: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """float64 [letters]: W[client, sender] in a step of the client, 0: no neighbor."""
        found, n = np.zeros(len(clients)), self.num_clients
        for round, where in self._rounds(steps):
            into, _ = self.arcs(round)
            codes = np.repeat(np.arange(n), np.diff(into.first)) * n + into.others  # rising
            wanted = clients[where] * n + senders[where]
            at = np.minimum(np.searchsorted(codes, wanted), max(len(codes) - 1, 0))
            if len(codes):
                found[where] = np.where(codes[at] == wanted, into.weights[at], 0.0)
        return found


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
