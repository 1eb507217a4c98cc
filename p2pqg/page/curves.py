"""Rows of runs -> plots: curves against rounds, bytes and seconds, and the clients' spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from p2pqg.base.wording import percent, shortened
from p2pqg.page import charts
from p2pqg.page.charts import End, Mark, Plot, Scale, Tick
from p2pqg.page.seeds import Seeds
from p2pqg.results.columns import column, measured, say
from p2pqg.results.standing import Standing

TALL, LOW = 360, 240
"""Pixels: of the chart that matters most, and of the others."""
LINE = 20
"""Pixels of a text at a curve's end."""
MOST_LETTERS = 28
"""Letters of a run's name at its curve, at most."""
WORTH_A_ZOOM = 0.6
"""Share of the y axis: where runs differ in less of it, there is a closer look at that."""


@dataclass(frozen=True)
class Measure:
    """What a chart shows: a column, its name, and a value of it as a person reads it."""

    key: str
    title: str
    note: str
    height: int


ACCURACY = Measure("test_accuracy", "Test accuracy", "%, mean over the clients' own models", TALL)
LOSS = Measure("train_loss", "Training loss", "mean over clients", LOW)
CONSENSUS = Measure("consensus_distance", "Consensus distance", "mean ‖xᵢ − x̄‖²", LOW)
STALENESS = Measure("staleness_mean", "How old the news was", "steps, mean of what was used", LOW)


def measures_of(shown: Sequence[Standing]) -> list[Measure]:
    """What there are charts of: what every run has, and after the accuracy a user's metrics."""
    own = dict.fromkeys(key for one in shown for key in measured(one.rounds))
    of_clients = [key for key in own if not key.startswith("averaged_")]
    more = [
        Measure(key, column(key).title.capitalize(), "mean over clients", LOW) for key in of_clients
    ]
    alone = any(not measured_rows(one, STALENESS.key).empty for one in shown)
    return [ACCURACY, *more, LOSS, CONSENSUS, *([STALENESS] if alone else [])]


AXES = {
    "round": "rounds",
    "bytes_sent": "bytes",
    "wall_seconds": "seconds",
    "sim_seconds": "simulated seconds",
}
"""Column -> what the switch calls it."""


@dataclass(frozen=True)
class Chart:
    measure: Measure
    plots: list[Plot]

    @property
    def log(self) -> bool:
        return self.plots[0].y.log

    @property
    def height(self) -> int:
        """In pixels: room for a line of text at every curve's end."""
        return max(self.measure.height, LINE * max(len(plot.ends) for plot in self.plots))

    @property
    def letters(self) -> int:
        """Letters of the longest text at a curve's end, its value apart."""
        names = [len(end.name) for plot in self.plots for end in plot.ends]
        return min(max(names, default=0), MOST_LETTERS)


def axes_of(shown: Sequence[Standing]) -> list[str]:
    """What there is to plot against: rounds, and what was recorded of the other AXES."""
    costs = [key for key in AXES if key != "round"]
    return ["round", *(key for key in costs if any(o.rounds[key].notna().any() for o in shown))]


def chart(shown: Sequence[Standing], labels: Sequence[str], measure: Measure) -> Chart | None:
    """One measure of all runs against everything; None where it was never measured."""
    frames = [measured_rows(one, measure.key) for one in shown]
    if all(frame.empty for frame in frames):
        return None
    alone = len(shown) == 1 and measure is ACCURACY and not shown[0].spread.empty
    values = [frame[measure.key].to_numpy() for frame in frames]
    if alone:
        values += [shown[0].spread[key].to_numpy() for key in ("min", "max")]
        values.append(shown[0].rounds["averaged_model_accuracy"].dropna().to_numpy())
    values += [
        one.range_of(measure.key)[end].to_numpy()
        for one in shown
        if isinstance(one, Seeds) and measure.key in one.rounds
        for end in ("min", "max")
    ]
    every = np.concatenate(values)
    y = Scale.over(every, log=False) if measure is ACCURACY else Scale.over(every, zero=True)
    closer = where_they_differ(shown, frames, measure.key, y) if measure is ACCURACY else None
    views = [(y, False), (closer, True)] if closer else [(y, None)]
    plots = [
        _plot(shown, labels, measure, frames, axis, scale, zoomed)
        for axis in axes_of(shown)
        for scale, zoomed in views
    ]
    return Chart(measure, plots)


