"""How many rounds a network takes to agree: seen on a path of distances, or predicted by a rate."""

from __future__ import annotations

import math

import numpy as np

from p2pqg.topology.checks import spectral_gap
from p2pqg.topology.schedule import Schedule

MOST_WORK = 3e10
"""Multiplications that a gap over a period is worth: some seconds."""


def gap_of_period(network: Schedule) -> float | None:
    """Spectral gap of what a whole period of gossip does, in [0, 1].

    None: too much work, or no period.
    """
    n = network.num_clients
    if network.period is None or len(network.rounds()) * n**3 > MOST_WORK:
        return None
    return float(np.clip(spectral_gap(network.product(network.period)), 0, 1))  # but for rounding


def rounds_to(path: np.ndarray, share: float) -> int | None:
    """The first round after which the distance is at most `share` of its start; None: not yet.

    The paper's momentum overshoots: see `rounds_to_stay`.

    >>> rounds_to(np.array([1.0, 0.1, 0.01]), 0.1), rounds_to(np.array([1.0, 0.9]), 0.1)
    (1, None)
    """
    there = np.flatnonzero(path <= share * path[0])
    return int(there[0]) if len(there) else None


def rounds_to_stay(path: np.ndarray, share: float) -> int | None:
    """The round after which the distance is never more than `share` of its start, as far as seen.

    >>> rounds_to_stay(np.array([1.0, 0.1, 0.2, 0.1]), 0.1)
    3
    """
    above = np.flatnonzero(~(path <= share * path[0]))
    last = int(above[-1]) + 1 if len(above) else 0
    return last if last < len(path) else None


def predicted_rounds(rate: float, share: float) -> float:
    """Rounds to `share` of the distance if its root shrinks by the factor `rate` every round.

    >>> [predicted_rounds(rate, 1e-6) for rate in (0.1, 1.0, 0.0)]
    [3.0, inf, 1.0]
    """
    if rate > 1 - 1e-12:
        return math.inf
    if rate < 1e-9:
        return 1.0
    # A rounding error should not cost a round.
    return float(max(1, math.ceil(math.log(share) / (2 * math.log(rate)) - 1e-9)))
