"""What is asked of W before anyone trains on it: sums, signs, spectrum, an algorithm's needs."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import numpy as np

from p2pqg.errors import TopologyError
from p2pqg.topology.mixing import Mixing

TOLERANCE = 1e-9
DENSE_LIMIT = 2048
"""Up to so many clients spectra are exact (dense); beyond, 300 Lanczos steps."""


def check(
    W: np.ndarray | Mixing,
    name: str,
    allow_row_stochastic: bool = False,
    allow_column_stochastic: bool = False,
    allow_negative: bool = False,
) -> None:
    """Rows and columns of W sum to 1 (tolerance 1e-9), and no weight is negative.

    Args:
        W: [clients, clients], W[receiver, sender].
        name: of the network, for the message.
        allow_row_stochastic: columns may sum to anything (plain averaging).
        allow_column_stochastic: rows may sum to anything (push-sum).
        allow_negative: weights below zero are fine (best_constant).

    Raises:
        TopologyError: what is wrong first.
    """
    if not isinstance(W, Mixing):
        W = np.asarray(W)
        if W.ndim != 2 or W.shape[0] != W.shape[1] or not len(W):
            raise TopologyError(
                f"{name!r}: W must be square, [clients, clients], got shape {list(W.shape)}"
            )
        if not np.issubdtype(W.dtype, np.number) or np.iscomplexobj(W):
            raise TopologyError(f"{name!r}: W must hold real numbers, got {W.dtype}")
        W = Mixing.from_dense(W)
    entry = _first(~np.isfinite(W.weights))
    if entry is not None:
        raise TopologyError(f"{name!r}: {_entry(W, entry)} is not a finite number")
    entry = None if allow_negative else _first(W.weights < 0)
    if entry is not None:
        raise TopologyError(
            f"{name!r}: {_entry(W, entry)}, must be >= 0. Use mixing: metropolis_hastings."
        )
    if not allow_column_stochastic:
        _check_sums(W.row_sums(), "row", name, "metropolis_hastings")
    if not allow_row_stochastic:
        repair = "columns" if allow_column_stochastic else "metropolis_hastings"
        _check_sums(W.column_sums(), "column", name, repair)


def _first(wrong: np.ndarray) -> int | None:
    return int(np.argmax(wrong)) if wrong.any() else None


def _entry(W: Mixing, k: int) -> str:
    return f"W[{W.receivers[k]}, {W.senders[k]}] is {W.weights[k]:.4g}"


def _check_sums(sums: np.ndarray, what: str, name: str, repair: str) -> None:
    line = _first(np.abs(sums - 1) > TOLERANCE)
    if line is not None:
        raise TopologyError(
            f"{name!r}: {what} {line} of W sums to {_unlike_one(sums[line])}, must be 1 "
            f"(tolerance 1e-9). Use mixing: {repair}."
        )


def _unlike_one(value: float) -> str:
    """Three digits, or as many as it takes to see that it is not 1."""
    return f"{value:.3f}" if abs(value - 1) >= 1e-3 else f"1{value - 1:+.1e}"


def is_doubly_stochastic(W: Mixing) -> bool:
    """Whether the rows and the columns of W sum to 1: then mixing keeps the mean."""
    sums = np.concatenate([W.row_sums(), W.column_sums()])
    return bool(np.all(np.abs(sums - 1) <= TOLERANCE))


def spectral_gap(W: np.ndarray | Mixing) -> float:
    """How much closer to the mean one round brings the clients: 1 at once, 0 never.

    1 - max(|lambda_2|, |lambda_n|) where W is symmetric; 1 - ||W - J||_2 where it is directed and
    doubly stochastic; 1 - |lambda_2| else. Beyond 2,048 clients an upper bound (Lanczos), or nan
    where W is not doubly stochastic.
    """
    W = W if isinstance(W, Mixing) else Mixing.from_dense(W)
    n = W.num_clients
    if n == 1:
        return 1.0
    if not is_doubly_stochastic(W):
        if n > DENSE_LIMIT:
            return float("nan")
        return float(1 - np.sort(np.abs(np.linalg.eigvals(W.dense())))[-2])
    if W.is_symmetric():
        low, high = _ends(W)
        return float(1 - max(abs(low), abs(high)))
    if n <= DENSE_LIMIT:
        return float(1 - np.linalg.norm(W.dense() - 1 / n, ord=2))
    back = W.transposed()
    return float(1 - np.sqrt(_lanczos(lambda x: back.apply(W.apply(x)), n)[1]))


def lambda_min(W: np.ndarray | Mixing) -> float:
    """Smallest eigenvalue of a symmetric W (Lanczos, an upper bound, beyond 2,048 clients)."""
    W = W if isinstance(W, Mixing) else Mixing.from_dense(W)
    return 1.0 if W.num_clients == 1 else _ends(W)[0]


def _ends(W: Mixing) -> tuple[float, float]:
    """(lambda_n, lambda_2) of a symmetric W whose rows sum to 1."""
    if W.num_clients > DENSE_LIMIT:
        return _lanczos(W.apply, W.num_clients)
    values = np.linalg.eigvalsh(W.dense())
    return float(values[0]), float(values[-2])


def _lanczos(apply: Callable, n: int, steps: int = 300) -> tuple[float, float]:
    """Smallest and largest Ritz value on the complement of the constant vector."""
    steps = min(steps, n - 1)
    basis = np.zeros((steps + 1, n))
    basis[0] = n**-0.5
    v = np.cos(np.arange(n) ** 2)  # any vector will do that no symmetry of a network can annul
    diagonal, beside = np.zeros(steps), np.zeros(steps)
    for k in range(steps):
        past = basis[: k + 1]
        for _ in range(2):  # twice is enough, once is not (Kahan)
            v = v - (past @ v) @ past
        beside[k] = np.linalg.norm(v)
        if beside[k] < 1e-10:
            steps = k
            break
        basis[k + 1] = v / beside[k]
        v = apply(basis[k + 1])
        diagonal[k] = basis[k + 1] @ v
    off = beside[1:steps]
    values = np.linalg.eigvalsh(np.diag(diagonal[:steps]) + np.diag(off, 1) + np.diag(off, -1))
    return float(values[0]), float(values[-1])


def check_needs(
    schedule, needs: tuple[str, ...], algorithm: str, rounds: int | None = None
) -> list[str]:
    """Whether every W gives an algorithm what it relies on.

    Args:
        schedule: the network, see `Schedule`.
        needs: of "symmetric", "doubly-stochastic", "column-stochastic", "tree", "static",
            "lambda-min" (smallest eigenvalue > -1/3). Without "column-stochastic" the rows of W
            must sum to 1.
        algorithm: its name, for the message.
        rounds: look at so many rounds; None: all of a period, the first 4 of an aperiodic network.

    Returns:
        Warnings, one line each: things that work, but not quite as one may hope.

    Raises:
        TopologyError: something is lacking; the message says what to use instead.
    """
    unknown = set(needs) - set(_NEEDS)
    assert not unknown, f"{algorithm}: unknown needs {unknown}"
    warnings = list(schedule.notes)
    if "column-stochastic" not in needs:
        needs = ("row-stochastic", *needs)
    if not {"tree", "static"}.isdisjoint(needs) and schedule.period != 1:
        raise TopologyError(
            f"{algorithm} needs the same network in every round, {schedule.name!r} changes. "
            f"Use {'binary-tree or chain' if 'tree' in needs else 'ring or torus'}."
        )
    for round in range(rounds or schedule.period or 4):
        W = schedule.mixing(round)
        for need in needs:
            warning = _NEEDS[need](W, schedule.name, algorithm)
            if warning and warning not in warnings:
                warnings.append(warning)
    return warnings


def _rows(W: Mixing, name: str, algorithm: str) -> str | None:
    line = _first(np.abs(W.row_sums() - 1) > TOLERANCE)
    if line is not None:
        raise TopologyError(
            f"{name!r}: row {line} of W sums to {_unlike_one(W.row_sums()[line])}, {algorithm} "
            "needs 1 (tolerance 1e-9). Use algorithm sgp (push-sum), or an undirected network."
        )
    if not is_doubly_stochastic(W):
        return f"{name!r}: W is not doubly stochastic: {algorithm} drifts to a weighted mean"
    return None


def _columns(W: Mixing, name: str, algorithm: str) -> None:
    line = _first(np.abs(W.column_sums() - 1) > TOLERANCE)
    if line is not None:
        raise TopologyError(
            f"{name!r}: column {line} of W sums to {_unlike_one(W.column_sums()[line])}, "
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


def _tree(W: Mixing, name: str, algorithm: str) -> None:
    graph = W.graph()
    if graph.is_directed() or not nx.is_tree(graph):
        edges = graph.number_of_edges()
        raise TopologyError(
            f"{name!r}: {algorithm} needs an undirected tree, this network has {W.num_clients} "
            f"clients and {edges} edges. Use binary-tree, chain, star or social-tree."
        )


def _lambda_min(W: Mixing, name: str, algorithm: str) -> str | None:
    _symmetric(W, name, algorithm)
    low = lambda_min(W)
    repair = "use --set algorithm.lazy=true, which mixes with (W + I) / 2"
    if low < -1 / 3 - TOLERANCE:
        raise TopologyError(
            f"{name!r}: smallest eigenvalue of W is {low:.4f}, {algorithm} needs > -1/3; {repair}."
        )
    if low <= -1 / 3 + TOLERANCE:
        return (
            f"{name!r}: smallest eigenvalue of W is just -1/3, the edge for {algorithm}; {repair}"
        )
    return None


_NEEDS: dict[str, Callable[[Mixing, str, str], str | None]] = {
    "row-stochastic": _rows,
    "column-stochastic": _columns,
    "doubly-stochastic": _doubly,
    "symmetric": _symmetric,
    "tree": _tree,
    "static": lambda W, name, algorithm: None,
    "lambda-min": _lambda_min,
}
