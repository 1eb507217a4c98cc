"""What was measured, round by round: curves, the spread over clients, average consensus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.wording import human_bytes
from p2pqg.plots.canvas import (
    BLUE,
    COLORS,
    COLUMN,
    FAINT,
    GRAY,
    PAGE,
    Picture,
    along,
    colors_of,
    finished,
    in_percent,
    label_ends,
    mark,
    panels,
    styled,
    write_free,
)
from p2pqg.topology.convergence import rounds_to

WORDS = {
    "bytes_sent": "sent by all clients",
    "consensus_distance": "consensus distance",
    "distance_to_mean": "distance to the mean model",
    "round": "rounds",
    "sim_seconds": "simulated seconds",
    "wall_seconds": "seconds",
}
"""Column -> what its axis is called, where that is not its name with spaces."""
LOGARITHMIC = ("consensus_distance",)
LINES = ("-", "--", ":", "-.")
MOST_LABELS = 8
"""Lines beyond which a legend is easier to read than labels at their ends."""


@styled
def draw_curves(
    histories: Mapping[str, Any],
    y: str = "test_accuracy",
    x: str = "round",
    *,
    marks: Mapping[float, str] | None = None,
    width: float = COLUMN,
    save: str | Path | None = None,
) -> Picture:
    """One line per run: how a column of rounds.parquet went.

    Args:
        histories: name -> a run, a simulation, or the frame of its rounds; or a list of them, one
            per seed: then the line is their mean, as far as all of them have come, and a band goes
            from the lowest to the highest.
        y: a column, e.g. test_accuracy, train_loss, consensus_distance (on a log scale).
        x: a column: round (drawn as the rounds that were done by then), epoch, bytes_sent,
            sim_seconds, wall_seconds.
        marks: x -> what happened there; a vertical line with a text.
        width: inches.
        save: .png, .svg or .pdf to write, too.

    Raises:
        ConfigError: no history, or one without the column or with no value in it.
    """
    if not histories:
        raise ConfigError("draw_curves needs at least one history, got none")
    figure, ((ax,),) = panels(width=width, height=0.65 * width)
    ends = []
    lines = cycle(line for line in LINES for _ in COLORS)
    for (name, given), color, line in zip(
        histories.items(), colors_of(list(histories)), lines, strict=False
    ):
        frame = _over_seeds(name, given, "rounds", x, y)
        ax.plot(frame["x"], frame["mean"], line, color=color, label=name)
        if (frame["max"] > frame["min"]).any():
            ax.fill_between(frame["x"], frame["min"], frame["max"], color=color, alpha=0.2, lw=0)
        ends.append((frame["mean"].iloc[-1], name, color))
    if y in LOGARITHMIC:
        ax.set_yscale("log")
    ax.margins(x=0)
    mark(ax, marks or {})
    name_axes(ax, x, y)
    if 1 < len(ends) <= MOST_LABELS:
        label_ends(ax, ends)
    elif len(ends) > 1:
        ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return finished(figure, save)


def _over_seeds(name: str, given: Any, table: str, x: str, y: str) -> pd.DataFrame:
    """Columns x, mean, min, max of y by round, over the runs given, as far as all have come."""
    runs = given if isinstance(given, Sequence) else [given]
    frames = [_table(name, run, table, {x, y, "round"}).dropna(subset=[y]) for run in runs]
    lacking = sum(frame.empty for frame in frames)
    if lacking == len(frames):
        raise ConfigError(f"{name}: {y} was not measured")
    if lacking:  # a mean of those that did well
        of = f"{lacking} of its {len(frames)} runs"
        raise ConfigError(f"{name}: {y} was not measured in {of}; draw them one by one")
    rounds = pd.concat(frames).groupby("round")
    # The row of round 0 is of its end: one round was done.
    at = rounds[x].mean() + (x == "round")
    found = rounds[y].agg(["mean", "min", "max"]).assign(x=at)
    found = found[rounds.size() == len(frames)]  # a mean over those that go on would jump
    if found.empty:
        raise ConfigError(
            f"{name}: {y} must be measured in one round of all its runs, and was in none; draw "
            "them one by one"
        )
    return found


def _table(name: str, run: Any, table: str, columns: Iterable[str]) -> pd.DataFrame:
    """The columns of a frame, or of that table of a run or a live simulation."""
    frame = run
    if not isinstance(run, pd.DataFrame):
        frame = getattr(run, table) if hasattr(run, table) else run.history
    for column in sorted(columns):
        if column not in frame:
            raise ConfigError(f"{name}: no column {column!r}{did_you_mean(column, frame.columns)}")
    return frame[sorted(columns)]


def name_axes(ax: Axes, x: str, y: str) -> None:
    """Label axes by columns, in the units that suit them."""
    for axis, column in ((ax.xaxis, x), (ax.yaxis, y)):
        words = WORDS.get(column, column.replace("_", " "))
        if "accuracy" in column:
            in_percent(axis)
            words += " (%)"
        elif column == "bytes_sent":
            unit = human_bytes(axis.get_view_interval()[1]).split()[1]
            scale = 1000 ** " kMGTP".index(unit[:-1] or " ")
            axis.set_major_formatter(partial(_in_units_of, scale))
            words += f" ({unit})"
        axis.set_label_text(words)


def _in_units_of(scale: float, value: float, _: object) -> str:
    return f"{value / scale:g}"


@styled
def draw_spread(
    clients: Mapping[str, Any],
    y: str = "test_accuracy",
    *,
    width: float | None = None,
    save: str | Path | None = None,
) -> Picture:
    """How unlike the clients are over time: their mean, the middle half of them, all of them.

    Args:
        clients: name -> a run, a simulation, or the frame of its clients; a panel for each.
        y: test_accuracy, test_loss or distance_to_mean.
        width: inches, of all panels; default: a column or a page, as many panels as there are.
        save: .png, .svg or .pdf to write, too.

    Raises:
        ConfigError: no run, or one without the column or with no value in it.
    """
    if not clients:
        raise ConfigError("draw_spread needs at least one run, got none")
    columns = min(len(clients), 4)
    rows = ceil(len(clients) / columns)
    width = width or (COLUMN if columns == 1 else PAGE)
    height = 0.3 * max(width, 2 * COLUMN) * rows
    figure, axes = panels(columns, rows, width=width, height=height, sharex=True, sharey=True)
    for ax in axes.flat[len(clients) :]:
        ax.remove()
    for ax, (name, run) in zip(axes.flat, clients.items(), strict=False):
        frame = _table(name, run, "clients", {"round", "client", y}).dropna(subset=[y])
        if frame.empty:
            raise ConfigError(f"{name}: {y} was not measured")
        values = frame.groupby(frame["round"] + 1)[y]  # rounds done
        share = values.quantile([0, 0.25, 0.75, 1]).unstack()
        for low, high, alpha, what in (
            (0.0, 1.0, 0.18, "all clients"),
            (0.25, 0.75, 0.4, "the middle half"),
        ):
            ax.fill_between(
                share.index, share[low], share[high], color=BLUE, alpha=alpha, lw=0, label=what
            )
        ax.plot(values.mean(), color=BLUE, label="mean")
        ax.set_title(name)
        ax.margins(x=0)
        name_axes(ax, "round", y)
        ax.label_outer()
    axes.flat[0].legend(loc="best")
    return finished(figure, save)


@styled
def draw_consensus(
    paths: Mapping[str, tuple[np.ndarray, np.ndarray]],
    label: str,
    save: str | Path | None = None,
    *,
    critical: float = 1e-2,
) -> Picture:
    """The paper's Figure 3: consensus distance by round, of gossip and its quasi-global form.

    Args:
        paths: network -> (distances of gossip, of the quasi-global form), each [rounds + 1].
        label: of the quasi-global form.
        save: .png, .svg or .pdf to write.
        critical: share of the distance at the start; the round in which it is first reached is
            marked and said.

    Raises:
        ConfigError: no network; the path has another suffix, or cannot be written.
    """
    if not paths:
        raise ConfigError("draw_consensus needs at least one network, got none")
    columns = min(len(paths), 3)
    rows = ceil(len(paths) / columns)
    size = (COLUMN, 2.3) if len(paths) == 1 else (PAGE, 1.75 * rows)
    figure, axes = panels(columns, rows, width=size[0], height=size[1], sharey=True)
    for ax in axes.flat[len(paths) :]:
        ax.remove()
    shares = {name: [_share(path) for path in both] for name, both in paths.items()}
    lowest = min(
        share[share > ROUNDING].min(initial=1) for both in shares.values() for share in both
    )
    bottom = max(float(lowest) / 2, 1e-12)
    for ax, (name, both) in zip(axes.flat, shares.items(), strict=False):
        ax.axhline(critical, color=FAINT, linewidth=0.6, zorder=0)
        for share, (line, color, what) in zip(both, _styles(label), strict=True):
            ax.plot(share, line, color=color, label=what)
        ax.set(title=name, xlabel="round", yscale="log", ylim=(bottom, 3))
        ax.set_xlim(0, max(len(both[0]) - 1, 1))
    for ax in axes[:, 0]:
        ax.set_ylabel("consensus distance\n/ its start")
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    for ax, two in zip(axes.flat, paths.values(), strict=False):
        _mark_critical(ax, [rounds_to(path, critical) for path in two], label, critical)
    return finished(figure, save)


ROUNDING = 1e-16
"""A share of the consensus distance below which there is rounding, and no consensus."""


def _share(distances: np.ndarray) -> np.ndarray:
    """Shares of the distance at the start; it ends where only rounding is left, below all axes."""
    share = distances / distances[0] if distances[0] else np.ones_like(distances)
    gone = np.flatnonzero(share <= ROUNDING)
    if len(gone):
        share[gone[0]], share[gone[0] + 1 :] = ROUNDING * 1e-3, np.nan
    return share


def _styles(label: str) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    """Line, color and name of gossip, and of its quasi-global form."""
    return ("--", GRAY, "gossip"), ("-", BLUE, label)


def _mark_critical(ax: Axes, rounds: Sequence[int | None], label: str, critical: float) -> None:
    """A dot where each line of axes first reaches the critical distance, and in which round."""
    figure = ax.figure
    assert isinstance(figure, Figure)  # ours have no figures within figures
    figure.draw_without_rendering()
    low, dots, hidden = ax.get_ylim()[0], list[tuple[float, float, str]](), list[np.ndarray]()
    lines = ax.get_lines()[1:]  # the first one is the critical distance
    for line, there, (_, color, _) in zip(lines, rounds, _styles(label), strict=True):
        data = np.asarray(line.get_xydata(), dtype=float)
        hidden.append(along(ax, data[:, 0], np.maximum(data[:, 1], low)))
        if there:
            height = data[there, 1]  # of those that fall out of the axes at once: where they pass
            dots.append((there, float(height if height > low else critical), color))
    beside = len({dot[:2] for dot in dots}) < len(dots)  # both lines get there at once
    for step, (x, y, color) in enumerate(dots):
        shift = ScaledTranslation(step * beside * MARK / 72, 0, figure.dpi_scale_trans)
        ax.plot(x, y, "o", color=color, markersize=MARK, transform=ax.transData + shift)
        hidden.append(np.repeat(ax.transData.transform([(x, y)]), 20, axis=0))
    words = [(x, y, f"{x:g}", color) for x, y, color in dots]
    places = [AROUND if color == GRAY else [(-dx, -dy) for dx, dy in AROUND] for *_, color in dots]
    write_free(ax, words, places, 7, hidden)


MARK = 3.5
AROUND = [(4, 3), (4, -3), (-4, 3), (-4, -3), (0, 6), (0, -6), (10, 8), (10, -8), (-10, -8)]
"""Places of a number near its mark, in points."""
