"""Results of a run as a person reads them: what they are called, how written, what is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from p2pqg.base.wording import duration, human_bytes, missing, number, percent
from p2pqg.recipe.stopping import is_better_small
from p2pqg.results.schemas import ALL_ROUND_COLUMNS

share = partial(percent, digits=2)


class Column(NamedTuple):
    """One result.

    Attributes:
        title: what it is called where there is little room.
        say: the value as a text.
        best: of several runs' values; None: none is better than another.
        range: least and largest value that there can be.
    """

    title: str
    say: Callable[[float | None], str]
    best: Callable[[Iterable[float]], float] | None = None
    range: tuple[float, float] = (-math.inf, math.inf)


POSITIVE, A_SHARE = (0.0, math.inf), (0.0, 1.0)

COLUMNS = {
    "rounds": Column(
        "rounds", lambda count: "-" if missing(count) else f"{count:,.0f}", range=POSITIVE
    ),
    "test_accuracy": Column("accuracy", share, max, A_SHARE),
    "best_accuracy": Column("best", share, max, A_SHARE),
    "test_accuracy_min": Column("worst client", share, max, A_SHARE),
    "test_accuracy_std": Column("± clients", share, range=POSITIVE),
    "averaged_model_accuracy": Column("averaged model", share, max, A_SHARE),
    "honest_test_accuracy": Column("of the honest", share, max, A_SHARE),
    "train_loss": Column("training loss", number),
    "consensus_distance": Column("consensus", number, range=POSITIVE),
    "bytes_sent": Column("sent", human_bytes, min, POSITIVE),
    "sim_seconds": Column("simulated time", duration, min, POSITIVE),
    "wall_seconds": Column("time", duration, range=POSITIVE),
}
"""Consensus is no merit of its own, and wall time is the machine's as much as the run's."""


def column(key: str) -> Column:
    """One of COLUMNS, or of a metric that only some runs have.

    >>> column("averaged_f1").title, column("f1").say(0.25), column("mse").best([1.0, 2.0])
    ('averaged f1', '0.25', 1.0)
    >>> column("seconds_idle").best([1.0, 2.0])  # as patience sees it, see `recipe.stopping`
    1.0
    """
    if key in COLUMNS:
        return COLUMNS[key]
    best = min if is_better_small(key) else max
    title, is_share = key.replace("_", " "), key.endswith("accuracy")
    return Column(title, share, best, A_SHARE) if is_share else Column(title, number, best)


def measured(rounds: Iterable[str]) -> list[str]:
    """The columns of rounds.parquet that a user's metrics, or a validation set, add to it."""
    return [key for key in rounds if key not in ALL_ROUND_COLUMNS]


def say(key: str, value: float | None) -> str:
    """A result as a text."""
    return column(key).say(value)
