"""Results of a run as a person reads them: what they are called, how written, what is better."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from p2pqg.base.wording import duration, human_bytes, number, percent

share = partial(percent, digits=2)


class Column(NamedTuple):
    """One result.

    Attributes:
        title: what it is called where there is little room.
        say: the value as a text.
        best: of several runs' values; None: none is better than another.
    """

    title: str
    say: Callable[[float | None], str]
    best: Callable[[Iterable[float]], float] | None = None


COLUMNS = {
    "rounds": Column("rounds", lambda count: f"{count:,.0f}"),
    "test_accuracy": Column("accuracy", share, max),
    "best_accuracy": Column("best", share, max),
    "test_accuracy_min": Column("worst client", share, max),
    "test_accuracy_std": Column("± clients", share),
    "averaged_model_accuracy": Column("averaged model", share, max),
    "train_loss": Column("training loss", number),
    "consensus_distance": Column("consensus", number),
    "bytes_sent": Column("sent", human_bytes, min),
    "sim_seconds": Column("simulated time", duration, min),
    "wall_seconds": Column("time", duration),
}
"""Consensus is no merit of its own, and wall time is the machine's as much as the run's."""


def say(key: str, value: float | None) -> str:
    """A result as a text."""
    return COLUMNS[key].say(value)
