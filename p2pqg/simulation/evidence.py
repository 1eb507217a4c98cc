"""What a claim about a simulation can be checked with: its samples, batches, states and W.

All but the states is worked out where it is asked for, by the code that the clients run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.spec import Shards
from p2pqg.network import Network
from p2pqg.network.clients import Clients
from p2pqg.network.lies import liars
from p2pqg.simulation.experiment import Experiment, dtype_of

Past = tuple[tuple[int, Network], ...]
"""(first round, the network from it on), in order."""


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

    step, task = _whole(step, "step"), experiment.task
    x, y = shard(experiment, client)
    shards, test = Shards(x, y, np.array([len(x)])), (x[:0], y[:0])
    feed = feed_of(task, shards, test, [client], torch.device("cpu"), dtype_of(task))
    inputs, targets = feed.batch_of(np.array([0]), np.array([step]))
    if _flips(experiment, past, client, step):
        targets = label_flip(targets, task.num_classes)
    return inputs[0].numpy(), targets[0].numpy()


def _flips(experiment: Experiment, past: Past, client: int, step: int) -> bool:
    """Whether the client learns from flipped labels at a step."""
    if not experiment.waits:
        return False  # nobody lies to clients that do not wait
    round = step // experiment.steps_per_round
    network = network_at(past, round)
    if network is None:
        raise ConfigError(
            f"batch({client}, {step}): who lied was changed before round {past[0][0]}, and this "
            f"simulation began later; ask for a step from {past[0][0] * experiment.steps_per_round}"
        )
    data = [attack for attack in network.attacks if attack.lie.kind == "data"]
    flipped = liars(data, round, network.num_clients)
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


def since(past: Past, round: int, network: Network) -> Past:
    """What is known of the networks so far when another one is in force from a round on."""
    return (*((first, before) for first, before in past if first < round), (round, network))


def network_at(past: Past, round: int) -> Network | None:
    """The network in force in a round; None: it was before all that is known."""
    return next((one for first, one in reversed(past) if first <= round), None)


def W(past: Past, round: int) -> np.ndarray:
    """float64 [clients, clients], W[receiver, sender] of a round, as it came out.

    Raises:
        ConfigError: there is no such round, or it was before all that is known.
    """
    round = _whole(round, "round")
    network = network_at(past, round)
    if network is None:
        raise ConfigError(
            f"W({round}): the network was changed before round {past[0][0]}, and this simulation "
            "began later; ask for a round from then on"
        )
    return network.schedule.mixing(round).dense()


def _whole(number: Any, what: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 0:
        raise ConfigError(f"{what} must be a whole number >= 0, got {number!r}")
    return int(number)
