"""Clients from the least of something to the most, a dot each: accuracies, steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from p2pqg.base.wording import counted, percent
from p2pqg.network import Network
from p2pqg.page import charts
from p2pqg.page.charts import Plot, Scale, Tick
from p2pqg.page.networks import called
from p2pqg.results.standing import Standing

MOST_DOTS = 200
"""Dots of a run, at most; every client is one."""


@dataclass(frozen=True)
class Dot:
    run: int
    path: str
    about: str


@dataclass(frozen=True)
class Ranking:
    """The clients at the last evaluation, from the least of something to the most."""

    y_ticks: list[Tick]
    dots: list[Dot]
    grid: str
    about: str
    note: str = ""
    """Of when it is, where that is not the end."""


def by_accuracy(
    shown: Sequence[Standing],
    labels: Sequence[str],
    networks: Sequence[Network | None] | None = None,
) -> Ranking | None:
    """None where nobody was evaluated."""
    return _ranked(
        shown,
        labels,
        networks,
        "test_accuracy",
        "Clients' final accuracies, sorted.",
        lambda value: percent(value, 2),
        factor=100,
    )


def by_steps(
    shown: Sequence[Standing],
    labels: Sequence[str],
    networks: Sequence[Network | None] | None = None,
) -> Ranking | None:
    """None where all clients wait for each other, and make equally many."""
    about = "Steps of every client, sorted."
    return _ranked(
        shown, labels, networks, "steps", about, lambda value: counted(int(value), "step")
    )


def _ranked(
    shown: Sequence[Standing],
    labels: Sequence[str],
    networks: Sequence[Network | None] | None,
    key: str,
    about: str,
    tell: Callable[[float], str],
    factor: float = 1,
) -> Ranking | None:
    """A dot per client and run, of many clients MOST_DOTS; None where there is no value.

    Args:
        shown: the runs.
        labels: their names.
        networks: theirs, which name the clients.
        key: a column of clients.parquet.
        about: what it is, a sentence.
        tell: a value as a text.
        factor: by which the axis multiplies values.
    """
    frames = [
        one.last_clients.reindex(columns=["client", key]).dropna(subset=key).sort_values(key)
        for one in shown
    ]
    values = np.concatenate([frame[key].to_numpy(dtype=float) for frame in frames])
    if not values.size:
        return None
    y = Scale.over(values, zero=key == "steps", log=False)
    ticks = charts.ticks_of(y, factor)
    dots, told = [], []
    for run, frame in enumerate(frames):
        if frame.empty:
            continue
        clients, found = frame["client"].to_numpy(), frame[key].to_numpy()
        beside = (run + 1) / (len(frames) + 1)  # runs that are alike do not cover each other
        at, heights = (np.arange(len(frame)) + beside) / len(frame), y.shares(found)
        for row in np.unique(np.linspace(0, len(frame) - 1, MOST_DOTS).round().astype(int)):
            who = called(networks[run] if networks else None, int(clients[row]))
            text = f"{labels[run]}, client {who}: {tell(found[row])}"
            dots.append(Dot(run, charts.dots_of(at[[row]], heights[[row]]), text))
        told.append(f"{labels[run]}: {tell(found[0])} to {tell(found[-1])}")
    grid = Plot("", "", y, y, "", [], ticks, []).grid
    ages = [
        one.age_of_clients if len(frame) else "" for one, frame in zip(shown, frames, strict=True)
    ]
    older = [f"{label} {age}" for label, age in zip(labels, ages, strict=True) if age]
    note = ages[0] if len(shown) == 1 else ", ".join(older)
    return Ranking(ticks, dots, grid, f"{about} {'; '.join(told)}.", note)
