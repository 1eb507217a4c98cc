"""What can be said of W before anyone trains on it: sums, signs, spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.topology.mixing import Mixing

TOLERANCE = 1e-9
ROUNDED = 1e-3
"""A sum that is so near to 1 was perhaps meant to be 1."""
DENSE_LIMIT = 2048
"""Up to so many clients spectra are exact (dense); beyond, 300 Lanczos steps."""


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What every W of a network keeps, beyond finite weights, each entry once.

    Attributes:
        rows: they sum to 1: a client averages what it hears.
        columns: they sum to 1: nothing is lost of what is sent, and the mean stays.
        sign: no weight is negative.
    """

    rows: bool = True
    columns: bool = True
    sign: bool = True


EVERYTHING = Promise()


def check(W: np.ndarray | Mixing, name: str, promise: Promise = EVERYTHING) -> None:
    """Whether W keeps what is promised of it; sums to a tolerance of 1e-9.

    Takes a tenth of the time, or less, in which W is built: every W of a `Schedule` is checked.

    Args:
        W: [clients, clients], W[receiver, sender].
        name: of the network, for the message.
        promise: what to look at; by default all.

    Raises:
        TopologyError: what is wrong first.
    """
    W = W if isinstance(W, Mixing) else as_mixing(W, name)
    if not _in_order(W):
        n = W.num_clients
        raise TopologyError(
            f"{name!r}: the entries of W must be in order, each once, of clients 0 to {n - 1}. "
            "Make it by Mixing.of."
        )
    entry = first(~np.isfinite(W.weights))
    if entry is not None:
        raise TopologyError(f"{name!r}: {_entry(W, entry)}, must be a finite number. Correct it.")
    entry = first(W.weights < 0) if promise.sign else None
    if entry is not None:
        raise TopologyError(
            f"{name!r}: {_entry(W, entry)}, must be >= 0. Use mixing: metropolis_hastings."
        )
    repair = "Use mixing: metropolis_hastings."
    if len(W.weights) and (W.weights == 1).all():  # who is joined to whom, no weights
        repair = "It holds zeros and ones: give the graph, nx.from_numpy_array(W), instead."
    if promise.rows:
        _check_sums(W.row_sums(), "row", name, repair)
    if promise.columns:
        repair = repair if promise.rows else "Use mixing: columns."
        _check_sums(W.column_sums(), "column", name, repair)


def _in_order(W: Mixing) -> bool:
    """Whether the entries rise by receiver and sender, each once, all of them clients."""
    if not len(W.weights):
        return True
    codes = W.receivers * W.num_clients + W.senders
    low, high = W.senders.min(), max(W.senders.max(), W.receivers[-1])
    rising = (codes[1:] > codes[:-1]).all()
    return bool(rising and min(low, W.receivers[0]) >= 0 and high < W.num_clients)


def array_of(W: Any, name: str) -> Any:
    """What numpy takes for W: of torch and scipy (sparse, too), a frame of pandas, a list of these.

    Columns of a frame go by their names: that of a client stands where its row does.

    Raises:
        TopologyError: it holds complex numbers, which are no weights, or has entries without one.
    """
    rows = list, tuple
    if isinstance(W, rows) and any(hasattr(one, "shape") or isinstance(one, rows) for one in W):
        return [array_of(one, name) for one in W]
    if getattr(W, "is_meta", False):
        raise TopologyError(f"{name!r}: W has no values, being on torch's device meta")
    if np.ma.is_masked(W):
        raise TopologyError(f"{name!r}: W has entries that are masked; fill them in, W.filled(0)")
    if hasattr(W, "detach"):  # torch
        W = W.detach().cpu().to_dense()
        W = (W.double() if W.is_floating_point() else W).numpy()
    elif hasattr(W, "toarray"):  # scipy, sparse
        W = W.toarray()
    elif hasattr(W, "reindex") and hasattr(W, "columns"):
        rows, columns = W.index, W.columns
        if rows.is_unique and columns.is_unique and set(rows) == set(columns):
            W = W[rows]
        W = W.to_numpy()
    if np.iscomplexobj(W):
        raise TopologyError(f"{name!r}: W must hold real numbers, got {np.asarray(W).dtype}")
    return W


