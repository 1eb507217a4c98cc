"""Average consensus alone: the network without learning (Section 4.1, Figure 3 and Eq. (4)).

With no gradient and a step size of 1, DSGD is gossip and QG-DSGDm is the paper's Eq. (4):

    x <- W (x - beta m)        m <- mu m + (1 - mu) (x_before - x)

So nothing is implemented here: the same algorithms run, on the same networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.ranges import as_whole_number
from p2pqg.base.seeding import rng
from p2pqg.engine.block import lockstep
from p2pqg.theory.trajectories import at_start, real_numbers
from p2pqg.topology import Schedule, build

DIM = 16
"""Numbers of each client that are averaged at once, so that one draw tells little."""


def average_consensus(
    topology: Any,
    rounds: int,
    values: np.ndarray | None = None,
    beta: float = 0.9,
    mu: float = 0.9,
    quasi_global: bool = True,
    seed: int = 0,
    dim: int = DIM,
) -> np.ndarray:
    """How fast the clients agree, without gradients.

    Args:
        topology: as of `p2pqg.mixing_matrix`.
        rounds: >= 0.
        values: what the clients start from, [clients] or [clients, dim]; default: drawn, standard
            normal, keyed by `seed`.
        beta: weight of the momentum, in [0, 1). 0: gossip.
        mu: memory of the momentum, in [0, 1).
        quasi_global: False: plain gossip, x <- W x; push-sum where only the columns of W sum to 1.
        seed: of the values.
        dim: how many numbers of each client are drawn.

    Returns:
        float64 [rounds + 1]: mean_i |x_i - mean x|^2 at the start and after every round.

    Raises:
        ConfigError: a number out of its range, or values of the wrong shape or that are no real
            numbers; TopologyError for W.
    """
    rounds = as_whole_number(rounds, "rounds")
    momentum = {"beta": beta, "mu": mu} if quasi_global else None
    path = distances(topology, values, momentum=momentum, seed=seed, dim=dim)
    return np.fromiter(islice(path, rounds + 1), dtype=np.float64)


def distances(
    topology: Any,
    values: np.ndarray | None = None,
    *,
    momentum: dict[str, float] | None = None,
    seed: int = 0,
    dim: int = DIM,
) -> Iterator[float]:
    """The consensus distance at the start and after every round, for ever.

    `momentum` holds beta and mu of the quasi-global form; None is gossip. The rest is as of
    `average_consensus`.
    """
    schedule = build(
        topology, needs=("column-stochastic",), allow_disconnected=True, allow_row_stochastic=True
    )
    name, params = "dsgd", dict[str, Any]()
    if momentum is not None:
        name, params = "qg-dsgdm", momentum
    elif not averages_rows(schedule):
        name, params = "sgp", {"beta": 0.0}
    if values is None:
        size = schedule.num_clients, as_whole_number(dim, "dim", 1)
        x0 = rng(as_whole_number(seed, "seed"), "consensus").standard_normal(size)
    else:
        x0 = real_numbers(values, "values").numpy()
        x0 = x0[:, None] if x0.ndim == 1 else x0
        if x0.ndim != 2 or len(x0) != schedule.num_clients or not x0.size:
            raise ConfigError(
                f"values must be [{schedule.num_clients}] or [{schedule.num_clients}, dim], got "
                f"shape {list(np.shape(values))}"
            )
    (block,) = at_start(name, lambda x, round: 0 * x, x0, topology=schedule, lr=1.0, **params)
    while True:
        x = block.x
        yield (x - x.mean(0)).square().sum(1).mean().item()
        lockstep([block], block.round + 1)


def averages_rows(schedule: Schedule) -> bool:
    """Whether gossip is an average over what is received: rows of W sum to 1."""
    rounds = schedule.rounds(4)
    return all(np.allclose(schedule.mixing(t).row_sums(), 1, rtol=0, atol=1e-9) for t in rounds)
