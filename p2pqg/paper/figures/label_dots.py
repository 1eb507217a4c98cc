"""Figure 1: who holds which labels, for several alphas: clients across, classes up.

What to see: alpha = 10 gives every client all classes, alpha = 0.1 a few each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from p2pqg.data import label_counts, label_skew, load, partition
from p2pqg.paper.figures._figure import Recipe, figure
from p2pqg.plots.canvas import Picture, styled
from p2pqg.plots.shards import dots


@dataclass(frozen=True, kw_only=True)
class Params:
    dataset: str = "cifar10"
    data_dir: str | None = None
    clients: int = 16
    partition: str = "qg-dirichlet"
    alphas: tuple[float, ...] = (10.0, 1.0, 0.1)
    seed: int = 0

    def problems(self) -> Iterator[str]:
        if not self.alphas:
            yield "alphas must be at least one, got none"


@styled
def draw(frame: pd.DataFrame) -> Picture:
    """A panel per alpha; columns as of `label_dots`."""
    split = {}
    for alpha, rows in frame.groupby("alpha", sort=False):
        counts = rows.pivot(index="client", columns="class", values="samples").to_numpy()
        share = 100 * label_skew(counts)["largest_class_share"]
        split[f"α = {alpha:g}  (largest class: {share:.0f} %)"] = counts
    return dots(split)


@figure(
    "label-dots",
    number=1,
    params=Params,
    draw=draw,
    source="Lin et al., ICML 2021, Figure 1",
)
def label_dots(p: Params, recipe: Recipe) -> pd.DataFrame:
    """How many samples of each class each client holds.

    Returns:
        Columns alpha, client, class, samples.
    """
    arrays = load(p.dataset, p.data_dir)
    frames = []
    for alpha in p.alphas:
        parts = partition(p.partition, arrays.train_y, p.clients, alpha=alpha, seed=p.seed)
        counts = label_counts(parts, arrays.train_y, arrays.num_classes)
        client, label = np.indices(counts.shape).reshape(2, -1)
        frames.append(
            pd.DataFrame(
                {"alpha": alpha, "client": client, "class": label, "samples": counts.ravel()}
            )
        )
    return pd.concat(frames)
