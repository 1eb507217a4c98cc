"""What all drawings share: a style that reads in print, panels, labels at lines, and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from p2pqg.base.drawings import drawing_path
from p2pqg.base.errors import ConfigError
from p2pqg.base.text import draft_of
from p2pqg.base.wording import shortened

COLUMN, PAGE = 3.25, 6.75
"""Inches: a column and the full width of a page of two columns, as of ICML."""
BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, GRAY = COLORS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#555555",
)
"""Okabe and Ito's, which the color-blind can tell apart."""
FAINT = "#8a949e"
MOST_DOTS = 2000
"""Dots beyond which some may coincide."""
MOST_MARKS, LONGEST_MARK = 3, 40
"""More texts, or longer ones, would not fit above a figure."""
METHODS = {"qg-": BLUE, "dsgdm": VERMILLION, "dsgd": GRAY}
"""How a method's name begins -> its color."""
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 160,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType: printers and conferences refuse Type 3
    "svg.hashsalt": "p2pqg",  # the same drawing is the same file
}
styled = rc_context(STYLE)
"""Decorator of a function that draws."""


def colors_of(names: Sequence[str]) -> list[str]:
    """A color for each name; methods that can be told apart by it have theirs in every drawing.

    Blue: quasi-global momentum; vermillion: local momentum; gray: none.

    >>> colors_of(["dsgd", "qg-dsgdm-n"]) == [GRAY, BLUE]
    True
    """
    own = [
        next((color for start, color in METHODS.items() if name.startswith(start)), "")
        for name in names
    ]
    if len(set(own)) == len(own) and "" not in own:
        return own
    return [COLORS[index % len(COLORS)] for index in range(len(own))]