def along(axis: str, rows: pd.DataFrame) -> np.ndarray:
    """Where rows lie on an axis: after so many rounds, bytes or seconds."""
    values = rows[axis].to_numpy(dtype=float)
    return values + 1 if axis == "round" else values  # which counts from 0


def measured_rows(one: Standing, key: str) -> pd.DataFrame:
    """The rows that have a value of it; none in a run that does not measure it."""
    # Of some dozens of columns these alone: each is copied whenever rows are chosen.
    known = one.rounds.reindex(columns=[*dict.fromkeys([*AXES, key])])
    return known.dropna(subset=key).sort_values("round")


def where_they_differ(
    shown: Sequence[Standing], frames: Sequence[pd.DataFrame], key: str, whole: Scale
) -> Scale | None:
    """The y scale of the second half of the runs; None if that is no closer look.

    Runs that ended in less than half of the best one's value, as after a divergence, are left out.
    """
    if len(shown) < 2:
        return None
    ends = [frame[key].iloc[-1] if len(frame) else np.nan for frame in frames]
    best, length = np.nanmax(ends), max(one.recorded for one in shown)
    late = [
        frame.loc[frame["round"] >= length / 2, key].to_numpy()
        for frame, end in zip(frames, ends, strict=True)
        if end >= best / 2
    ]
    values = np.concatenate(late)
    if not values.size:
        return None
    closer = Scale.over(values, log=False)
    is_closer = closer.high - closer.low < WORTH_A_ZOOM * (whole.high - whole.low)
    return closer if is_closer else None


def _plot(
    shown: Sequence[Standing],
    labels: Sequence[str],
    measure: Measure,
    frames: Sequence[pd.DataFrame],
    axis: str,
    y: Scale,
    zoomed: bool | None,
) -> Plot:
    """One measure of all runs against one axis."""
    alone = len(shown) == 1 and measure is ACCURACY and not shown[0].spread.empty
    x, title, ticks = _horizontal(axis, [along(axis, frame) for frame in frames])
    marks = _event_marks(shown, axis, x)
    marks += _spread_marks(shown[0], 0, axis, x, y) if alone else []
    ends: list[tuple[int, float, str]] = []
    told = []
    for run, frame in enumerate(frames):
        here = frame.dropna(subset=axis)
        if y.log:
            here = here[here[measure.key] > 0]
        at, height = x.shares(along(axis, here)), y.shares(here[measure.key])
        kept = charts.thinned(height)
        marks += _seed_marks(shown[run], run, here.iloc[kept], measure.key, axis, x, y)
        marks += charts.curve(run, at[kept], height[kept])
        if len(here):
            last = here[measure.key].iloc[-1]
            ends.append((run, float(100 * height[-1]), say(measure.key, last)))
            told.append(f"{labels[run]} ends at {say(measure.key, last)}")
    beyond = ["↓" if height < -0.5 else "↑" if height > 100.5 else "" for _, height, _ in ends]
    there = [min(max(height, 0.0), 100.0) for _, height, _ in ends]
    tall = max(measure.height, LINE * len(ends))
    apart = charts.spread_out(there, 100 * LINE / tall)
    return Plot(
        axis=axis,
        measure=measure.key,
        x=x,
        y=y,
        x_title=title,
        x_ticks=ticks,
        y_ticks=charts.ticks_of(y, 100 if measure is ACCURACY else 1),
        marks=marks,
        about=f"{measure.title} against {AXES[axis]}: {'; '.join(told)}.",
        ends=[
            End(run, round(place, 2), round(height, 2), text + arrow, _name_at_end(labels, run))
            for (run, _, text), height, place, arrow in zip(ends, there, apart, beyond, strict=True)
        ],
        zoomed=zoomed,
    )


def _seed_marks(
    one: Standing, run: int, here: pd.DataFrame, key: str, axis: str, x: Scale, y: Scale
) -> list[Mark]:
    """From the lowest to the highest seed, where a curve is a mean over seeds."""
    if not isinstance(one, Seeds) or here.empty:
        return []
    span = one.range_of(key).loc[here["round"]]
    low, high = y.shares(span["min"]), y.shares(span["max"])
    return [Mark(run, "band", charts.band_of(x.shares(along(axis, here)), low, high))]


