"""Accuracy against any setting, such as the batch size or the share of lost messages.

Drawn of the runs of the recipe's own sweep, each method at its tuned learning rate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from p2pqg.base.errors import ConfigError
from p2pqg.base.ranges import broken
from p2pqg.base.wording import group_name
from p2pqg.paper.figures._figure import Recipe, figure, nothing_finished, runs_in
from p2pqg.plots.canvas import COLUMN, Picture, colors_of, in_percent, label_ends, panels, styled
from p2pqg.results.alike import check_one_setting
from p2pqg.results.claims.values import selected
from p2pqg.results.run_frames import one_a_seed
from p2pqg.results.tuned import tuned


@dataclass(frozen=True, kw_only=True)
class Params:
    x: str
    """A setting of the runs, dotted where it is within another."""
    by: str = "algorithm"
    """The setting that names the lines."""
    log: bool = False
    """Whether the x axis is logarithmic."""
    where: dict[str, Any] = field(default_factory=dict)
    """Settings of the runs that are drawn; default: all."""

    def problems(self) -> Iterator[str]:
        if self.x == self.by:
            yield broken(f"x and by must be two settings, got {self.x} twice", "x", "by")


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """A line per method, error bars of a standard deviation."""
    picture, ((ax,),) = panels(width=COLUMN * 1.4, height=2.4)
    methods = list(frame["method"].unique())
    ends = []
    log = bool(frame["log"].iloc[0])
    for color, (method, line) in zip(
        colors_of(methods), frame.groupby("method", sort=False), strict=True
    ):
        ax.errorbar(
            line["value"],
            line["mean"],
            line["std"].fillna(0),
            color=color,
            marker="o",
            markersize=3.5,
            capsize=2,
            elinewidth=0.8,
        )
        ends.append((line["mean"].iloc[-1], method, color))
    values = sorted(frame["value"].unique())
    ax.set_xscale("log" if log else "linear")
    ax.set_xticks(values, [f"{value:g}" for value in values], minor=False)
    ax.minorticks_off()
    ax.set(xlabel=str(frame["x"].iloc[0]).rpartition(".")[2].replace("_", " "))
    ax.set_ylabel("test accuracy (%)")
    in_percent(ax.yaxis)
    label_ends(ax, ends)
    return picture


@figure("accuracy-against", params=Params, draw=draw, trains=True)
def accuracy_against(p: Params, recipe: Recipe) -> pd.DataFrame:
    """Accuracy by method and another setting, of the runs in the folder that have it.

    Returns:
        Columns method, x (its name), value, log, lr, mean, std, seeds.

    Raises:
        ConfigError: no run has finished, none has such a setting, or not as a number, or they
            differ in more.
    """
    runs = selected(p.where, runs_in(recipe, p.x, p.by, *p.where), "figure.where")
    rows = []
    for (by, value), cell in runs.dropna(subset=[p.x]).groupby([p.by, p.x], dropna=False):
        method = group_name(by)
        if not isinstance(value, int | float | np.number):
            raise ConfigError(f"figure.x must be a setting of numbers, {p.x} is {value!r:.60}")
        check_one_setting(cell, "figure", method, "name it under figure.where", ["lr"])
        lr = tuned(cell)
        best = one_a_seed(cell[cell["lr"] == lr], "figure", method, "name it under figure.where")
        found = best["test_accuracy"]
        rows.append((method, p.x, float(value), p.log, lr, found.mean(), found.std(), len(found)))
    columns = ["method", "x", "value", "log", "lr", "mean", "std", "seeds"]
    frame = pd.DataFrame(rows, columns=columns).dropna(subset=["mean"])
    if frame.empty:
        raise nothing_finished(recipe)
    return frame.sort_values(["method", "value"])
