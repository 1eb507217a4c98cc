"""Timing: how long the rounds of a simulated network take.

In a round a client computes its gradients, then sends all its messages at once, and is through when
they have left and those meant for it are there. A message takes

    latency + jitter E + bits / min(bandwidth, uplink / messages sent, downlink / messages received)

with E from Exp(1) (see links.py): a client's messages share its uplink, those that get lost among
them, and those that come to it its downlink, in equal parts. Nobody waits for what gets lost, but
its sender's uplink is busy with it. This is the delay of Marfoq et al., NeurIPS 2020,
arXiv:2010.12229; so is the recursion of `synchrony: neighbors`, linear over (max, +):

    ready_i <- max over the senders j of i of  ready_j + compute_j + message_ji

but not before i's own messages have left, ready_i + compute_i + bits / rate: no line carries two
rounds at once.

An all-reduce is that of a ring: 2 (n - 1) steps, in each of which everyone sends an n-th of the
tensor to the next client, as fast as the slowest link of the ring (Patarasuk, Yuan, Journal of
Parallel and Distributed Computing 2009). The ring is that of the clients' numbers.

Nothing is remembered: draws are hashes of (seed, what, whom, round).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Real
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from p2pqg.base.seeding import uniforms
from p2pqg.network.clients import Clients
from p2pqg.network.compute import Compute, read_compute
from p2pqg.network.link_spec import Side, links_of, read_line, read_links
from p2pqg.network.links import Links
from p2pqg.network.params import ClockParams, Quantity
from p2pqg.network.trips import Trips
from p2pqg.topology import Mixing

SIZES_KEPT = 4
"""Sizes of messages over one W whose trips are kept, at most."""


@dataclass(frozen=True, eq=False)
class Timing:
    """The clock of a simulated network.

    Attributes:
        num_clients: n.
        seed: of the jitter.
        links: latency, bandwidth and jitter of every link.
        uplink: float64 [clients], bits per second, perhaps inf.
        downlink: the same.
        compute: seconds of computing.
        synchrony: "global" or "neighbors", see `ClockParams`.
        deadline: seconds, perhaps inf.
    """

    num_clients: int
    seed: int
    links: Links
    uplink: np.ndarray
    downlink: np.ndarray
    compute: Compute
    synchrony: str = "global"
    deadline: float = math.inf
    _kept: WeakKeyDictionary[Mixing, dict[float, Trips | None]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    @classmethod
    def of(
        cls, params: ClockParams, num_clients: int, labels: tuple[str, ...] = (), seed: int = 0
    ) -> Timing:
        """The clock that a recipe describes; reads the files that it names.

        Args:
            params: without `problems()`.
            num_clients: n.
            labels: of `Schedule.labels`.
            seed: the run's.

        Raises:
            ConfigError: an unknown client, or a file that cannot be used.
        """
        clients, spec = Clients(num_clients, labels), read_links(params.links)
        return cls(
            num_clients=num_clients,
            seed=seed,
            links=links_of(spec, clients),
            uplink=_line(params.uplink, "uplink", clients, spec.uplink),
            downlink=_line(params.downlink, "downlink", clients, spec.downlink),
            compute=Compute.of_spec(read_compute(params.compute), clients, seed),
            synchrony=params.synchrony,
            deadline=params.deadline_seconds,
        )

    def arrivals(
        self,
        W: Mixing,
        round: int,
        message_bytes: float | np.ndarray,
        phase: int = 0,
        gradients: float | None = None,
    ) -> np.ndarray:
        """When the message of each entry of W is at its receiver.

        Args:
            W: of the round. Its out-degrees say what each client sends, lost messages included.
                What was sent in an earlier round (`ages` > 0) is there already, and clients that
                sit out (not `active`) neither compute nor send nor wait.
            round: >= 0.
            message_bytes: of one message; a number, or [clients] by sender. 0: nothing is sent.
            phase: the number of this exchange within the round.
            gradients: that each client computes before it; None: one before the first exchange of
                a round, none before the others.

        Returns:
            float64 [entries], seconds after the start of the round, which all start at once. Own
            entries: the client's own computing. What is not waited for: 0.
        """
        start, active = np.zeros(self.num_clients), self._active(W)
        trips = self._trips(W, active, message_bytes)
        computing = self._computing(active, round, phase, gradients)
        found = np.where(W.senders == W.receivers, computing[W.receivers], 0.0)
        found[trips.fresh] = self._arrivals(trips, start, computing, round, phase)
        return found

    def advance(
        self,
        ready: np.ndarray,
        W: Mixing,
        round: int,
        message_bytes: float | np.ndarray = 0.0,
        allreduce_bytes: float = 0.0,
        phase: int = 0,
        gradients: float | None = None,
        allgather_bytes: float = 0.0,
    ) -> np.ndarray:
        """When each client is through the round.

        A client that sits out is ready again with the first of the others.

        Args:
            ready: float64 [clients], seconds at which each client starts it.
            W: of the round. Where `sent` counts messages that are not in it, and there is a
                deadline, it is waited for; without a deadline nobody waits for what is lost.
            round: >= 0.
            message_bytes: see `arrivals`.
            allreduce_bytes: of the tensor whose mean is taken at the end of the round; 0: none.
            phase: see `arrivals`.
            gradients: the same.
            allgather_bytes: of each client's message to all; 0: none.

        Returns:
            float64 [clients], never before `ready`.
        """
        active = self._active(W)
        if not active.any():
            return ready
        barrier = self.synchrony == "global"
        start = np.full(self.num_clients, ready.max()) if barrier else ready
        trips = self._trips(W, active, message_bytes)
        computing = self._computing(active, round, phase, gradients)
        waiting = computing + trips.leaving
        if barrier and not trips.jitters:
            waiting[0] = max(waiting[0], self._last_arrival(trips, computing))
        else:
            arrivals = self._arrivals(trips, start, computing, round, phase)
            np.maximum.at(waiting, trips.receivers, arrivals)
        if barrier:
            late = self.deadline < math.inf and np.any(message_bytes) and _misses(W, active)
            waiting[:] = self.deadline if late else min(waiting.max(), self.deadline)
        through = start + waiting
        if allreduce_bytes or allgather_bytes:
            round_the_ring = self.allreduce_seconds if allreduce_bytes else self.allgather_seconds
            whole = round_the_ring(allreduce_bytes or allgather_bytes, active)
            through[:] = through[active].max() + whole
        return np.where(active, through, np.maximum(ready, through[active].min()))

    def seconds(
        self,
        W: Mixing,
        round: int,
        message_bytes: float | np.ndarray = 0.0,
        allreduce_bytes: float = 0.0,
        phase: int = 0,
    ) -> float:
        """How long a round takes that everyone starts at once; arguments as of `advance`."""
        start = np.zeros(self.num_clients)
        return float(self.advance(start, W, round, message_bytes, allreduce_bytes, phase).max())

    def allreduce_seconds(self, num_bytes: float, active: np.ndarray | None = None) -> float:
        """How long a ring all-reduce takes once everyone is there.

        Args:
            num_bytes: of the tensor whose mean is taken.
            active: bool [clients], who takes part; None: everyone.
        """
        n = self.num_clients if active is None else int(active.sum())
        return 2 * (n - 1) * self._step_of_a_ring(num_bytes / n, active) if n > 1 else 0.0

    def allgather_seconds(self, num_bytes: float, active: np.ndarray | None = None) -> float:
        """How long it takes until a message of each went round the ring.

        Args:
            num_bytes: of one message.
            active: bool [clients], who takes part; None: everyone.
        """
        n = self.num_clients if active is None else int(active.sum())
        return (n - 1) * self._step_of_a_ring(num_bytes, active) if n > 1 else 0.0

    def _step_of_a_ring(self, num_bytes: float, active: np.ndarray | None) -> float:
        """How long the slowest link takes for so much, with its mean jitter."""
        ring = np.arange(self.num_clients) if active is None else np.flatnonzero(active)
        following = np.roll(ring, -1)
        latency, bandwidth, jitter = self.links.look_up(ring, following)
        rate = np.minimum(bandwidth, np.minimum(self.uplink[ring], self.downlink[following]))
        return float((latency + jitter + 8 * num_bytes / rate).max())

    def _trips(self, W: Mixing, active: np.ndarray, message_bytes: float | np.ndarray) -> Trips:
        """The trips over W; if it comes again they are kept from the second time on."""
        made = partial(Trips.of, W, active, message_bytes, self.links, self.uplink, self.downlink)
        if not isinstance(message_bytes, Real):
            return made()
        kept, size = self._kept.setdefault(W, {}), float(message_bytes)
        trips = kept.get(size)
        if trips is None:
            trips = replace(made(), comes_again=size in kept)
            if len(kept) == SIZES_KEPT and not trips.comes_again:
                kept.clear()
            kept[size] = trips if trips.comes_again else None
        return trips

    def _computing(
        self, active: np.ndarray, round: int, phase: int, gradients: float | None
    ) -> np.ndarray:
        """float64 [clients], seconds of computing before an exchange."""
        count = float(phase == 0) if gradients is None else gradients
        return np.where(active, count * self.compute.seconds(round), 0.0)

    def _arrivals(
        self, trips: Trips, start: np.ndarray, computing: np.ndarray, round: int, phase: int
    ) -> np.ndarray:
        """float64 [messages], seconds after its receiver's own start until each is there."""
        senders, receivers, latency = trips.senders, trips.receivers, trips.latency
        if trips.jitters:
            u = uniforms(self.seed, "jitter", senders, receivers, round, phase)
            latency = latency - trips.jitter * np.log1p(-u)
        arrivals = computing[senders] + trips.sending + latency
        return arrivals + (start[senders] - start[receivers])

    def _last_arrival(self, trips: Trips, computing: np.ndarray) -> float:
        """The latest of `_arrivals` if all start at once, and nothing jitters."""
        last = trips.latest
        arrivals = computing[trips.senders[last]] + trips.sending[last] + trips.latency[last]
        return float(arrivals.max(initial=0.0))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _kept=WeakKeyDictionary())

    def _active(self, W: Mixing) -> np.ndarray:
        """Who takes part in the round, bool [clients]."""
        active = np.ones(self.num_clients, dtype=bool)
        for part in (W.active, W.present):
            if part is not None:
                active = active & part
        return active


def _misses(W: Mixing, active: np.ndarray) -> bool:
    """Whether more was sent than there is in W."""
    return bool(W.out_degrees()[active].sum() > (W.senders != W.receivers).sum())


def _line(value: Quantity | None, side: Side, clients: Clients, otherwise: float) -> np.ndarray:
    """float64 [clients]: what each can send, or receive."""
    default, own = read_line(value, side, otherwise)
    rates = np.full(clients.num_clients, default)
    for name, rate in own.items():
        rates[clients.number(name, f"network.{side}")] = rate
    return rates
