"""Checks that want to be told what to expect: what else a method is, or where it comes to rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.engine.block import lockstep
from p2pqg.testing.plays import (
    ROUNDS,
    assert_same,
    bytes_sent,
    dense,
    entry_of,
    falling_lr,
    run,
    suitable_topology,
)
from p2pqg.theory.quadratics import DIM, Array, Quadratics, starts
from p2pqg.theory.trajectories import at_start, trajectory
from p2pqg.topology import build


def check_complete_is(
    algorithm: str | Entry, centralized: str, of: dict[str, Any] | None = None, **params: Any
) -> None:
    """On the complete graph, from a common start, this is a centralized method.

    Args:
        algorithm: decentralized.
        centralized: sgd, sgdm, ...
        of: parameters of the centralized method.
        params: parameters of the algorithm.
    """
    x0 = starts()[0]
    expected = run(centralized, x0=x0, topology="complete8", **(of or {}))
    assert_same(run(algorithm, x0=x0, topology="complete8", **params), expected)


def check_is(
    algorithm: str | Entry, other: str | Entry, of: dict[str, Any] | None = None, **params: Any
) -> None:
    """Two methods, or two ways to call one, take the same path; lr changes in mid-run.

    Args:
        algorithm: e.g. one with local_steps = 1.
        other: what it should be then.
        of: parameters of the other.
        params: parameters of the algorithm.
    """
    topology = suitable_topology(algorithm, **params)
    expected = run(other, topology=topology, **(of or {}))
    assert_same(run(algorithm, topology=topology, **params), expected)


def check_one_local_step_is(
    algorithm: str | Entry,
    other: str | Entry | None = None,
    of: dict[str, Any] | None = None,
    **params: Any,
) -> None:
    """With one local step between two exchanges it is the plain method.

    Args:
        algorithm: one with local_steps.
        other: the plain method; None: the same, which has one step unless it is told otherwise.
        of: parameters of the other.
        params: further parameters of the algorithm.
    """
    of = params if other is None and of is None else of
    check_is(algorithm, algorithm if other is None else other, of, local_steps=1, **params)


def check_again(algorithm: str | Entry, **params: Any) -> None:
    """grad(x, again=True) at the rows of the last gradient is that gradient, and draws no batch.

    Asked behind the algorithm's back, on gradients whose noise is another in every batch.
    """
    entry, problem, same = entry_of(algorithm), Quadratics.random(), list[bool]()

    def noisy(x: Array, round: int, step: int) -> Array:
        return problem.gradient(x, round) + rng(0, "noise", step).standard_normal(x.shape)

    def asked_twice(s: Any, grad: Callable[..., Any], p: Any, *more: Any) -> Any:
        def checked(x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
            g: torch.Tensor = grad(x, again=again)
            same.append(torch.equal(grad(x, again=True), g))  # of an inbox, of all its models
            return g

        return entry.build(s, checked, p, *more)

    topology = suitable_topology(algorithm, **params)
    gradient: Callable[..., Any] = noisy
    usual, twice = (
        trajectory(one, gradient, starts(), topology=topology, rounds=6, lr=0.05, **params)
        for one in (entry, replace(entry, build=asked_twice))
    )
    assert same, "it asks for no gradient: there is nothing to ask again"
    assert all(same), f"{same.count(False)} of {len(same)} are another gradient"
    np.testing.assert_array_equal(twice, usual)


def check_rule_is_gossip(
    rule: Any, algorithm: str | Entry = "dsgdm-n", uniform: bool = False, **params: Any
) -> None:
    """A rule of gossip that has nothing to object to does what gossip does.

    Without liars, such are clipping at an infinite radius and a mean that trims nothing.

    Args:
        rule: as of `trajectory`.
        algorithm: that gossips models.
        uniform: the rule gives all that are heard, and a client itself, the same weight; otherwise
            those of W.
        params: parameters of the algorithm.
    """
    W = dense("star8")  # whose weights are far from uniform
    even = (W > 0) / (W > 0).sum(1, keepdims=True)
    plain = build(even, allow_row_stochastic=True) if uniform else build(W)
    expected = run(algorithm, topology=plain, **params)
    assert_same(run(algorithm, topology=build(W), rule=rule, **params), expected)


def check_sums_to_zero(algorithm: str | Entry, name: str, **params: Any) -> None:
    """A part of the state, such as a correction, sums to zero over the clients after every round.

    Args:
        algorithm: to be run.
        name: of the part.
        params: parameters of the algorithm.
    """
    problem, topology = Quadratics.random(), suitable_topology(algorithm, **params)
    (block,) = at_start(
        algorithm, problem.gradient, starts(), topology=topology, lr=falling_lr, **params
    )
    for done in range(1, ROUNDS + 1):
        lockstep([block], done)
        part = getattr(block.state, name)
        assert part.abs().max() > 0, f"{name} is zero in every client after round {done}"
        assert_same(part.sum(0).numpy(), np.zeros(part.shape[1]), 1e-11)


def check_tracks_mean_gradient(algorithm: str | Entry, name: str, **params: Any) -> None:
    """The mean of a part of the state is that of the clients' gradients at the models before.

    Args:
        algorithm: to be run.
        name: of the part, such as an estimate of everybody's gradient.
        params: parameters of the algorithm.
    """
    problem, topology = Quadratics.random(), suitable_topology(algorithm, **params)
    (block,) = at_start(
        algorithm, problem.gradient, starts(), topology=topology, lr=falling_lr, **params
    )
    for done in range(1, ROUNDS + 1):
        expected = problem.gradient(block.x.numpy(), done - 1).mean(0)
        lockstep([block], done)
        assert_same(getattr(block.state, name).mean(0).numpy(), expected, 1e-9)


def check_comes_to_rest_at(
    algorithm: str | Entry,
    point: Callable[[Quadratics, Array, float], Array],
    topology: Any = None,
    lr: float = 0.1,
    rounds: int = 600,
    tolerance: float = 1e-8,
    **params: Any,
) -> None:
    """Without noise the clients come to rest at a known point.

    Args:
        algorithm: to be run.
        point: (problem, W, lr) -> [clients, dim] or [dim]: where.
        topology: static.
        lr: constant.
        rounds: so many are enough.
        tolerance: for each number.
        params: parameters of the algorithm.
    """
    problem = Quadratics.random()
    network = build(suitable_topology(algorithm, **params) if topology is None else topology)
    path = run(algorithm, problem, topology=network, lr=lr, rounds=rounds, **params)
    expected = point(problem, dense(network), lr)
    assert_same(path[-1], np.broadcast_to(expected, path[-1].shape), tolerance)


def check_finds_optimum(algorithm: str | Entry, **more: Any) -> None:
    """An exact method: whatever the clients' data, all come to rest at the common optimum."""
    check_comes_to_rest_at(algorithm, lambda problem, W, lr: problem.optimum(), **more)


def check_bytes(
    algorithm: str | Entry,
    vectors: float = 1,
    scalars: int = 0,
    allreduced: float = 0,
    topology: Any = None,
    rounds: int = ROUNDS,
    **params: Any,
) -> None:
    """Bytes counted are messages times their size.

    Args:
        algorithm: to be run.
        vectors: model-size vectors in a message, on the mean of all rounds.
        scalars: further numbers of 8 bytes in a message.
        allreduced: model-size vectors all-reduced per round, on the mean.
        topology: static.
        rounds: how many.
        params: parameters of the algorithm.
    """
    network = build(suitable_topology(algorithm, **params) if topology is None else topology)
    W = dense(network)
    edges = np.count_nonzero(W) - np.count_nonzero(np.diag(W))
    ring = 2 * (len(W) - 1) * DIM  # numbers that n clients send to all-reduce a vector
    expected = 8 * rounds * (edges * (vectors * DIM + scalars) + allreduced * ring)
    np.testing.assert_allclose(bytes_sent(algorithm, network, rounds, **params), expected)
