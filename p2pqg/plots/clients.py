"""The clients one by one: what they have in one run and in another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from p2pqg.base.errors import ConfigError
from p2pqg.base.ranges import as_whole_number
from p2pqg.plots.canvas import (
    COLUMN,
    FAINT,
    Picture,
    colors_of,
    finished,
    in_percent,
    panels,
    styled,
)

MOST_CLIENTS = 60


def _side_by_side(values: np.ndarray) -> np.ndarray:
    """How far above its row each dot lies, [runs, clients]: dots of one place above each other.

    Args:
        values: [clients, runs].
    """
    span = np.nanmax(values) - np.nanmin(values) or 1
    heights = np.zeros(values.shape)
    for row, height in zip(values, heights, strict=True):
        near = np.abs(row[:, None] - row[None]) < 0.01 * span
        count, turn = near.sum(axis=1), np.tril(near).sum(axis=1) - 1
        height[:] = np.where(
            count > 1, (turn - (count - 1) / 2) * 0.5 / np.maximum(count - 1, 1), 0
        )
    return heights.T


@styled
def draw_clients(
    values: pd.DataFrame,
    label: str = "test_accuracy",
    *,
    most: int = MOST_CLIENTS,
    width: float = COLUMN,
    save: str | Path | None = None,
) -> Picture:
    """A line per client with a dot for each run; who differs most between runs comes first.

    Args:
        values: a row per client, a column per run; NaN and infinity: no dot.
        label: what the values are; accuracies are shown in percent.
        most: so many clients are drawn, those that differ most; the title says so.
        width: inches.
        save: .png, .svg or .pdf to write, too.

    Raises:
        ConfigError: no run or no client with a value, or `most` < 1.
    """
    most = as_whole_number(most, "most", 1)
    values = values.where(np.isfinite(values.astype(float))).dropna(how="all")
    if values.empty:
        raise ConfigError("draw_clients needs at least one run with clients, got none")
    apart = values.max(axis=1) - values.min(axis=1)
    shown = values.loc[apart.sort_values(kind="stable", ascending=False).index[:most]][::-1]
    figure, ((ax,),) = panels(width=width, height=0.135 * len(shown) + 0.75)
    rows = np.arange(len(shown))
    ax.hlines(rows, shown.min(axis=1), shown.max(axis=1), color=FAINT, linewidth=1, alpha=0.6)
    heights = _side_by_side(shown.to_numpy(dtype=float))
    for name, color, height in zip(shown, colors_of(list(map(str, shown))), heights, strict=True):
        ax.plot(shown[name], rows + height, "o", color=color, markersize=4, label=name)
    ax.set_yticks(rows, [str(client) for client in shown.index])
    ax.set_ylim(-0.7, len(shown) - 0.3)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    words = label.replace("_", " ")
    if "accuracy" in label or label.startswith("difference"):
        in_percent(ax.xaxis)
        words += " (%)"
    ax.set_xlabel(words)
    if len(shown) < len(values):
        ax.set_title(f"{len(shown)} of {len(values)} clients, those that differ most")
    longest = max(len(str(name)) for name in values)
    fitting = max(1, int(width / (0.35 + 0.055 * longest)))  # inches: of a dot, of a letter
    figure.legend(loc="outside upper center", ncols=min(fitting, values.shape[1]))
    return finished(figure, save)
