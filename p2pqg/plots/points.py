"""Numbers against numbers: a dot for each, or a line through them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.wording import group_name
from p2pqg.plots.canvas import (
    COLUMN,
    Picture,
    apart,
    aside,
    colors_of,
    finished,
    inches,
    inches_high,
    label_ends,
    panels,
    styled,
)
from p2pqg.plots.curves import name_axes

DOT = 4
"""Width of a dot, in points."""


@styled
def draw_points(
    frame: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    *,
    text: str | None = None,
    lines: bool = False,
    log: Literal["", "x", "y", "xy"] = "",
    width: float = COLUMN,
    save: str | Path | None = None,
) -> Picture:
    """Columns of any table against each other, a color for each group of rows.

    Args:
        frame: a row per dot.
        x: a column; accuracies are shown in percent.
        y: likewise.
        by: the column that names the groups.
        text: a column of words for some dots, "" for the others.
        lines: join the dots of a group by x; where it has several (seeds), the line goes through
            their mean, and a band from the lowest to the highest.
        log: which axes are logarithmic.
        width: inches.
        save: .png, .svg or .pdf to write, too.

    Raises:
        ConfigError: a column that is not there, or no row with both numbers.
    """
    for column in filter(None, (x, y, by, text)):
        if column not in frame:
            raise ConfigError(f"no column {column!r}{did_you_mean(column, frame.columns)}")
    frame = frame.dropna(subset=[x, y]).reset_index(drop=True)
    if frame.empty:
        raise ConfigError(f"draw_points needs rows with {x} and {y}, got none")
    groups = dict(list(frame.groupby(frame[by].map(group_name), sort=False)))
    figure, ((ax,),) = panels(width=width, height=0.65 * width)
    ax.set(xscale="log" if "x" in log else "linear", yscale="log" if "y" in log else "linear")
    steps = pd.Series(aside(*_scaled(frame, x, y, log), inches(ax), DOT), index=frame.index)
    ends: list[tuple[float, str, str]] = []
    spots: list[tuple[float, float, str, str]] = []
    for (name, group), color in zip(groups.items(), colors_of(list(groups)), strict=True):
        if lines:
            at = group.groupby(x)[y].agg(["mean", "min", "max"])
            ax.plot(at["mean"], "o-", color=color, markersize=3)
            ax.fill_between(at.index, at["min"], at["max"], color=color, alpha=0.2, lw=0)
            ends.append((at["mean"].iloc[-1], name, color))
        else:
            _plot_dots(ax, group[x], group[y], steps[group.index], color=color, label=name)
        if text:
            rows = group[group[text] != ""]
            spots += zip(rows[x], rows[y], rows[text], [color] * len(rows), strict=True)
    name_axes(ax, x, y)
    _name_dots(ax, spots)
    if ends:
        label_ends(ax, ends)
    elif len(groups) > 1:
        ax.legend(loc="best", handletextpad=0.1)
    return finished(figure, save)


def _scaled(frame: pd.DataFrame, x: str, y: str, log: str) -> tuple[np.ndarray, np.ndarray]:
    """Where dots lie along the axes: of a logarithmic one, logarithms."""
    across, up = (frame[column].to_numpy(dtype=float) for column in (x, y))
    with np.errstate(divide="ignore", invalid="ignore"):
        across, up = (np.log(a) if k in log else a for k, a in (("x", across), ("y", up)))
    return np.nan_to_num(across), np.nan_to_num(up)


def _plot_dots(
    ax: Axes, x: pd.Series, y: pd.Series, steps: pd.Series, color: str, label: object
) -> None:
    """Dots, those aside that would lie on others."""
    figure = ax.figure
    assert isinstance(figure, Figure)  # ours have no figures within figures
    for step in sorted(set(steps), key=abs):
        shift = ScaledTranslation(step * DOT / 72, 0, figure.dpi_scale_trans)
        ax.plot(
            x[steps == step],
            y[steps == step],
            "o",
            color=color,
            markersize=DOT,
            alpha=0.7,
            label=label if step == min(steps, key=abs) else None,
            transform=ax.transData + shift,
        )


def _name_dots(ax: Axes, spots: Sequence[tuple[float, float, str, str]]) -> None:
    """Words to the left of dots (x, y, words, color), without overlaps."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high)  # as it is: else the words would move it
    to_share = ax.transScale + ax.transLimits
    heights = [float(to_share.transform((x, y))[1]) for x, y, _, _ in spots]
    gap = 7 * 1.2 / 72 / inches_high(ax)  # of 7 points
    for (x, _, words, color), height in zip(spots, apart(heights, gap), strict=True):
        ax.annotate(
            words,
            (x, height),
            (-5, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=color,
            fontsize=7,
            ha="right",
            va="center_baseline",
        )
