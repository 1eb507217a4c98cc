"""Networks: clients colored by what is known of them, links, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke

from p2pqg.base.errors import ConfigError
from p2pqg.plots.canvas import COLUMN, FAINT, VERMILLION, Picture, finished, panels, styled
from p2pqg.topology import Schedule
from p2pqg.topology.drawing import places

MOST_PANELS = 8
CUT = VERMILLION


@styled
def draw_network(
    network: Schedule,
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
        network: a schedule, as of `p2pqg.topology.build`.
        values: [clients], e.g. test accuracies; default: degrees.
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
    n = network.num_clients
    cut, away = [tuple(pair) for pair in cut_links], sorted(set(absent))
    for name, given in (("values", values), ("labels", labels)):
        if given is not None and len(given) != n:
            raise ConfigError(f"{name} must be one for each of {n} clients, got {len(given)}")
    for client in [*away, *(client for pair in cut for client in pair)]:
        if not 0 <= client < n:
            raise ConfigError(f"client {client} is not in {network.name}, which has 0 to {n - 1}")
    low, high = places(network).min(axis=0), places(network).max(axis=0)
    tall = (high[1] - low[1] + 0.7) / 2.5  # of the width; titles included
    figure, ((ax,),) = panels(width=width, height=tall * width)
    colored = _draw(ax, network, round, width, values, labels, cut, away, limits)
    ax.set_title(network.name if network.period == 1 else f"{network.name}, round {round}")
    if values is None:
        ax.set_xlabel(_degrees(network, round))
    else:
        bar = figure.colorbar(colored, ax=ax, shrink=0.6, aspect=18, pad=0.02, label=label)
        bar.outline.set_visible(False)
        if "accuracy" in label:
            bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
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
    shown = [(network, 0, network.name) for network in networks[:MOST_PANELS]]
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
    for ax, (network, round, title) in zip(axes.flat, shown, strict=False):
        _draw(ax, network, round, size)
        ax.set(title=title, xlabel=_degrees(network, round))
    return finished(figure, save)


def _degrees(network: Schedule, round: int) -> str:
    degrees = network.mixing(round).out_degrees()
    low, high = degrees.min(), degrees.max()
    return f"degree {low}" if low == high else f"degree {low} to {high}"


def _draw(
    ax: Axes,
    network: Schedule,
    round: int,
    size: float,
    values: Sequence[float] | np.ndarray | None = None,
    labels: Sequence[str] | None = None,
    cut: Sequence[tuple[int, int]] = (),
    away: Sequence[int] = (),
    limits: tuple[float, float] | None = None,
) -> object:
    """One round of a network on axes that are `size` inches wide; what a color bar needs."""
    spots, n = places(network), network.num_clients
    W = network.mixing(round)
    apart = W.receivers != W.senders
    pairs = np.stack([W.senders[apart], W.receivers[apart]], axis=1)
    links = set(map(tuple, pairs.tolist()))
    broken = {pair for a, b in cut for pair in ((a, b), (b, a))}
    faint = float(np.clip(3 * n / max(len(pairs), 1), 0.15, 0.8))
    dot = size**2 * float(np.clip(300 / n, 0.2, 14))  # area in points
    loose = [pair for pair in links if set(pair) & set(away)]
    mutual = [(a, b) for a, b in links if a < b and (b, a) in links]
    for lines, style in (
        ([p for p in mutual if p not in broken and p not in loose], {"alpha": faint}),
        ([p for p in mutual if p not in broken and p in loose], {"alpha": 0.6 * faint, "ls": ":"}),
        (sorted({tuple(sorted(pair)) for pair in broken}), {"color": CUT, "ls": (0, (3, 2))}),
    ):
        style = {"color": FAINT, "linewidths": 1} | style
        ax.add_collection(LineCollection([spots[list(pair)] for pair in lines], **style))
    for sender, receiver in sorted(links - broken):
        if (receiver, sender) not in links:
            ax.annotate(
                "",
                xy=spots[receiver],
                xytext=spots[sender],
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": FAINT,
                    "alpha": 0.6 * faint if (sender, receiver) in loose else faint,
                    "linewidth": 1,
                    "linestyle": ":" if (sender, receiver) in loose else "-",
                    "shrinkA": dot**0.5 / 2,
                    "shrinkB": dot**0.5 / 2,
                    "connectionstyle": "arc3,rad=0.08",
                },
            )
    degrees = W.out_degrees()
    shade = np.asarray(degrees if values is None else values, dtype=float)
    low, high = limits or (
        (0, max(degrees.max(), 1) * 1.15)
        if values is None
        else (np.nanmin(shade), np.nanmax(shade))
    )
    here = np.setdiff1d(np.arange(n), away)
    cmap = "viridis_r" if values is None else "viridis"  # as on the page: bright is good
    colors = {"c": shade[here], "cmap": cmap, "vmin": low, "vmax": high}
    colored = ax.scatter(*spots[here].T, s=dot, edgecolors="white", zorder=3, **colors)
    hollow = {"facecolors": "white", "edgecolors": FAINT, "linewidths": 1}
    ax.scatter(*spots[list(away)].T, s=dot, zorder=3, **hollow)
    texts = [str(client) for client in range(n)] if labels is None else list(labels)
    if max(map(len, texts)) > 3:  # names: below the clients
        for text, spot in zip(texts, spots, strict=True):
            below = {"xytext": (0, -(dot**0.5) / 2 - 1), "textcoords": "offset points"}
            name = ax.annotate(text, spot, **below, ha="center", va="top", fontsize=5.5, zorder=4)
            name.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
    elif dot >= 60:
        inks = colored.cmap(colored.norm(shade))[:, :3] @ (0.299, 0.587, 0.114) < 0.5
        for client, (x, y) in enumerate(spots):
            ax.text(
                x,
                y,
                texts[client],
                ha="center",
                va="center_baseline",
                color="white" if inks[client] and client not in away else "black",
                fontsize=min(9, dot**0.5 / 2.2),
                zorder=4,
            )
    reach = np.abs(spots).max(axis=0) + 0.12
    ax.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]))
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.xaxis.label.set(size=7, color="#555555")
    ax.spines[:].set_visible(False)
    return colored
