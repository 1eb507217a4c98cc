"""The network with its clock as blocks of clients that do not wait see it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from p2pqg.algorithms.asynchronous import Pairs
from p2pqg.base.errors import ConfigError
from p2pqg.network import Network, Timing
from p2pqg.topology.schedule import ROUNDS_SEEN


@dataclass(frozen=True, eq=False)
class WaveRouting:
    """The network as blocks of clients that do not wait see it; plain data.

    Attributes:
        network: with a clock.
        bounds: block b hosts clients bounds[b] .. bounds[b + 1] - 1.
        window: so many rounds are cut into waves together, from a multiple of it on, unless
            somebody looks in between. Larger waves, and the numbers do not depend on it but for
            rounding.
        end: seconds on the clock at which everything stops.
    """

    network: Network
    bounds: tuple[int, ...]
    window: int = 1
    end: float = math.inf

    @property
    def num_clients(self) -> int:
        return self.bounds[-1]

    @property
    def num_blocks(self) -> int:
        return len(self.bounds) - 1

    @property
    def timing(self) -> Timing:
        """The clock."""
        timing = self.network.timing
        assert isinstance(timing, Timing), "checked before anything starts"
        return timing

    def present(self) -> np.ndarray | None:
        """[clients], bool: who belongs to the network; None: everyone."""
        if not self.network.absent:
            return None
        here = np.ones(self.num_clients, dtype=bool)
        here[list(self.network.absent)] = False
        return here


def meeting_rates(network: Network) -> Pairs:
    """How often who meets whom, over the rounds of a period, or 16 of a network without one."""
    n = network.num_clients
    schedule = network.remaining
    rounds = schedule.rounds(ROUNDS_SEEN)
    times = [schedule.times(round) for round in rounds]
    timing = network.timing
    speed = np.ones(n)
    if isinstance(timing, Timing) and (timing.compute.fixed > 0).all():
        speed = 1 / timing.compute.fixed
    here = np.ones(n, dtype=bool)
    here[list(network.absent)] = False
    speed = np.where(here, speed, 0.0) / speed[here].mean()
    codes, rates = [], []
    for round, often in zip(rounds, times, strict=True):
        W = schedule.mixing(round)
        apart = (W.receivers != W.senders) & (W.weights > 0)
        i, j, w = W.receivers[apart], W.senders[apart], W.weights[apart]
        share = w / np.bincount(i, w, n)[i] * speed[i] * often / sum(times)
        codes.append(np.minimum(i, j) * n + np.maximum(i, j))
        rates.append(share)
    pairs, at = np.unique(np.concatenate(codes), return_inverse=True)
    a, b = np.divmod(pairs, n)
    return Pairs(n, a, b, np.bincount(at, np.concatenate(rates), len(pairs)))


def check_clock(name: str, network: Network) -> None:
    """Whether clients that do not wait can be timed on a network.

    Raises:
        ConfigError: there is no clock, or computing takes no time; or as of `check_troubles`.
    """
    if not isinstance(network.timing, Timing):
        raise ConfigError(
            f"{name} needs a simulated clock: when clients do not wait, their speed decides who "
            "steps when. Add network: {compute: 1 s}, or {compute: {seconds: 1, varies: "
            "exponential}, links: 4g}"
        )
    if not network.timing.compute.never_rests:
        raise ConfigError(
            f"network.compute must be > 0 for every client with {name}: who needs no time for a "
            "gradient would make infinitely many at once. Say network: {compute: 1 s}"
        )
    check_troubles(name, network)


def check_troubles(name: str, network: Network) -> None:
    """Whether what goes wrong in a network can go wrong where clients do not wait.

    Raises:
        ConfigError: it is said in rounds.
    """
    wrong, said = network.impairments, []
    if wrong.delays != (0, 0):
        said.append("delay counts rounds that a message travels; give links a latency")
    if wrong.participation < 1:
        said.append("participation is of rounds; use scenario, or compute.stragglers")
    if wrong.on_loss != "keep":
        said.append("on_loss must be keep")
    if wrong.noise:
        said.append("noise is of rounds; leave it out")
    if isinstance(network.timing, Timing):
        if not math.isinf(network.timing.deadline):
            said.append("network.deadline ends a round for all; leave it out")
        if network.timing.synchrony != "global":
            said.append("network.synchrony says for whom a round waits; leave it out")
    if said:
        lines = "; ".join(f"impairments.{s}" if not s.startswith("network") else s for s in said)
        raise ConfigError(f"{name} does not wait for anybody, and there are no rounds: {lines}")
