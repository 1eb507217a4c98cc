"""D-Cliques: Bellet, Kermarrec, Lavoie, SRDS 2022, arXiv:2104.07365.

Clients that together see all classes as often as they are form a clique, in which everyone talks to
everyone; a few links join the cliques. As in the authors' code (greedy swaps): cliques are drawn,
and then two of them at a time swap a random pair of clients among those whose swap brings the two
closer to the labels of all, in sum over classes of |share - share of all|.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import networkx as nx
import numpy as np

from p2pqg.base.seeding import rng
from p2pqg.topology._registry import Seeded, network, topology

JOINED = ("ring", "small-world", "full")


@dataclass(frozen=True, kw_only=True)
class DCliquesParams(Seeded):
    size: Annotated[int | None, ">= 1"] = None
    """Clients of a clique, >= 1, the last may be smaller; None: the number of classes."""
    joined: str = "small-world"
    """ring: each clique with the next; small-world: also 1, 2, 4, ... further, two links each, as
    in the authors' code; full: each with each."""
    steps: Annotated[int, ">= 0"] = 1000
    """Pairs of cliques that are looked at for a swap, >= 0."""

    def problems(self) -> Iterator[str]:
        if self.joined not in JOINED:
            yield f"joined must be one of {', '.join(JOINED)}, got {self.joined!r}"


@topology(
    "d-cliques",
    params=DCliquesParams,
    labels=True,
    source="Bellet, Kermarrec, Lavoie, SRDS 2022, and its code",
    neighbors=lambda num_clients, params: min(num_clients, params.size or 10) + 2,
)
def d_cliques(num_clients: int, params: DCliquesParams, label_counts: np.ndarray) -> nx.Graph:
    """Cliques of clients that together see all classes, joined by few links; looks at labels."""
    draw = rng(params.seed, "d-cliques")
    size = params.size or label_counts.shape[1]
    order = draw.permutation(num_clients)
    cliques = [order[first : first + size] for first in range(0, num_clients, size)]
    _swap(cliques, label_counts, params.steps, draw)
    inside = [pair for clique in cliques for pair in combinations(clique.tolist(), 2)]
    return network(num_clients, inside + _between(cliques, params.joined, draw))


def _swap(
    cliques: list[np.ndarray], counts: np.ndarray, steps: int, draw: np.random.Generator
) -> None:
    """Clients change places as long as that helps; in place."""
    everybody = counts.sum(0) / counts.sum()

    def skew(sums: np.ndarray) -> np.ndarray:
        total = np.maximum(sums.sum(-1, keepdims=True), 1)
        return np.abs(sums / total - everybody).sum(-1)

    for _ in range(steps if len(cliques) > 1 else 0):
        one, other = (cliques[i] for i in draw.choice(len(cliques), 2, replace=False))
        moved = counts[other][None] - counts[one][:, None]  # [in one, in other, classes]
        mine, theirs = counts[one].sum(0), counts[other].sum(0)
        change = skew(mine + moved) + skew(theirs - moved) - skew(mine) - skew(theirs)
        better = np.argwhere(change < -1e-12)
        if len(better):
            i, j = better[draw.integers(len(better))]
            one[i], other[j] = other[j], one[i]


def _between(
    cliques: list[np.ndarray], joined: str, draw: np.random.Generator
) -> list[tuple[int, int]]:
    """Links between cliques, each time of those members that have the fewest so far."""
    links = [dict.fromkeys(clique.tolist(), 0) for clique in cliques]
    n = len(cliques)

    def member(clique: int) -> int:
        fewest = min(links[clique].values())
        client = int(draw.choice([i for i, count in links[clique].items() if count == fewest]))
        links[clique][client] += 1
        return client

    if joined == "full":
        pairs = list(combinations(range(n), 2))
    else:
        hops = [1]
        if joined == "small-world":
            far = [1 << k for k in range((n - 1).bit_length())]
            hops = [way * (hop + k) for hop in far for k in (0, 1) for way in (-1, 1)]
        pairs = [(a, (a + hop) % n) for a in range(n) for hop in hops]
    return [(member(a), member(b)) for a, b in pairs if a != b]
