"""How the checks play an algorithm: on quadratics, in this process, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from p2pqg.algorithms.user_code import find_algorithm
from p2pqg.base.config import made
from p2pqg.base.registry import Entry
from p2pqg.engine.block import lockstep
from p2pqg.theory.quadratics import Array, Quadratics, starts
from p2pqg.theory.trajectories import at_start, trajectory
from p2pqg.topology import Schedule, build

ROUNDS = 12


def falling_lr(round: int) -> float:
    """A step size that changes in mid-run: 0.05, then 0.02 from round 6 on."""
    return 0.05 if round < 6 else 0.02


def entry_of(algorithm: str | Entry) -> Entry:
    """The registered algorithm of that name, or that of FILE.py:NAME; an entry is its own."""
    return find_algorithm(algorithm)


def suitable_topology(algorithm: str | Entry, **params: Any) -> str:
    """A network of 8 clients that the algorithm accepts: a ring, or a tree where it needs one."""
    entry = entry_of(algorithm)
    needs = entry.traits["needs"](made(entry.params, {"lr": 0.1, **params}))
    if "teleportation" in needs:
        return "teleportation8"
    return "ceca8" if "ceca" in needs else "binary-tree8" if "tree" in needs else "ring8"


def run(
    algorithm: str | Entry,
    problem: Quadratics | None = None,
    x0: Array | None = None,
    topology: Any = None,
    rounds: int = ROUNDS,
    lr: float | Callable[[int], float] = falling_lr,
    **more: Any,
) -> Array:
    """`trajectory` on quadratics: [rounds + 1, clients, dim]. `more`: blocks, parameters, ..."""
    problem = problem or Quadratics.random()
    if topology is None:
        options = {"blocks", "seed", "weight_decay"}
        chosen = {key: value for key, value in more.items() if key not in options}
        topology = suitable_topology(algorithm, **chosen)
    x0 = starts(*problem.b.shape) if x0 is None else x0
    return trajectory(
        algorithm, problem.gradient, x0, topology=topology, rounds=rounds, lr=lr, **more
    )


def assert_same(got: Array, expected: Array, tolerance: float = 1e-12) -> None:
    """Every number agrees, to a tolerance (absolute and relative)."""
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def dense(topology: Any, round: int = 0) -> Array:
    """W of a round, [clients, clients]."""
    network = topology if isinstance(topology, Schedule) else build(topology)
    return network.mixing(round).dense()


def bytes_sent(algorithm: str | Entry, topology: Any, rounds: int, **params: Any) -> float:
    """What all clients together sent in so many rounds, in float64."""
    x0 = starts(build(topology).num_clients)
    problem = Quadratics.random(len(x0))
    blocks = at_start(algorithm, problem.gradient, x0, topology=topology, lr=0.05, **params)
    lockstep(blocks, rounds)
    return sum(block.bytes_sent for block in blocks)