def in_percent(axis: Axis, unit: str = "") -> None:
    """Show the shares on an axis in percent."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:g}{unit}")


class Picture(Figure):
    """A figure that shows itself in a notebook."""

    def _repr_png_(self) -> bytes:
        buffer = BytesIO()
        with rc_context(STYLE):
            self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


def panels(
    columns: int = 1, rows: int = 1, *, width: float = COLUMN, height: float = 2.1, **kwargs: Any
) -> tuple[Picture, np.ndarray]:
    """A figure with axes [rows, columns]; width and height of all of it in inches."""
    figure = Picture(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def write(figure: Figure, path: str | Path) -> None:
    """Write a figure to a .png, .svg or .pdf.

    Raises:
        ConfigError: another suffix, or it cannot be written.
    """
    path = drawing_path(path)
    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    try:
        with rc_context(STYLE), draft_of(path, hidden=True) as draft:
            kind = path.suffix.lower()
            figure.savefig(draft, format=kind[1:], metadata=undated.get(kind))
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def finished(figure: Picture, save: str | Path | None) -> Picture:
    """The figure, written where `save` says, if it says so."""
    if save is not None:
        write(figure, save)
    return figure


def label_ends(ax: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name lines at their right ends instead of in a legend, without overlaps.

    Args:
        ax: with its final limits and scale.
        ends: (y at the line's end, text, color) of every line.
    """
    to_share = ax.transScale + ax.transLimits
    heights = [float(to_share.transform((ax.get_xlim()[1], y))[1]) for y, _, _ in ends]
    size = STYLE["ytick.labelsize"]
    gap = size * 1.2 / 72 / inches_high(ax)
    for (_, text, color), y in zip(ends, apart(heights, gap), strict=True):
        ax.annotate(
            text,
            (1, y),
            (4, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=color,
            fontsize=size,
            va="center_baseline",
        )


def write_free(
    ax: Axes,
    words: Sequence[tuple[float, float, str, str]],
    places: Sequence[Sequence[tuple[float, float]]],
    size: float,
    obstacles: Sequence[np.ndarray] = (),
) -> bool:
    """Write words beside points, each where it hides the least: no other words, no obstacle.

    Args:
        ax: with its final limits and scale.
        words: (x, y, text, color) of each.
        places: of each, offsets in points, the preferred one first; a text begins right of an
            offset to the right, ends left of one to the left, and is centered on one of 0.
        size: of the letters, in points.
        obstacles: [points, 2] each, in pixels; only as far as words hide them.

    Returns:
        Whether no words hide any others, and all are within the axes.
    """
    figure = ax.figure
    assert isinstance(figure, Figure)  # ours have no figures within figures
    figure.draw_without_rendering()  # the layout is known from now on
    points, (first, last) = figure.dpi / 72, ax.bbox.get_points()
    known = np.concatenate([*obstacles, np.empty((0, 2))])
    taken, free = list[np.ndarray](), True
    for (x, y, text, color), around in zip(words, places, strict=True):
        spot = ax.transData.transform((x, y))
        options = list[tuple[int, int, int, np.ndarray]]()
        for dx, dy in around:
            wide, high = 0.62 * size * len(text) * points, size * points
            left = spot[0] + dx * points - wide * (1 - np.sign(dx)) / 2
            below = spot[1] + dy * points - high * (1 - np.sign(dy)) / 2
            box = np.array([[left, below], [left + wide, below + high]])
            others = sum(bool((box[0] < b[1]).all() and (b[0] < box[1]).all()) for b in taken)
            others += bool((box[0] < first).any() or (box[1] > last).any())
            hidden = ((known > box[0]) & (known < box[1])).all(axis=1).sum()
            options.append((others, int(hidden), len(options), box))
        others, _, best, box = min(options, key=lambda option: option[:3])
        taken.append(box)
        free = free and not others
        dx, dy = around[best]
        note = ax.annotate(
            text,
            (x, y),
            (dx, dy),
            textcoords="offset points",
            color=color,
            fontsize=size,
            ha=("right", "center", "left")[int(np.sign(dx)) + 1],
            va=("top", "center", "bottom")[int(np.sign(dy)) + 1],
            zorder=4,
        )
        note.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
    return free


def along(ax: Axes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Points in pixels, [points, 2], close to each other along a line through data."""
    known = np.isfinite(y)
    path = ax.transData.transform(np.stack([np.asarray(x)[known], np.asarray(y)[known]], axis=1))
    if len(path) < 2:
        return path
    steps = np.hypot(*np.diff(path, axis=0).T)
    length = np.concatenate([[0], np.cumsum(steps)])
    at = np.linspace(0, length[-1], int(min(length[-1] / 2, 5000)) + 2)
    return np.stack([np.interp(at, length, path[:, 0]), np.interp(at, length, path[:, 1])], axis=1)


def aside(x: np.ndarray, y: np.ndarray, inches: tuple[float, float], size: float) -> np.ndarray:
    """Steps, of a dot's width each, that put dots beside each other which would coincide.

    Args:
        x: [dots]; of a logarithmic axis, the logarithms.
        y: the same.
        inches: width and height of the axes.
        size: of a dot, in points.

    Returns:
        int [dots]: 0 for the first one at a place, then 1, -1, 2, ...

    >>> aside(np.array([0.0, 0.0, 0.0, 9.0]), np.array([1.0, 1.0, 1.0, 2.0]), (3, 2), 4).tolist()
    [0, 1, -1, 0]
    """
    spots = np.stack([x, y], axis=1).astype(float)
    span = np.ptp(spots, axis=0)
    spots = spots / np.where(span > 0, span, 1) * inches * 72 / size  # in widths of a dot
    steps = np.zeros(len(spots), dtype=int)
    for k in range(1, min(len(spots), MOST_DOTS)):
        for step in (sign * far for far in range(k + 1) for sign in (1, -1)):
            gaps = np.hypot(*(spots[:k] - spots[k] - [step, 0]).T)
            if (gaps >= 0.75).all():
                break
        steps[k] = step
        spots[k, 0] += step
    return steps


def inches(ax: Axes) -> tuple[float, float]:
    """About the width and height of axes, without their labels."""
    figure, grid = ax.figure, ax.get_gridspec()
    assert isinstance(figure, Figure)  # ours have no figures within figures
    wide, high = figure.get_size_inches()
    return 0.8 * wide / (grid.ncols if grid else 1), 0.8 * high / (grid.nrows if grid else 1)


def inches_high(ax: Axes) -> float:
    """About the height of axes, without their labels."""
    return inches(ax)[1]


def mark(ax: Axes, marks: Mapping[float, str]) -> None:
    """Dotted lines where something happened, and what, above the axes if there is room for it."""
    for x in marks:
        ax.axvline(x, color=FAINT, linewidth=0.8, linestyle=":", zorder=0)
    if len(marks) <= MOST_MARKS:
        for x, text in marks.items():
            spot: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
            words = shortened(text, LONGEST_MARK)
            ax.annotate(
                words, (x, 1), xycoords=("data", "axes fraction"), fontsize=6, color=FAINT, **spot
            )


def apart(wanted: Sequence[float], gap: float) -> np.ndarray:
    """The places nearest to the wanted ones (least squares) that are at least `gap` apart.

    >>> apart([0.5, 0.0, 0.5], 0.2).round(2).tolist()
    [0.4, 0.0, 0.6]
    """
    order = np.argsort(wanted, kind="stable")
    shift = gap * np.arange(len(order))
    blocks: list[tuple[float, int]] = []  # (mean, size) of what has to move as one
    for place in np.asarray(wanted, dtype=float)[order] - shift:
        mean, size = float(place), 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (mean * size + before * count) / (size + count), size + count
        blocks.append((mean, size))
    found = np.empty(len(order))
    found[order] = np.repeat([m for m, _ in blocks], [s for _, s in blocks]) + shift
    return found
