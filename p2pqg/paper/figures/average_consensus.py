"""Figure 3: averaging without learning, gossip against Eq. (4), on several networks.

What to see: with momentum the clients come down to a hundredth of their first distance (squared) in
fewer rounds where mixing is slow, as on a ring. Further down it swings, and is the slower one in
the end: along an eigenvector of W, with eigenvalue l, the error shrinks by the larger root of
r^2 - (l + mu + (1 - mu) l beta) r + l (mu + (1 - mu) beta) = 0, and the product of the two roots
lets no rate be below sqrt(|l| (mu + (1 - mu) beta)).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd

from p2pqg.paper.figures._figure import Recipe, figure
from p2pqg.plots import draw_consensus
from p2pqg.plots.canvas import Picture
from p2pqg.theory.consensus import average_consensus as consensus


@dataclass(frozen=True, kw_only=True)
class Params:
    topologies: tuple[str, ...] = ("ring16", "ring32", "social32")
    rounds: Annotated[int, ">= 1"] = 120
    beta: float = 0.9
    mu: float = 0.9
    seed: Annotated[int, ">= 0"] = 0
    """Seed of the numbers that are averaged: standard normal, 16 for each client."""

    def problems(self) -> Iterator[str]:
        if not self.topologies:
            yield "topologies must be at least one, got none"


def draw(frame: pd.DataFrame) -> Picture:
    """A panel per network; columns as of `average_consensus`."""
    label = next(method for method in frame["method"] if method != "gossip")
    paths = {
        name: tuple(
            rows.loc[rows["method"] == method, "consensus_distance"].to_numpy()
            for method in ("gossip", label)
        )
        for name, rows in frame.groupby("topology", sort=False)
    }
    return draw_consensus(paths, label)


@figure(
    "average-consensus",
    number=3,
    params=Params,
    draw=draw,
    source="Lin et al., ICML 2021, Section 4.1 and Figure 3",
)
def average_consensus(p: Params, recipe: Recipe) -> pd.DataFrame:
    """Average consensus: gossip and its quasi-global form, Eq. (4).

    Returns:
        Columns topology, method, round, consensus_distance.
    """
    label = f"QG (β {p.beta:g}, μ {p.mu:g})"
    frames = []
    for name in p.topologies:
        for method in ("gossip", label):
            qg = method == label
            found = consensus(name, p.rounds, None, p.beta, p.mu, quasi_global=qg, seed=p.seed)
            frames.append(
                pd.DataFrame(
                    {
                        "topology": name,
                        "method": method,
                        "round": np.arange(len(found)),
                        "consensus_distance": found,
                    }
                )
            )
    return pd.concat(frames)
