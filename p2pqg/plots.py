"""Tables -> figures, as PNG or SVG. The only file that knows matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from p2pqg.drawing import places
from p2pqg.errors import ConfigError
from p2pqg.topology import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
MOST_PANELS = 8
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#444444")
"""Okabe and Ito's, which the color-blind can tell apart."""


@contextmanager
def _figure(path: str | Path, columns: int, rows: int, size: float) -> Iterator[tuple[Figure, Any]]:
    """A figure with axes [rows, columns], written to the path at the end."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"a drawing must end in {', '.join(FORMATS)}, got {path.name!r}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size * columns, size * rows), layout="constrained")
    FigureCanvasAgg(figure)
    yield figure, figure.subplots(rows, columns, squeeze=False)
    try:
        figure.savefig(path, dpi=160)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def draw_networks(networks: Sequence[Schedule], path: str | Path) -> None:
    """Draw networks: clients colored by degree, arrows where a link goes one way only.

    A network that changes is drawn round by round, in up to eight panels; of several networks, a
    panel for each (its round 0).

    Args:
        networks: one or more.
        path: .png, .svg or .pdf.

    Raises:
        ConfigError: the path has another suffix, or cannot be written.
    """
    panels = [(network, 0, network.name) for network in networks[:MOST_PANELS]]
    if len(networks) == 1 and networks[0].period != 1:
        (only,) = networks
        shown = min(only.period or 4, MOST_PANELS)
        panels = [(only, t, f"{only.name}, round {t}") for t in range(shown)]
    columns = min(len(panels), 4)
    rows = ceil(len(panels) / columns)
    alone = len(panels) == 1
    size = 5.5 if alone else 3.2
    with _figure(path, columns, rows, size) as (_, axes):
        for ax in axes.flat[len(panels) :]:
            ax.remove()
        for ax, (network, round, title) in zip(axes.flat, panels, strict=False):
            _draw(ax, network, round, size)
            ax.set_title(title, fontsize=12 if alone else 9)


def _draw(ax: Axes, network: Schedule, round: int, size: float) -> None:
    """One round of a network on axes that are `size` inches wide."""
    from matplotlib.collections import LineCollection

    spots, n = places(network), network.num_clients
    W = network.mixing(round)
    apart = W.receivers != W.senders
    pairs = np.stack([W.senders[apart], W.receivers[apart]], axis=1)
    both = set(map(tuple, pairs.tolist()))
    mutual = np.array([(b, a) in both for a, b in pairs.tolist()], dtype=bool)
    lines = spots[pairs[mutual & (pairs[:, 0] < pairs[:, 1])]]
    faint = float(np.clip(3 * n / max(len(pairs), 1), 0.15, 0.8))
    ax.add_collection(LineCollection(list(lines), colors="#7f8c99", linewidths=1, alpha=faint))
    dot = size**2 * float(np.clip(300 / n, 0.2, 14))  # area in points
    for sender, receiver in pairs[~mutual]:
        ax.annotate(
            "",
            xy=spots[receiver],
            xytext=spots[sender],
            arrowprops={
                "arrowstyle": "-|>",
                "color": "#7f8c99",
                "alpha": faint,
                "linewidth": 1,
                "shrinkA": dot**0.5 / 2,
                "shrinkB": dot**0.5 / 2,
                "connectionstyle": "arc3,rad=0.08",
            },
        )
    degrees = W.out_degrees()
    ax.scatter(
        *spots.T,
        s=dot,
        c=degrees,
        cmap="viridis_r",
        vmin=0,
        vmax=max(degrees.max(), 1) * 1.15,
        edgecolors="white",
        zorder=3,
    )
    if dot >= 60:
        dark = degrees > 0.5 * degrees.max()
        for client, (x, y) in enumerate(spots):
            color = "white" if dark[client] else "black"
            style = {"ha": "center", "va": "center_baseline", "color": color, "zorder": 4}
            ax.text(x, y, str(client), fontsize=min(9, dot**0.5 / 2.2), **style)
    ax.set(xlim=(-1.12, 1.12), ylim=(-1.12, 1.12), aspect="equal")
    low, high = degrees.min(), degrees.max()
    spread = f"{low}" if low == high else f"{low} to {high}"
    ax.set_xlabel(f"degree {spread}", fontsize=8, color="#555555")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_consensus(
    paths: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str, path: str | Path
) -> None:
    """The paper's Figure 3: consensus distance by round, of gossip and its quasi-global form.

    Args:
        paths: network -> (distances of gossip, of the quasi-global form), each [rounds + 1].
        label: of the quasi-global form.
        path: .png, .svg or .pdf.

    Raises:
        ConfigError: the path has another suffix, or cannot be written.
    """
    with _figure(path, 1, 1, 5.5) as (figure, axes):
        ax = axes[0, 0]
        figure.set_size_inches(7.2, 4.6)
        for index, (name, both) in enumerate(paths.items()):
            color = COLORS[index % len(COLORS)]
            for distance, style, what in zip(both, ("--", "-"), ("gossip", label), strict=True):
                share = distance / distance[0] if distance[0] else distance
                share = np.where(share > 1e-16, share, np.nan)  # rounding, not consensus
                ax.semilogy(share, style, color=color, linewidth=1.6, label=f"{name}, {what}")
        ax.axhline(1e-2, color="#999999", linewidth=0.8, zorder=0)
        ax.set(xlabel="round", ylabel="consensus distance / its start", ylim=(1e-12, 2))
        ax.margins(x=0)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=8)
