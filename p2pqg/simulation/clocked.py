"""A network with its simulated clock, and with what messages weigh where some may be late."""

from __future__ import annotations

import dataclasses
import math

from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import usual_traffic
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
    return in_time(with_timing(network, clock), rule, cost, task)


def in_time(network: Network, rule: Rule, cost: Cost, task: Task) -> Network:
    """The network with what is computed and sent before a deadline, if there is one.

    As in all rounds but the first, which with some methods takes another number of gradients.
    """
    timing = network.timing
    if not isinstance(timing, Timing) or math.isinf(timing.deadline) or not rule.waits:
        return network
    nobody = torch.empty(0, cost.num_params, dtype=task.dtype)
    everybody = dataclasses.replace(network, deadline=None)  # who is late has computed as well
    taken = usual_traffic(rule, nobody, everybody.slots)
    sums = {kind: sum(size for other, size in taken if other == kind) for kind, _ in taken}
    gradients = sums.get("gradient", 0.0)
    computing = gradients * timing.compute.seconds(0).min()
    if timing.deadline <= computing:
        raise ConfigError(
            f"network.deadline must be longer than the {computing:g} s in which the fastest client "
            f"computes its {gradients:g} gradients of a round, got {timing.deadline:g} s"
        )
    known = {
        "deadline": timing.deadline,
        "message_bytes": sums.get("gossip", 0.0),
        "gradients": gradients,
    }
    if all(getattr(network, name) == value for name, value in known.items()):
        return network  # itself: its W is what it was
    return dataclasses.replace(network, **known)