def _name_at_end(labels: Sequence[str], run: int) -> str:
    """What a run is called at the end of its curve; one alone needs no name."""
    name = labels[run] if len(labels) > 1 else ""
    return shortened(name, MOST_LETTERS)


def _horizontal(
    axis: str, values: Sequence[np.ndarray], parts: float = 5
) -> tuple[Scale, str, list[Tick]]:
    """The scale of an x axis from 0 on, its title with the unit, its ticks (about parts + 1)."""
    known = np.concatenate([np.zeros(1), *values])
    most = float(known[np.isfinite(known)].max())
    factor, title = 1.0, "rounds"
    if axis == "bytes_sent":
        power = min(5, int(np.log10(max(most, 1))) // 3)
        factor, title = 1000.0**-power, f"{' kMGTP'[power].strip()}B sent by all clients"
    elif axis != "round":
        units = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
        divisor, unit = next(pair for pair in units if most > 2 * pair[0] or pair[0] == 1)
        factor = 1 / divisor
        title = f"simulated {unit}" if axis == "sim_seconds" else f"{unit} since the start"
    most = most or 1.0
    step = charts.step_of(most * factor, parts) / factor
    scale = Scale(0.0, most, step=max(step, 1.0) if axis == "round" else step)
    return scale, title, charts.ticks_of(scale, factor)


def _event_marks(shown: Sequence[Standing], axis: str, x: Scale) -> list[Mark]:
    """A vertical line where something was done to a run."""
    marks = []
    for run, one in enumerate(shown):
        if not one.events or (known := measured_rows(one, axis)).empty:
            continue
        done_then = np.append(0, along("round", known))
        for done in dict(one.events):
            at = np.interp(done, done_then, np.append(0, along(axis, known)))
            spot = round(charts.SIZE * float(x.shares(at)))
            marks.append(Mark(run, "event", f"M{spot} 0V{charts.SIZE}"))
    return marks


def _spread_marks(one: Standing, run: int, axis: str, x: Scale, y: Scale) -> list[Mark]:
    """The clients from worst to best, and the model that is the mean of all."""
    at = one.rounds[[*dict.fromkeys(["round", axis])]].drop_duplicates("round", keep="last")
    spread = one.spread.join(at.set_index("round"), how="inner").reset_index()
    spread = spread.dropna(subset=axis)
    marks = []
    if len(spread):
        kept = charts.thinned(spread["mean"].to_numpy())
        spread = spread.iloc[kept]
        low, high = y.shares(spread["min"]), y.shares(spread["max"])
        marks.append(Mark(run, "band", charts.band_of(x.shares(along(axis, spread)), low, high)))
    averaged = measured_rows(one, "averaged_model_accuracy").dropna(subset=axis)
    heights = y.shares(averaged["averaged_model_accuracy"])
    kept = charts.thinned(heights)
    there = x.shares(along(axis, averaged))
    return marks + charts.curve(run, there[kept], heights[kept], "dashed")


def spreads(shown: Sequence[Standing], labels: Sequence[str]) -> list[tuple[int, str, Plot]]:
    """(run, label, plot): the clients' range by round, a box per run, accuracies on one scale."""
    evaluated = [one for one in shown if not one.spread.empty]
    if not evaluated:
        return []
    heights = np.concatenate(
        [one.spread[["min", "max"]].to_numpy().ravel() for one in evaluated]
        + [one.rounds["averaged_model_accuracy"].dropna().to_numpy() for one in evaluated]
    )
    y = Scale.over(heights, log=False)
    found = []
    for run, one in enumerate(shown):
        if one.spread.empty:
            continue
        mean = one.spread["mean"].to_numpy()
        done = one.spread.index.to_numpy() + 1
        x, title, ticks = _horizontal("round", [done], parts=3)
        kept = charts.thinned(mean)
        at = x.shares(done[kept])
        marks = _spread_marks(one, run, "round", x, y) + charts.curve(run, at, y.shares(mean[kept]))
        low, _, high = (percent(value, 2) for value in one.spread.iloc[-1])
        about = f"{labels[run]}: at the end the clients' accuracies go from {low} to {high}."
        y_ticks = charts.ticks_of(y, 100)
        plot = Plot("round", "spread", x, y, title, ticks, y_ticks, marks, about)
        found.append((run, labels[run], plot))
    return found
