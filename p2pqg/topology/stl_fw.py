"""STL-FW: Le Bars, Bellet, Tommasi, Lavoie, Kermarrec, AISTATS 2023, arXiv:2204.04452.

A sparse doubly stochastic W under which what each client hears looks like the whole: from W = I on,
Frank-Wolfe steps on the paper's Eq. (8)

    g(W) = (|W P - J P|^2 + lambda |W - J|^2) / n,    P [clients, classes] the shares of the labels,

each of which mixes in the permutation to which the gradient points (an assignment problem), with
the best step size. A step adds at most one neighbor each way; it ends before somebody has more than
`budget`. W is not symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.topology._registry import shares_of, solver, topology

MOST_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class StlFwParams:
    budget: Annotated[int | None, ">= 1"] = None
    """Most neighbors that a client hears, >= 1; None: the number of classes."""
    lam: Annotated[float, "> 0"] = 0.1
    """lambda, > 0: what mixing everything evenly is worth, beside mixing the classes."""


@topology(
    "stl-fw",
    params=StlFwParams,
    labels=True,
    rule="given",
    source="Le Bars et al., AISTATS 2023, and its code",
    neighbors=lambda num_clients, params: min(num_clients, params.budget or 10),
)
def stl_fw(num_clients: int, params: StlFwParams, label_counts: np.ndarray) -> nx.DiGraph:
    """Directed: few neighbors, such that each hears all classes evenly; looks at the labels."""
    linear_sum_assignment = solver("stl-fw").linear_sum_assignment
    n, P = num_clients, shares_of(label_counts)
    budget = params.budget or P.shape[1]
    W, J = np.eye(n), np.full((n, n), 1 / n)
    for _ in range(MOST_STEPS):
        gradient = (W @ P - J @ P) @ P.T + params.lam * (
            W - J
        )  # times 2 / n, which changes nothing
        # Rounded, so that of permutations that are as good the same one is taken everywhere.
        to = np.eye(n)[linear_sum_assignment(gradient.round(10))[1]]
        D = to - W
        length = np.sum((D @ P) ** 2) + params.lam * np.sum(D**2)
        step = -np.sum(gradient * D) / length if length > 1e-12 else 0.0
        if step <= 1e-12:  # W is the best there is
            break
        better = W + min(step, 1.0) * D
        if np.max((better > 1e-12).sum(1) - (better.diagonal() > 1e-12)) > budget:
            break
        W = better
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n))
    receivers, senders = np.nonzero(W > 1e-12)
    graph.add_weighted_edges_from(
        (int(j), int(i), float(W[i, j])) for i, j in zip(receivers, senders, strict=True) if i != j
    )
    if not nx.is_strongly_connected(graph):
        raise TopologyError(
            f"clients who hear {budget} others fall into pieces that never meet. Use a larger "
            "budget, or another lam."
        )
    return graph
