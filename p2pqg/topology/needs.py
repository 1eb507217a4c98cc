"""What an algorithm relies on, asked of every W of a network, with what to use instead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.topology.checks import (
    TOLERANCE,
    first,
    is_doubly_stochastic,
    lambda_min,
    pieces,
    unlike_one,
)
from p2pqg.topology.mixing import Mixing
from p2pqg.topology.names import schedule_named
from p2pqg.topology.schedule import Schedule

PINNED = frozenset({"static", "tree", "ceca", "teleportation"})
"""Needs of a network in which everything goes as planned: no losses, no links that change."""


def check_needs(
    schedule: Schedule, needs: tuple[str, ...], algorithm: str, rounds: int | None = None
) -> list[str]:
    """Whether every W gives an algorithm what it relies on.

    Args:
        schedule: the network, see `Schedule`.
        needs: of "symmetric", "doubly-stochastic", "column-stochastic", "tree", "static",
            "steady" (a W that changes is a warning), "undirected", "lambda-min" (smallest
            eigenvalue > -1/3), "lambda-min:-0.4" (> -0.4), "ceca" or "teleportation" (the
            network of that name). Without "column-stochastic" the rows of W must sum to 1.
        algorithm: its name, for the message.
        rounds: look at so many rounds; None: all of a period, the first 4 of an aperiodic network.

    Returns:
        Warnings, one line each: things that work, but not quite as one may hope.

    Raises:
        TopologyError: something is lacking; the message says what to use instead.
    """
    unknown = {need.partition(":")[0] for need in needs} - set(_NEEDS)
    assert not unknown, f"{algorithm}: unknown needs {unknown}"
    warnings = list(schedule.notes)
    if {"column-stochastic", "teleportation"}.isdisjoint(needs):
        needs = ("row-stochastic", *needs)
    if not {"tree", "static"}.isdisjoint(needs) and schedule.period != 1:
        raise TopologyError(
            f"{algorithm} needs the same network in every round, {schedule.name!r} changes. "
            f"Use {'binary-tree or chain' if 'tree' in needs else 'ring or torus'}."
        )
    if "steady" in needs and schedule.period != 1:
        warnings.append(
            f"{schedule.name!r}: W changes from round to round: {algorithm} takes what that does "
            "to the models for a step of its own, and may diverge. Use a network that stays, a "
            "smaller beta or mu, or qg-dsgdm-n"
        )
    if "teleportation" in needs and schedule.rule != "teleportation":
        raise TopologyError(
            f"{schedule.name!r}: {algorithm} needs the network that is made for it. "
            f"Use teleportation{max(2, schedule.num_clients)}."
        )
    if "ceca" in needs:
        _check_ceca(schedule, algorithm)
    for round in range(rounds) if rounds else schedule.rounds(4):
        W = schedule.mixing(round)
        for need in needs:
            what, _, number = need.partition(":")
            more = [float(number)] if number else []
            warning = _NEEDS[what](W, schedule.name, algorithm, *more)
            if warning and warning not in warnings:
                warnings.append(warning)
    return warnings


OF_ONE_ROUND = ("symmetric", "doubly-stochastic", "undirected")
"""Needs that cost little to look at, whatever the number of clients."""


def check_round(W: Mixing, round: int, name: str, needs: tuple[str, ...], algorithm: str) -> None:
    """Whether one W of a network that never repeats gives an algorithm what it relies on.

    `check_needs` looks at the first ones of such a network only. Of what it looks at, this is what
    costs little: smallest eigenvalues are not worked out in every round.

    Raises:
        TopologyError: as of `check_needs`.
    """
    wanted = {need.partition(":")[0].replace("lambda-min", "symmetric") for need in needs}
    for need in wanted.intersection(OF_ONE_ROUND):
        _NEEDS[need](W, f"{name}, round {round}", algorithm)


def _check_ceca(schedule: Schedule, algorithm: str) -> None:
    n = schedule.num_clients
    for ports in (1, 2)[n % 2 and n > 1 :]:
        expected = schedule_named(f"ceca{n}:ports={ports}")
        if schedule.period == expected.period and all(
            _same(schedule.mixing(round), expected.mixing(round)) for round in expected.rounds()
        ):
            return
    raise TopologyError(
        f"{schedule.name!r}: {algorithm} needs the network that is made for it. Use ceca{n}, or "
        f"{'ceca' + str(n) + ':ports=1' if n % 2 == 0 else 'another algorithm'}."
    )


def _same(one: Mixing, other: Mixing) -> bool:
    return (
        np.array_equal(one.receivers, other.receivers)
        and np.array_equal(one.senders, other.senders)
        and np.allclose(one.weights, other.weights, rtol=0, atol=TOLERANCE)
    )


def _rows(W: Mixing, name: str, algorithm: str) -> str | None:
    line = first(np.abs(W.row_sums() - 1) > TOLERANCE)
    if line is not None:
        raise TopologyError(
            f"{name!r}: row {line} of W sums to {unlike_one(W.row_sums()[line])}, {algorithm} "
            "needs 1 (tolerance 1e-9). Use algorithm sgp (push-sum), or an undirected network."
        )
    if not is_doubly_stochastic(W):
        return f"{name!r}: W is not doubly stochastic: {algorithm} drifts to a weighted mean"
    return None


def _columns(W: Mixing, name: str, algorithm: str) -> None:
    line = first(np.abs(W.column_sums() - 1) > TOLERANCE)
    if line is not None:
        raise TopologyError(
            f"{name!r}: column {line} of W sums to {unlike_one(W.column_sums()[line])}, "
            f"{algorithm} needs 1 (tolerance 1e-9). Use mixing: columns."
        )


def _doubly(W: Mixing, name: str, algorithm: str) -> None:
    if not is_doubly_stochastic(W):
        raise TopologyError(
            f"{name!r}: {algorithm} needs a doubly stochastic W, its rows or columns do not sum "
            "to 1. Use mixing: metropolis_hastings on an undirected network."
        )


def _symmetric(W: Mixing, name: str, algorithm: str) -> None:
    if not W.is_symmetric():
        raise TopologyError(
            f"{name!r}: {algorithm} needs a symmetric W, this one is not. Use an undirected "
            "network (ring, torus, base, ...) with mixing: metropolis_hastings."
        )


def _undirected(W: Mixing, name: str, algorithm: str) -> None:
    if not W.is_mutual():
        raise TopologyError(
            f"{name!r}: {algorithm} needs an undirected network, for who meets somebody is met. "
            "Use ring, torus, social or base, or algorithm async-sgp (push-sum)."
        )


def _tree(W: Mixing, name: str, algorithm: str) -> None:
    edges = int((W.receivers != W.senders).sum()) // (2 if W.is_mutual() else 1)
    if not W.is_mutual() or edges != W.num_clients - 1 or pieces(W).any():
        raise TopologyError(
            f"{name!r}: {algorithm} needs an undirected tree, this network has {W.num_clients} "
            f"clients and {edges} edges. Use binary-tree, chain, star or social-tree."
        )


def _lambda_min(W: Mixing, name: str, algorithm: str, edge: float = -1 / 3) -> str | None:
    _symmetric(W, name, algorithm)
    own = np.zeros(W.num_clients)
    itself = W.receivers == W.senders
    own[W.receivers[itself]] = W.weights[itself]
    if (W.weights >= 0).all() and 2 * own.min() - 1 > edge + TOLERANCE:
        return None  # no eigenvalue is smaller, as Gershgorin knows
    low = lambda_min(W)
    repair = "use --set algorithm.lazy=true, which mixes with (W + I) / 2"
    bound = "-1/3" if edge == -1 / 3 else f"{edge:.4f}"
    if low < edge - TOLERANCE:
        raise TopologyError(
            f"{name!r}: smallest eigenvalue of W is {low:.4f}, {algorithm} needs > {bound}; "
            f"{repair}."
        )
    if low <= edge + TOLERANCE:
        return (
            f"{name!r}: smallest eigenvalue of W is just {bound}, the edge for {algorithm}; "
            f"{repair}"
        )
    return None


_NEEDS: dict[str, Callable[..., str | None]] = {
    "row-stochastic": _rows,
    "column-stochastic": _columns,
    "doubly-stochastic": _doubly,
    "symmetric": _symmetric,
    "undirected": _undirected,
    "tree": _tree,
    "static": lambda W, name, algorithm: None,
    "ceca": lambda W, name, algorithm: None,
    "teleportation": lambda W, name, algorithm: None,
    "steady": lambda W, name, algorithm: None,
    "lambda-min": _lambda_min,
}
