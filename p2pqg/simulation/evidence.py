"""What a claim about a simulation can be checked with: its samples, batches, states and W.

All but the states is worked out where it is asked for, by the code that the clients run.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.ranges import as_whole_number
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import batches_per_round
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.spec import Shards
from p2pqg.network import Network
from p2pqg.network.clients import Clients
from p2pqg.network.lies import liars
from p2pqg.simulation.experiment import Experiment


class Era(NamedTuple):
    """From a round on, until something was done.

    Attributes:
        first: the round.
        network: in force.
        step: batches that a client had drawn by then, where clients wait; each: that it draws in a
            round.
    """

    first: int
    network: Network
    step: int
    each: int

    @classmethod
    def of(cls, first: int, network: Network, rule: Rule, step: int) -> Era:
        """With so many steps as the rule makes."""
        return cls(first, network, step, batches_per_round(rule.algorithm, rule.params))

    def step_at(self, round: int) -> int:
        """Batches drawn when a round begins."""
        return self.step + (round - self.first) * self.each

    def round_of(self, step: int) -> int:
        """The round that a step is in."""
        return self.first + (step - self.step) // self.each


Past = tuple[Era, ...]
"""In order."""


def number_of(network: Network, client: Any) -> int:
    """The client of that name or number; ConfigError if there is none."""
    return Clients.of(network.base).number(client, "client")


def shard(experiment: Experiment, client: int) -> tuple[np.ndarray, np.ndarray]:
    """A client's training samples, as they are stored, and their targets; copies."""
    rows, arrays = experiment.parts[client], experiment.arrays
    return arrays.train_x[rows], arrays.train_y[rows]


def batch(
    experiment: Experiment, past: Past, client: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [batch, ...] and targets [batch] of a client's batch number `step`.

    Raises:
        ConfigError: there is no such step, or it was before all that is known of who lies.
    """
    from p2pqg.algorithms.attacks import label_flip
    from p2pqg.engine.feeds import feed_of

    step, task = as_whole_number(step, "step"), experiment.task
    x, y = shard(experiment, client)
    shards, test = Shards(x, y, np.array([len(x)])), (x[:0], y[:0])
    feed = feed_of(task, shards, test, [client], torch.device("cpu"), task.dtype)
    inputs, targets = feed.batch_of(np.array([0]), np.array([step]))
    if _flips(experiment, past, client, step):
        targets = label_flip(targets, task.num_classes)
    return inputs[0].numpy(), targets[0].numpy()


def _flips(experiment: Experiment, past: Past, client: int, step: int) -> bool:
    """Whether the client learns from flipped labels at a step."""
    if not experiment.waits:
        return False  # nobody lies to clients that do not wait
    era = next((one for one in reversed(past) if one.step <= step), None)
    if era is None:
        raise ConfigError(
            f"batch({client}, {step}): who lied, or how many steps a round has, was changed before "
            f"round {past[0].first}, and this simulation began later; ask for a step from "
            f"{past[0].step}"
        )
    network = era.network
    data = [attack for attack in network.attacks if attack.lie.kind == "data"]
    flipped = liars(data, era.round_of(step), network.num_clients)
    return flipped is not None and bool(flipped[client])


def state(snapshot: Snapshot, client: int) -> dict[str, np.ndarray]:
    """Name -> what a client carries from round to round: its algorithm's state, and "buffers".

    What the algorithm counts, the same for all, is a number: an array without dimensions.
    """
    found = {
        name.removeprefix("state."): np.array(rows[client])
        for name, rows in snapshot.rows.items()
        if name.startswith("state.") or (name == "buffers" and rows.size)
    }
    counts = {n.removeprefix("state."): v for n, v in snapshot.numbers.items() if v is not None}
    return {**found, **{name: np.asarray(value) for name, value in counts.items()}}


def since(past: Past, round: int, network: Network, rule: Rule, step: int) -> Past:
    """What is known so far when another network or rule is in force from a round on.

    Args:
        past: until then; what is later in it is no more.
        round: from which on.
        network: in force then.
        rule: the same.
        step: batches drawn when the round begins, where nothing is known of before.
    """
    before = past[: bisect_left(past, round, key=lambda era: era.first)]
    now = Era.of(round, network, rule, before[-1].step_at(round) if before else step)
    if before and (before[-1].network, before[-1].each) == (now.network, now.each):
        return before  # it goes on
    return (*before, now)


def network_at(past: Past, round: int) -> Network | None:
    """The network in force in a round; None: it was before all that is known."""
    return next((era.network for era in reversed(past) if era.first <= round), None)


def W(past: Past, round: int) -> np.ndarray:
    """float64 [clients, clients], W[receiver, sender] of a round, as it came out.

    Raises:
        ConfigError: there is no such round, or it was before all that is known.
    """
    round = as_whole_number(round, "round")
    network = network_at(past, round)
    if network is None:
        raise ConfigError(
            f"W({round}): the network was changed before round {past[0].first}, and this "
            "simulation began later; ask for a round from then on"
        )
    return network.schedule.mixing(round).dense()
