"""The best of what was tried: which value of a tuned key runs are shown and judged at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd


def merit(accuracies: Sequence[float]) -> float:
    """What a value of a tuned key is chosen by: the mean over seeds minus their deviation (n - 1).

    A value one step from where runs diverge is good with some seeds and bad with others; it is not
    chosen for the good ones. One seed has no deviation. A run without an accuracy: minus infinity.

    >>> merit([0.9]), merit([0.9, float("nan")]), round(merit([0.8, 1.0]), 3)
    (0.9, -inf, 0.759)
    """
    known = pd.Series(accuracies, dtype=float)
    if known.empty or known.isna().any():
        return float("-inf")
    return float(known.mean() - (known.std() if len(known) > 1 else 0.0))


def tuned(group: pd.DataFrame) -> float:
    """The learning rate with the best merit of the runs of one cell; NaN where all failed.

    On the validation samples where all runs that finished held some out: then nothing is chosen by
    what it is judged by. A rate at which a seed failed, or with fewer seeds than another, is out.
    """
    return float(best_of(group, ["lr"]).get("lr", float("nan")))


def chosen_by(group: pd.DataFrame) -> str:
    """The column whose merit counts among the runs of one cell."""
    finished = group[group["test_accuracy"].notna()]
    if finished.empty or "validation_accuracy" not in group:
        return "test_accuracy"
    held_out = finished["validation_accuracy"].notna().all()
    return "validation_accuracy" if held_out else "test_accuracy"


def best_of(group: pd.DataFrame, keys: list[str]) -> dict[str, Any]:
    """The values of tuned keys with the best merit, as `tuned` chooses; {} where all failed.

    Not to have a setting is a value of it, too: NaN.
    """
    tried = group.groupby(keys, dropna=False)
    merits = tried[chosen_by(group)].apply(merit)
    merits = merits[tried.size() == tried.size().max()]
    if not (merits > float("-inf")).any():
        return {}
    best = merits.idxmax()
    return dict(zip(keys, best if len(keys) > 1 else [best], strict=True))
