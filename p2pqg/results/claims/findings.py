"""How sure a comparison is: Student's interval, and Holm's procedure over a family of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from p2pqg.base.wording import counted
from p2pqg.results.claims.claim import Claim
from p2pqg.results.seeds import t_quantile, t_share

HOLDS, NOT, OPEN = "holds", "does not hold", "undecided"
ERROR = 0.05
"""Probability of even one wrong verdict in a family."""
MOST_SEEDS = 1000
FEWEST_ALIKE = 3
"""Seeds that may decide where all of them agree: of two it may be chance, as accuracies are counts
of test samples."""
ROUNDING = 1e-9
"""Share of a mean below which its deviation is one of arithmetic, and not of seeds; and of a number
below which that to another one is none."""


@dataclass(frozen=True)
class Finding:
    """One comparison of a claim.

    Attributes:
        about: what sets it apart from the others of the claim; "" for the only one.
        seeds: of which there are values.
        mean, low, high: of the difference or ratio, and its 95 % interval.
        p: of the mean being as far from the nearest bound by chance.
        verdict: holds, does not hold, undecided.
        more: seeds that it would take beside these, if mean and spread stay; None where it is
            decided, infinity for more than MOST_SEEDS.
        alike: its seeds agree to rounding, so that nothing is known of their spread.
    """

    about: str
    seeds: tuple[int, ...]
    mean: float
    low: float
    high: float
    p: float
    verdict: str = OPEN
    more: float | None = None
    alike: bool = False

    @property
    def result(self) -> str:
        """The verdict in words, with the seeds that are wanting, and why."""
        return self.verdict + wanting(self.more, [self])


def measured(claim: Claim, about: str, values: pd.Series) -> Finding:
    """Mean, interval and p of a comparison."""
    scale = np.log if claim.by == "ratio" else np.asarray
    back = math.exp if claim.by == "ratio" else float
    found, n = scale(values.to_numpy()), len(values)
    mean, deviation = float(found.mean()), float(found.std(ddof=1))
    alike = deviation <= ROUNDING * float(np.abs(found).max())
    error = 0.0 if alike else deviation / math.sqrt(n)
    half = t_quantile(n - 1) * error
    distance = _distance(claim, mean)
    if alike:
        p = 0.0 if n >= FEWEST_ALIKE and distance > ROUNDING * abs(mean) else 1.0
    else:
        p = 1 - t_share(distance / error, n - 1)
    seeds = tuple(int(seed) for seed in values.index)
    low, high = back(mean - half), back(mean + half)
    return Finding(about, seeds, back(mean), low, high, p, alike=alike)


def _distance(claim: Claim, mean: float) -> float:
    """How far a mean, on the scale on which it is judged, is from the nearest bound."""
    low, high = claim.bounds
    if claim.by == "ratio":
        low = math.log(low) if math.isfinite(low) else low
        high = math.log(high) if math.isfinite(high) else high
    return min(abs(mean - low), abs(mean - high))


def holm(family: Sequence[tuple[Claim, Finding]]) -> list[Finding]:
    """Verdicts, by Holm's procedure: the smallest p at 5 % / n, the next at 5 % / (n - 1), ...

    Source: Holm, Scandinavian Journal of Statistics 6, 1979.
    """
    order = sorted(range(len(family)), key=lambda index: family[index][1].p)
    decided = 0
    for index in order:
        if family[index][1].p > ERROR / (len(family) - decided):
            break
        decided += 1
    left = len(family) - decided
    found = [one for _, one in family]
    for rank, index in enumerate(order):
        claim, one = family[index]
        low, high = claim.bounds
        if rank < decided:
            found[index] = replace(one, verdict=HOLDS if low <= one.mean <= high else NOT)
        else:
            found[index] = replace(one, more=_more_seeds(claim, one, 1 - ERROR / left))
    return found


def _more_seeds(claim: Claim, one: Finding, share: float) -> float:
    """Seeds beside these after which an interval of that share would keep to one side."""
    n = len(one.seeds)
    mean, high = (math.log(v) if claim.by == "ratio" else v for v in (one.mean, one.high))
    spread = (high - mean) / t_quantile(n - 1) * math.sqrt(n)
    distance = _distance(claim, mean)
    if one.alike:
        return max(FEWEST_ALIKE - n, 1) if distance > ROUNDING * abs(mean) else math.inf

    def decides(count: int) -> bool:
        return t_quantile(count - 1, share) * spread / math.sqrt(count) < distance

    low, count = n, n + MOST_SEEDS
    if not decides(count):
        return math.inf
    while count - low > 1:
        middle = (low + count) // 2
        low, count = (low, middle) if decides(middle) else (middle, count)
    return count - n


def wanting(more: float | None, findings: Sequence[Finding]) -> str:
    """How many seeds comparisons are short of, in brackets."""
    if more is None:
        return ""
    if more == math.inf:
        return f" (over {MOST_SEEDS:,} seeds more)"
    few = any(one.alike and len(one.seeds) < FEWEST_ALIKE for one in findings if one.more)
    why = "two seeds that agree exactly decide nothing: " if few else ""
    return f" ({why}about {counted(int(more), 'seed')} more)"
