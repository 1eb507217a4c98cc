"""Accuracy against epochs: where a longer run turns an order around, the crossing shows.

Drawn of the runs of the recipe's own sweep, each method at its tuned learning rate. It takes their
directories: exported runs do not say how they came to their end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from p2pqg.base.errors import ConfigError
from p2pqg.base.wording import group_name
from p2pqg.paper.figures._figure import Recipe, figure, nothing_finished, runs_in
from p2pqg.plots.canvas import COLUMN, Picture, colors_of, in_percent, label_ends, panels, styled
from p2pqg.results.alike import check_one_setting
from p2pqg.results.run import Run
from p2pqg.results.run_frames import one_a_seed
from p2pqg.results.tuned import tuned

PANELS = {
    "test_accuracy": "the clients' own models",
    "averaged_model_accuracy": "the mean of their models",
}
"""Column of rounds.parquet -> whose accuracy that is."""


@dataclass(frozen=True, kw_only=True)
class Params:
    by: str = "algorithm"
    """The setting that names the lines."""

    def problems(self) -> Iterator[str]:
        if self.by in ("lr", "seed"):
            yield f"by must be a setting that is not averaged or tuned over, got {self.by}"


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """A panel for whose accuracy, a line per method, bands of a standard deviation over seeds."""
    picture, axes = panels(len(PANELS), width=2 * COLUMN, height=2.3, sharey=True)
    methods = list(frame["method"].unique())
    colors = dict(zip(methods, colors_of(methods), strict=True))
    for ax, (what, title) in zip(axes.flat, PANELS.items(), strict=True):
        ends = []
        for method, line in frame[frame["of"] == what].groupby("method", sort=False):
            spread = line["std"].fillna(0)
            ax.plot(line["epoch"], line["mean"], "o-", markersize=2.5, color=colors[method])
            ax.fill_between(
                line["epoch"],
                line["mean"] - spread,
                line["mean"] + spread,
                color=colors[method],
                alpha=0.2,
                lw=0,
            )
            ends.append((line["mean"].iloc[-1], method, colors[method]))
        ax.set(title=title, xlabel="epoch")
        in_percent(ax.yaxis)
    label_ends(axes.flat[-1], ends)
    axes[0, 0].set_ylabel("test accuracy (%)")
    return picture


@figure("accuracy-by-epoch", params=Params, draw=draw, trains=True)
def accuracy_by_epoch(p: Params, recipe: Recipe) -> pd.DataFrame:
    """Accuracy by method and epoch, of the runs in the folder, at evaluations that all seeds had.

    Returns:
        Columns method, lr, of (a key of PANELS), epoch, mean, std, seeds.

    Raises:
        ConfigError: no run has finished, none has such a setting, they differ in more, or the seeds
            of a method have no evaluation in common.
    """
    rows = []
    for by, cell in runs_in(recipe, p.by).groupby(p.by, sort=False, dropna=False):
        method = group_name(by)
        check_one_setting(cell, "figure", method, "keep one of its values", ["lr"])
        lr = tuned(cell)
        at_best = one_a_seed(cell[cell["lr"] == lr], "figure", method, "keep one of its values")
        paths = at_best["path"]
        rounds = pd.concat([Run(Path(path)).rounds for path in paths]) if len(paths) else None
        if rounds is None:  # all of them diverged
            continue
        for of in PANELS:
            found = rounds.dropna(subset=[of]).groupby("epoch")[of].agg(["mean", "std", "count"])
            found = found[found["count"] == len(paths)]  # a mean over those that go on would jump
            rows += [(method, lr, of, *row) for row in found.itertuples()]
        if not any(row[0] == method for row in rows):
            raise ConfigError(f"figure: no accuracy that all seeds with {method} have in one epoch")
    if not rows:
        raise nothing_finished(recipe)
    columns = ["method", "lr", "of", "epoch", "mean", "std", "seeds"]
    return pd.DataFrame(rows, columns=columns)
