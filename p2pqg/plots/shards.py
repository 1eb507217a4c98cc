"""Who holds which labels: the dots of the paper's Figure 1, and small bars per client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.ranges import as_whole_number
from p2pqg.data import label_counts
from p2pqg.plots.canvas import BLUE, GRAY, PAGE, Picture, finished, panels, styled

Parts = Sequence[np.ndarray]
"""One array of indices per client, as of `p2pqg.partition`."""


@styled
def draw_label_dots(
    parts: Parts | Mapping[str, Parts],
    labels: np.ndarray,
    *,
    num_classes: int | None = None,
    width: float = PAGE,
    save: str | Path | None = None,
) -> Picture:
    """The paper's Figure 1: clients across, classes up, the area of a dot is a number of samples.

    Args:
        parts: one array of indices into `labels` per client; or title -> parts, a panel for each.
        labels: [samples], 0 .. num_classes - 1.
        num_classes: default: as many as the labels have.
        width: inches, of all panels.
        save: .png, .svg or .pdf to write, too.

    Raises:
        ConfigError: no partition, or one without a sample.
    """
    split = parts if isinstance(parts, Mapping) else {"": parts}
    labels = np.asarray(labels)
    counts = {title: _counts(part, labels, num_classes) for title, part in split.items()}
    return finished(dots(counts, width), save)


def _counts(parts: Parts, labels: np.ndarray, num_classes: int | None) -> np.ndarray:
    """[clients, classes]; ConfigError where nobody has a sample."""
    if not any(len(part) for part in parts):
        raise ConfigError("clients that are drawn by their labels must have samples, got none")
    return label_counts(parts, labels, num_classes or int(labels.max()) + 1)


def dots(counts: Mapping[str, np.ndarray], width: float = PAGE) -> Picture:
    """Label dots of label counts: title -> [clients, classes]."""
    if not counts:
        raise ConfigError("label dots need at least one partition, got none")
    clients, classes = np.max([count.shape for count in counts.values()], axis=0).tolist()
    most = max(count.max() for count in counts.values())
    step = (width - 1.4) / len(counts) / (clients + 2)  # inches between clients
    area = (72 * step) ** 2  # of the largest dot, in points
    figure, axes = panels(
        len(counts), width=width, height=step * (classes + 1) + 0.75, sharex=True, sharey=True
    )
    for ax, (title, count) in zip(axes.flat, counts.items(), strict=True):
        client, label = np.indices(count.shape)
        ax.scatter(client, label, s=area * count / most, color=BLUE, alpha=0.85, linewidths=0)
        ax.set(title=title, xlabel="client", aspect="equal")
        ax.set(xlim=(-0.9, clients - 0.1), ylim=(-0.9, classes - 0.1))
        ax.set_xticks(range(0, clients, max(1, ceil(clients / 8))))
        ax.set_yticks(range(0, classes, max(1, ceil(classes / 10))))
        ax.tick_params(length=0)
        ax.spines[:].set_color("#cccccc")
    axes.flat[0].set_ylabel("class")
    for share in (1, 0.25):
        number = float(f"{share * most:.1g}")
        axes.flat[-1].scatter(
            [], [], s=area * number / most, color=BLUE, linewidths=0, label=f"{number:,.0f} samples"
        )
    axes.flat[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), labelspacing=1.2)
    return figure


@styled
def draw_shards(
    parts: Parts,
    labels: np.ndarray,
    *,
    num_classes: int | None = None,
    most: int = 48,
    width: float = PAGE,
    save: str | Path | None = None,
) -> Picture:
    """A small histogram per client: how many samples of each class it holds.

    Args:
        parts: one array of indices into `labels` per client.
        labels: [samples], 0 .. num_classes - 1.
        num_classes: default: as many as the labels have.
        most: only so many clients are drawn; the title says so.
        width: inches.
        save: .png, .svg or .pdf to write, too.

    Raises:
        ConfigError: `most` < 1, or no client with a sample.
    """
    labels = np.asarray(labels)
    counts = _counts(parts, labels, num_classes)
    shown = counts[: as_whole_number(most, "most", 1)]
    columns = min(8, len(shown))
    rows = ceil(len(shown) / columns)
    figure, axes = panels(
        columns, rows, width=width, height=0.75 * rows + 0.5, sharex=True, sharey=True
    )
    for ax in axes.flat[len(shown) :]:
        ax.set_visible(False)
    for client, (ax, count) in enumerate(zip(axes.flat, shown, strict=False)):
        ax.bar(range(len(count)), count, width=0.85, color=BLUE)
        ax.set_title(f"client {client}: {count.sum():,}", fontsize=7, color=GRAY, pad=2)
        ax.set(xticks=[0, len(count) - 1])
        ax.tick_params(length=0, labelsize=6)
        ax.spines["left"].set_visible(False)
        ax.label_outer()
    figure.supxlabel("class", fontsize=8)
    figure.supylabel("samples", fontsize=8)
    if len(shown) < len(counts):
        figure.suptitle(f"the first {len(shown)} of {len(counts)} clients", fontsize=8)
    return finished(figure, save)
