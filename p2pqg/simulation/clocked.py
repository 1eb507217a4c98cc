"""A network with its simulated clock, and with what messages weigh where some may be late."""

from __future__ import annotations

import dataclasses
import math

from p2pqg.base.errors import ConfigError
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import first_traffic
from p2pqg.engine.spec import Task
from p2pqg.models import Cost
from p2pqg.network import ClockParams, Network, Timing


def with_timing(network: Network, clock: ClockParams | None) -> Network:
    """The network with its clock, as far as that needs no algorithm."""
    if clock is None:
        return network
    timing = Timing.of(clock, network.num_clients, network.base.labels, network.seed)
    return dataclasses.replace(network, clock=clock, timing=timing)


def with_clock(
    network: Network, clock: ClockParams | None, rule: Rule, cost: Cost, task: Task
) -> Network:
    """The network with its simulated clock, which knows what messages weigh if some may be late."""
    if clock is None:
        return network
    timed = with_timing(network, clock)
    timing = timed.timing
    assert isinstance(timing, Timing)
    if math.isinf(timing.deadline):
        return timed
    taken = first_traffic(rule, cost.num_params, task.dtype)
    sums = {kind: sum(size for other, size in taken if other == kind) for kind, _ in taken}
    gradients = sums.get("gradient", 0.0)
    computing = gradients * timing.compute.seconds(0).min()
    if timing.deadline <= computing:
        raise ConfigError(
            f"network.deadline must be longer than the {computing:g} s in which the fastest client "
            f"computes its {gradients:g} gradients of a round, got {timing.deadline:g} s"
        )
    return dataclasses.replace(
        timed,
        deadline=timing.deadline,
        message_bytes=sums.get("gossip", 0.0),
        gradients=gradients,
    )
