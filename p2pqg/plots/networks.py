"""Networks: clients colored by what is known of them, links, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.lines import Line2D

from p2pqg.base.errors import ConfigError
from p2pqg.plots.canvas import (
    COLUMN,
    FAINT,
    VERMILLION,
    Picture,
    finished,
    in_percent,
    panels,
    styled,
    write_free,
)
from p2pqg.topology import Schedule
from p2pqg.topology.drawing import places

MOST_PANELS, MOST_DEGREES = 8, 5
CUT = VERMILLION
LONGEST_INSIDE = 3
"""Letters that fit into a client; longer names stand below it."""
SMALLEST_WITH_TEXT = 60
"""Points squared: a smaller client has no text."""
BRIGHTNESS = (0.299, 0.587, 0.114)
"""How bright red, green and blue are to the eye."""


@styled
def draw_network(
    schedule: Schedule,
    values: Sequence[float] | np.ndarray | None = None,
    *,
    label: str = "",
    labels: Sequence[str] | None = None,
    cut_links: Iterable[tuple[int, int]] = (),
    absent: Iterable[int] = (),
    round: int = 0,
    limits: tuple[float, float] | None = None,
    width: float = COLUMN,
    save: str | Path | None = None,
) -> Picture:
    """One network, its clients colored by a number each, with links that are cut and clients away.

    Args:
        schedule: the network, as of `p2pqg.topology.build`.
        values: [clients], e.g. test accuracies; default: degrees. Who has none (NaN) is gray.
        label: what the values are, for the color bar.
        labels: [clients], texts in the clients, or names below them; default: their numbers.
        cut_links: pairs of clients; drawn dashed and red, whether the network has them or not.
        absent: clients drawn hollow, their links faint.
        round: of a network that changes.
        limits: (lowest, highest) value of the color scale; default: those of the values.
        width: inches.
        save: .png, .svg or .pdf to write, too.

    Raises:
        ConfigError: values or labels of another number of clients, or a client that is not there.
    """
    n = schedule.num_clients
    cut, away = [(a, b) for a, b in cut_links], sorted(set(absent))
    for name, given in (("values", values), ("labels", labels)):
        if given is not None and len(given) != n:
            raise ConfigError(f"{name} must be one for each of {n} clients, got {len(given)}")
    for client in [*away, *(client for pair in cut for client in pair)]:
        if not 0 <= client < n:
            raise ConfigError(f"client {client} is not in {schedule.name}, which has 0 to {n - 1}")
    low, high = places(schedule).min(axis=0), places(schedule).max(axis=0)
    tall = (high[1] - low[1] + 0.7) / 2.5  # of the width; titles included
    figure, ((ax,),) = panels(width=width, height=tall * width)
    sketch = _Sketch(ax, schedule, round, width, cut, away)
    sketch.draw_links()
    colored = sketch.draw_clients(values, labels, limits)
    ax.set_title(schedule.name if schedule.period == 1 else f"{schedule.name}, round {round}")
    if values is None:
        sketch.explain(colored)
        return finished(figure, save)
    known = np.isfinite(np.asarray(values, dtype=float))
    if not known[sketch.here].all():
        ax.set_xlabel("gray: not measured" if known.any() else f"{label}: not measured".strip(": "))
    if known.any():
        bar = figure.colorbar(colored, ax=ax, shrink=0.6, aspect=18, pad=0.02, label=label)
        bar.ax.spines["outline"].set_visible(False)
        if "accuracy" in label:
            in_percent(bar.ax.yaxis, " %")
    return finished(figure, save)


@styled
def draw_networks(networks: Sequence[Schedule], save: str | Path | None = None) -> Picture:
    """Networks side by side: clients colored by degree, arrows where a link goes one way only.

    A network that changes is drawn round by round, in up to eight panels; of several networks, a
    panel for each (its round 0).

    Args:
        networks: one or more.
        save: .png, .svg or .pdf to write.

    Raises:
        ConfigError: no network; the path has another suffix, or cannot be written.
    """
    if not networks:
        raise ConfigError("draw_networks needs at least one network, got none")
    shown = [(schedule, 0, schedule.name) for schedule in networks[:MOST_PANELS]]
    if len(networks) == 1 and networks[0].period != 1:
        (only,) = networks
        rounds = min(only.period or 4, MOST_PANELS)
        shown = [(only, t, f"{only.name}, round {t}") for t in range(rounds)]
    columns = min(len(shown), 4)
    rows = ceil(len(shown) / columns)
    size = 4.5 if len(shown) == 1 else 2.5
    figure, axes = panels(columns, rows, width=size * columns, height=size * rows)
    for ax in axes.flat[len(shown) :]:
        ax.remove()
    for ax, (schedule, round, title) in zip(axes.flat, shown, strict=False):
        sketch = _Sketch(ax, schedule, round, size)
        sketch.draw_links()
        ax.set_title(title)
        sketch.explain(sketch.draw_clients(names=schedule.labels))
    return finished(figure, save)


class _Sketch:
    """One round of a network on axes that are `size` inches wide.

    Attributes:
        spots: [clients, 2].
        degrees: [clients], links that lead away from each.
        links: (sender, receiver) of each link; broken: those that are cut, both ways.
        away: clients that are not there; here: all others.
        faint: opacity of a link, the less the more there are.
        dot: area of a client, in points.
    """

    def __init__(
        self,
        ax: Axes,
        schedule: Schedule,
        round: int,
        size: float,
        cut: Sequence[tuple[int, int]] = (),
        away: Sequence[int] = (),
    ) -> None:
        W, n = schedule.mixing(round), schedule.num_clients
        apart = W.receivers != W.senders
        self.links = set(zip(W.senders[apart].tolist(), W.receivers[apart].tolist(), strict=True))
        self.broken = {pair for a, b in cut for pair in ((a, b), (b, a))}
        self.away = list(away)
        self.here = np.setdiff1d(np.arange(n), self.away)
        self.degrees = W.out_degrees()
        self.faint = float(np.clip(3 * n / max(len(self.links), 1), 0.15, 0.8))
        self.dot = size**2 * float(np.clip(300 / n, 0.2, 14))
        self.spots, self.ax = places(schedule), ax
        reach = np.abs(self.spots).max(axis=0) + 0.12
        ax.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]))
        ax.set(aspect="equal", xticks=[], yticks=[])
        ax.xaxis.label.set(size=7, color="#555555")
        ax.spines[:].set_visible(False)

    def draw_links(self) -> None:
        """Lines for links both ways, arrows for links one way, and what is cut."""
        whole = self.links - self.broken
        mutual = [(a, b) for a, b in self.links if a < b and (b, a) in whole]
        loose = [pair for pair in mutual if self._leads_away(pair)]
        self._draw_lines([pair for pair in mutual if pair not in loose], alpha=self.faint)
        self._draw_lines(loose, alpha=0.6 * self.faint, linestyle=":")
        once = sorted({(min(pair), max(pair)) for pair in self.broken})
        self._draw_lines(once, color=CUT, linestyle=(0, (3, 2)))
        for sender, receiver in sorted(whole):
            if (receiver, sender) not in self.links:
                self._draw_arrow(sender, receiver)

    def _leads_away(self, pair: tuple[int, int]) -> bool:
        """Whether one end of a link is a client that is not there."""
        return not set(pair).isdisjoint(self.away)

    def _draw_lines(self, pairs: Sequence[tuple[int, int]], **own: Any) -> None:
        style: dict[str, Any] = {"color": FAINT, "linewidths": 1} | own
        self.ax.add_collection(LineCollection([self.spots[list(pair)] for pair in pairs], **style))

    def _draw_arrow(self, sender: int, receiver: int) -> None:
        loose = self._leads_away((sender, receiver))
        arrow = {
            "arrowstyle": "-|>",
            "color": FAINT,
            "alpha": 0.6 * self.faint if loose else self.faint,
            "linewidth": 1,
            "linestyle": ":" if loose else "-",
            "shrinkA": self.dot**0.5 / 2,
            "shrinkB": self.dot**0.5 / 2,
            "connectionstyle": "arc3,rad=0.08",
        }
        self.ax.annotate("", self.spots[receiver], self.spots[sender], arrowprops=arrow)

    def explain(self, colored: PathCollection) -> None:
        """Say below the axes what degrees the colors are; of many, some."""
        degrees = np.unique(self.degrees)
        if len(degrees) == 1:
            self.ax.set_xlabel(f"degree {degrees[0]}")
            return
        if len(degrees) > MOST_DEGREES:
            even = np.linspace(degrees[0], degrees[-1], MOST_DEGREES)
            degrees = np.unique(degrees[np.abs(degrees[:, None] - even).argmin(axis=0)])
        dots = []
        for degree in degrees.tolist():
            red, green, blue, _ = map(float, colored.to_rgba(degree))
            dots.append(Line2D([], [], marker="o", linestyle="", color=(red, green, blue)))
            dots[-1].set_label(str(degree))
        self.ax.legend(
            handles=[Line2D([], [], linestyle="", label="degree"), *dots],
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=len(dots) + 1,
            handletextpad=0.0,
            columnspacing=0.6,
            markerscale=0.8,
        )

    def draw_clients(
        self,
        values: Sequence[float] | np.ndarray | None = None,
        labels: Sequence[str] | None = None,
        limits: tuple[float, float] | None = None,
        names: Sequence[str] = (),
    ) -> PathCollection:
        """Disks in the colors of the values, with texts; what a color bar needs.

        Args:
            values: [clients]; None: degrees.
            labels: [clients], texts that must be there; None: numbers.
            limits: of the color scale.
            names: [clients], shown instead of numbers if there is room for all.
        """
        shade = np.asarray(self.degrees if values is None else values, dtype=float)
        if values is None:
            cmap, usual = "viridis_r", (0, max(self.degrees.max(), 1) * 1.15)
        else:  # as on the page: bright is good
            known = shade[np.isfinite(shade)]
            cmap, usual = "viridis", (known.min(), known.max()) if known.size else (0, 1)
        low, high = limits or usual
        here = self.here
        x, y = self.spots.T
        colored = self.ax.scatter(
            x[here],
            y[here],
            s=self.dot,
            edgecolors="white",
            zorder=3,
            c=shade[here],
            cmap=colormaps[cmap].with_extremes(bad=FAINT),
            plotnonfinite=True,
            vmin=low,
            vmax=high,
        )
        hollow: dict[str, Any] = {"facecolors": "white", "edgecolors": FAINT, "linewidths": 1}
        self.ax.scatter(x[self.away], y[self.away], s=self.dot, zorder=3, **hollow)
        texts = [str(client) for client in range(len(shade))] if labels is None else list(labels)
        if names and max(map(len, names)) <= LONGEST_INSIDE:
            texts = list(names)
        elif names and self._write_beside(names, only_if_free=True):
            return colored
        if max(map(len, texts)) > LONGEST_INSIDE:
            self._write_beside(texts)
        elif self.dot >= SMALLEST_WITH_TEXT:
            dark = np.asarray(colored.to_rgba(shade))[:, :3] @ BRIGHTNESS < 0.5
            dark[self.away] = False
            self._write_inside(texts, np.where(dark, "white", "black"))
        return colored

    def _write_beside(self, names: Sequence[str], only_if_free: bool = False) -> bool:
        """Names below the clients, or above or beside them where there is more room.

        Returns:
            Whether they are written: there was room for all, or they must be.
        """
        away, before = self.dot**0.5 / 2 + 1, list(self.ax.texts)
        around = [(0, -away), (0, away), (away, -away / 2), (-away, -away / 2)]
        around += [(away, away / 2), (-away, away / 2)]
        words = [(x, y, name, "black") for (x, y), name in zip(self.spots, names, strict=True)]
        free = write_free(self.ax, words, [around] * len(words), 5.5, [self._covered()])
        if only_if_free and not free:
            for text in set(self.ax.texts) - set(before):
                text.remove()
        return free or not only_if_free

    def _covered(self) -> np.ndarray:
        """Points in pixels, [points, 2], all over the disks."""
        middles = self.ax.transData.transform(self.spots)
        pixels = self.dot**0.5 / 2 * self.ax.figure.dpi / 72
        angle = 2 * np.pi * np.arange(12) / 12
        rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        disk = np.concatenate([0.5 * rim, 0.9 * rim]) * pixels
        return (middles[:, None] + disk).reshape(-1, 2)

    def _write_inside(self, texts: Sequence[str], inks: np.ndarray) -> None:
        look: dict[str, Any] = {"ha": "center", "va": "center_baseline", "zorder": 4}
        look["fontsize"] = min(9, self.dot**0.5 / 2.2)
        for text, (x, y), ink in zip(texts, self.spots, inks.tolist(), strict=True):
            self.ax.text(x, y, text, color=ink, **look)
