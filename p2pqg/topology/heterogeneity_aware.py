"""Mixing weights that see the labels, after Dandi, Koloskova, Jaggi, Stich 2022, arXiv:2204.06477.

A RECONSTRUCTION from the paper's abstract. There the weights of a graph's edges minimise how far
mixed gradients are from the mean one, again and again in a run. Here they do so once, with shares
of labels in place of gradients: the symmetric, doubly stochastic W >= 0 on the graph's edges that
is best by the same measure as STL-FW,

    |W P - J P|^2 + lambda |W - J|^2,    P [clients, classes] the shares of the labels,

with lambda = 0.1. No edge has less than a tenth of its Metropolis-Hastings weight, so that the
network stays in one piece where neighbors see the same.
"""

from __future__ import annotations

import warnings
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.topology._registry import shares_of, solver
from p2pqg.topology.label_counts import COUNTS, checked
from p2pqg.topology.mixing import Mixing
from p2pqg.topology.mixing_rules import RULES, Arcs, with_own
from p2pqg.topology.schedule import Schedule

LAMBDA, LEAST = 0.1, 0.1
MOST_EDGES = 1000
NAME = "heterogeneity_aware"


@RULES.register(NAME, source="after Dandi et al. 2022 (reconstruction)")
def heterogeneity_aware(graph: nx.Graph) -> Mixing:
    """The weights on the edges under which what is mixed sees the labels evenly.

    Args:
        graph: undirected, nodes 0 .. n-1, with the attribute `COUNTS`.

    Raises:
        TopologyError: nobody said what the labels are; directed, or too many edges.
    """
    counts = None if isinstance(graph, Arcs) else graph.graph.get(COUNTS)
    if counts is None:
        raise TopologyError(
            f"mixing rule {NAME} looks at the clients' labels: it is for networks that stay, "
            "by name or as edges in a file, in a run. Use mixing: metropolis_hastings."
        )
    if graph.is_directed() or graph.number_of_edges() > MOST_EDGES:
        raise TopologyError(
            f"mixing rule {NAME} is for undirected networks of up to {MOST_EDGES:,} edges. Use "
            "mixing: metropolis_hastings, or uniform where links go one way."
        )
    n, P = graph.number_of_nodes(), shares_of(counts)
    edges = np.array(graph.edges(), dtype=np.int64).reshape(-1, 2)
    edges = edges[edges[:, 0] != edges[:, 1]]
    if not len(edges):
        return with_own(n, edges[:, 0], edges[:, 1], np.empty(0))
    # W = I - sum over edges of w_e L_e: the distance from J is r - A w, of P and of W itself.
    parts = [P, np.sqrt(LAMBDA) * np.eye(n)]
    A = np.concatenate([_moved(part, edges) for part in parts])
    r = np.concatenate([(part - part.mean(0)).ravel() for part in parts])
    Q, q = A.T @ A, A.T @ r
    touches = np.zeros((n, len(edges)))
    touches[edges[:, 0], np.arange(len(edges))] = touches[edges[:, 1], np.arange(len(edges))] = 1
    degrees = touches.sum(1)
    first = 1 / (1 + np.maximum(degrees[edges[:, 0]], degrees[edges[:, 1]]))
    at_most_one = {"type": "ineq", "fun": lambda w: 1 - touches @ w, "jac": lambda w: -touches}
    with warnings.catch_warnings():  # older versions say when a step ends at a bound
        warnings.simplefilter("ignore", RuntimeWarning)
        found = solver(NAME).minimize(
            lambda w: (0.5 * w @ Q @ w - q @ w, Q @ w - q),
            first,
            jac=True,
            method="SLSQP",
            bounds=[(LEAST * weight, 1) for weight in first],
            constraints=at_most_one,
            options={"maxiter": 500, "ftol": 1e-12},
        )
    if not found.success:
        raise TopologyError(
            f"mixing rule {NAME} found no weights ({found.message}). Use "
            "mixing: metropolis_hastings."
        )
    w = found.x / max(1.0, (touches @ found.x).max())  # rounding may leave own weights below 0
    senders, receivers = np.concatenate([edges, edges[:, ::-1]]).T
    return with_own(n, senders, receivers, np.concatenate([w, w]))


def tell(network: Any, rule: str | None, label_counts: Any, name: str) -> None:
    """Write down on a graph what its clients see, if that is the rule that weighs its edges.

    Raises:
        TopologyError: as of `checked`.
    """
    if rule == NAME and isinstance(network, nx.Graph):
        who = f"{name}, mixing {rule}"
        network.graph[COUNTS] = checked(label_counts, network.number_of_nodes(), who)


def settled(schedule: Schedule) -> Schedule:
    """With weights that are given: whoever changes links has no labels to weigh them by."""
    if schedule.rule == NAME:
        schedule.rule = "given"
    return schedule


def _moved(part: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """[clients x columns, edges]: what a unit of an edge's weight does to each entry."""
    moved = np.zeros((*part.shape, len(edges)))
    apart, e = (part[edges[:, 0]] - part[edges[:, 1]]), np.arange(len(edges))
    moved[edges[:, 0], :, e] += apart
    moved[edges[:, 1], :, e] -= apart
    return moved.reshape(-1, len(edges))