def as_mixing(W: Any, name: str) -> Mixing:
    """The W in an array; TopologyError where it is no square one of real numbers."""
    try:
        W = np.asarray(array_of(W, name))
    except ValueError:
        raise TopologyError(f"{name!r}: W must be square, its rows differ in length") from None
    if W.ndim != 2 or W.shape[0] != W.shape[1] or not len(W):
        raise TopologyError(
            f"{name!r}: W must be square, [clients, clients], got shape {list(W.shape)}"
        )
    if not np.issubdtype(W.dtype, np.number):
        raise TopologyError(f"{name!r}: W must hold real numbers, got {W.dtype}")
    return Mixing.from_dense(W)


def first(wrong: np.ndarray) -> int | None:
    return int(np.argmax(wrong)) if wrong.any() else None


def _entry(W: Mixing, k: int) -> str:
    return f"W[{W.receivers[k]}, {W.senders[k]}] is {W.weights[k]:.4g}"


def _check_sums(sums: np.ndarray, what: str, name: str, repair: str) -> None:
    line = first(np.abs(sums - 1) > TOLERANCE)
    if line is not None:
        if abs(sums[line] - 1) < ROUNDED:
            repair = f"If it was rounded, as float32 is, compute it in float64. {repair}"
        raise TopologyError(
            f"{name!r}: {what} {line} of W sums to {unlike_one(sums[line])}, must be 1 "
            f"(tolerance 1e-9). {repair}"
        )


def unlike_one(value: float) -> str:
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
    if W.num_clients > DENSE_LIMIT:
        return _ends(W)[0]
    whole, piece = W.dense(), pieces(W)
    names, sizes = np.unique(piece, return_counts=True)
    alone = np.isin(piece, names[sizes == 1])
    low = whole.diagonal()[alone].min(initial=1.0)
    for name in names[sizes > 1]:  # one at a time: in a trace most pieces are small
        some = np.flatnonzero(piece == name)
        low = min(low, np.linalg.eigvalsh(whole[np.ix_(some, some)])[0])
    return float(low)


def pieces(W: Mixing) -> np.ndarray:
    """int64 [clients]: the first client that each has a path to, whichever way messages go."""
    return pieces_of(W.num_clients, W.senders, W.receivers)


def pieces_of(num_clients: int, senders: np.ndarray, receivers: np.ndarray) -> np.ndarray:
    """The same by links, int64 [links] each, however often each is named."""
    first = np.arange(num_clients)
    while True:
        nearer = first.copy()
        np.minimum.at(nearer, receivers, first[senders])
        np.minimum.at(nearer, senders, first[receivers])
        nearer = nearer[nearer]  # and who that one has found: long paths take few turns
        if np.array_equal(nearer, first):
            return first
        first = nearer


MOST_HOPS = 64
"""That messages are followed for; where they need more, the whole graph is looked at."""


def all_reach_all(clients: np.ndarray, senders: np.ndarray, receivers: np.ndarray) -> bool | None:
    """Whether messages get from each client to each other one; None: not within MOST_HOPS.

    Args:
        clients: bool [clients], who counts; the others have no links.
        senders: int64 [links].
        receivers: int64 [links].
    """
    for one, other in ((senders, receivers), (receivers, senders)):
        reached: np.ndarray = np.zeros(len(clients), dtype=bool)
        reached[np.argmax(clients)] = True
        for _ in range(MOST_HOPS):
            before = reached.sum()
            reached[other[reached[one]]] = True
            if reached.sum() == before:
                break
        else:
            return None
        if not reached[clients].all():
            return False
    return True


def _ends(W: Mixing) -> tuple[float, float]:
    """(lambda_n, lambda_2) of a symmetric W whose rows sum to 1."""
    if W.num_clients > DENSE_LIMIT:
        return _lanczos(W.apply, W.num_clients)
    values = np.linalg.eigvalsh(W.dense())
    return float(values[0]), float(values[-2])


def _lanczos(
    apply: Callable[[np.ndarray], np.ndarray], n: int, steps: int = 300
) -> tuple[float, float]:
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
