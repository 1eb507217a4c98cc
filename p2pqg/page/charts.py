"""Numbers -> the geometry of a chart: ticks in percent of its box, curves as SVG paths.

The box is SIZE x SIZE units whatever its width on the screen: the page stretches it, and keeps
lines and letters as they are. So a chart fits a phone without a script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

SIZE = 4000
MOST_POINTS = 500
"""Points of a curve. A longer one keeps the lowest and the highest point of every stretch."""
FEW_POINTS = 12
"""Up to so many points are marked: between them nothing was measured."""
MANY_POINTS = 200
"""Beyond, a curve that goes up and down needs a finer line."""
MOST_RUNS = 21
"""Runs that are drawn: seven colors in three kinds of line; more could not be told apart."""
STEPS = (1, 2, 2.5, 5, 10)
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """Values -> shares of the box, 0 to 1."""

    low: float
    high: float
    log: bool = False
    step: float = 0.0
    """Between ticks; 0: to be chosen."""

    @classmethod
    def over(cls, values: np.ndarray, *, zero: bool = False, log: bool | None = None) -> Scale:
        """A scale that holds all values, with round ends.

        Args:
            values: finite ones.
            zero: start at 0 (not on a logarithmic scale).
            log: None: where the values are positive and span more than two orders of magnitude.
        """
        positive = values[values > 0]
        if log is None:
            log = positive.size > 1 and positive.max() > 100 * positive.min()
        if log:
            low, high = np.log10(positive.min()), np.log10(positive.max())
            margin = 0.04 * (high - low)
            return cls(10 ** (low - margin), 10 ** (high + margin), log=True)
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        low = min(low, 0.0) if zero else low
        if high - low < 1e-12 * max(abs(high), 1e-3):
            high = low + (abs(low) * 0.1 or 1)
        step = step_of(high - low)
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        return cls(low, high, step=step)

    def shares(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=float)
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            return (np.log10(np.maximum(values, self.low)) - low) / (high - low)
        return (values - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Up to about six round numbers."""
        if not self.log:
            step = self.step or step_of(self.high - self.low)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            return [k * step for k in range(first, last + 1)]
        low, high = math.log10(self.low), math.log10(self.high)
        first, last = math.ceil(low), math.floor(high)
        if last - first >= 2:
            return [10.0**k for k in range(first, last + 1, math.ceil((last - first) / 5))]
        near = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
        return [value for value in near if self.low <= value <= self.high]


def step_of(span: float, parts: float = 4.5) -> float:
    """A round distance that divides the span into about so many parts."""
    power = 10.0 ** math.floor(math.log10(span / parts))
    return power * min(STEPS, key=lambda step: abs(math.log(span / (step * power) / parts)))


def tick_texts(values: Sequence[float], *, log: bool = False) -> list[str]:
    """Numbers beside an axis, all in one way: 0.25, 12,000 or powers of ten."""
    biggest = max(map(abs, values), default=0)
    smallest = min((abs(v) for v in values if v), default=1)
    if log and (biggest >= 1e5 or smallest < 1e-3):
        return [_power_text(value) for value in values]
    if biggest >= 1e6 or smallest < 1e-4:
        return [f"{value:.3g}" for value in values]
    return [f"{round(value, 10):,.10g}" if value < 1e4 else f"{value:,.0f}" for value in values]


def _power_text(value: float) -> str:
    power = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**power)
    text = f"10{str(power).translate(SUPERSCRIPTS)}"
    return text if factor == 1 else f"{factor}·{text}"


@dataclass(frozen=True)
class Tick:
    at: float
    """Percent from the left or from the bottom."""
    text: str


@dataclass(frozen=True)
class Mark:
    """A line, band or row of dots of one run."""

    run: int
    kind: str
    path: str


@dataclass(frozen=True)
class End:
    """What stands at the end of a curve.

    Attributes:
        run: whose.
        at: percent from the bottom, where there is room for it.
        height: likewise, where the curve ends; a line leads from here to there.
        text: the value.
        name: of the run, where there are several.
    """

    run: int
    at: float
    height: float
    text: str
    name: str = ""

    @property
    def lead(self) -> str:
        """The line, in a box of 100 x SIZE."""
        low, high = (round(SIZE * (1 - share / 100)) for share in (self.height, self.at))
        return f"M0 {low}L100 {high}"


@dataclass(frozen=True)
class Plot:
    """One box with axes.

    Attributes:
        axis: what it runs against, a column of rounds.parquet.
        measure: what it shows, likewise.
        x, y: the scales, for whoever points at it.
        x_title: what stands below it.
        about: the same in words, for those who do not see it.
        ends: the last value of each run, beside its curve.
        zoomed: None: there is one view only; False: all of it; True: where the runs differ.
    """

    axis: str
    measure: str
    x: Scale
    y: Scale
    x_title: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    about: str = ""
    ends: list[End] = field(default_factory=list)
    zoomed: bool | None = None

    @property
    def grid(self) -> str:
        heights = (round(SIZE * (1 - tick.at / 100)) for tick in self.y_ticks)
        return "".join(f"M0 {height}H{SIZE}" for height in heights)


def ticks_of(scale: Scale, factor: float = 1) -> list[Tick]:
    """Ticks where `factor` x value is round, written as that."""
    inner = Scale(scale.low * factor, scale.high * factor, scale.log, scale.step * factor)
    values = inner.ticks()
    at = 100 * inner.shares(np.array(values))
    texts = tick_texts(values, log=scale.log)
    return [Tick(round(a, 3), t) for a, t in zip(at.tolist(), texts, strict=True)]


def thinned(y: np.ndarray) -> np.ndarray:
    """Indices of at most MOST_POINTS of a curve, extremes and both ends among them."""
    if len(y) <= MOST_POINTS:
        return np.arange(len(y))
    kept = {0, len(y) - 1}
    for part in np.array_split(np.arange(len(y)), MOST_POINTS // 2 - 1):
        kept |= {int(part[y[part].argmin()]), int(part[y[part].argmax()])}
    return np.array(sorted(kept))


def path_of(x: np.ndarray, y: np.ndarray) -> str:
    """A curve through shares of the box."""
    spots = np.round(SIZE * np.stack([x, 1 - y], axis=1)).astype(int)
    steps = np.diff(spots, axis=0).tolist()
    start = f"M{spots[0, 0]} {spots[0, 1]}"
    return start + ("l" + " ".join(f"{a} {b}" for a, b in steps) if steps else "h0")


def dots_of(x: np.ndarray, y: np.ndarray) -> str:
    """Lines of no length, which round caps make dots: round however the box is stretched."""
    spots = np.round(SIZE * np.stack([x, 1 - y], axis=1)).astype(int).tolist()
    return "".join(f"M{a} {b}h0" for a, b in spots)


def band_of(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """The area between two curves; a bar where there is one point."""
    if len(x) == 1:
        x, low, high = (np.repeat(values, 2) for values in (x, low, high))
        x = x + [-0.004, 0.004]
    return path_of(np.append(x, x[::-1]), np.append(low, high[::-1])) + "z"


def curve(run: int, x: np.ndarray, y: np.ndarray, kind: str = "line") -> list[Mark]:
    """A curve, and its points where they are few."""
    if not len(x):
        return []
    dense = " dense" if len(x) > MANY_POINTS else ""
    marks = [Mark(run, kind + dense, path_of(x, y))]
    if len(x) <= FEW_POINTS and kind == "line":
        marks.append(Mark(run, "dots", dots_of(x, y)))
    return marks


def spread_out(at: Sequence[float], gap: float) -> list[float]:
    """Positions as near as may be to those wanted, `gap` apart, within 0 to 100."""
    order = sorted(range(len(at)), key=lambda index: at[index])
    placed = [0.0] * len(at)
    floor = -math.inf
    for index in order:
        placed[index] = max(at[index], floor)
        floor = placed[index] + gap
    ceiling = 100.0
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed
