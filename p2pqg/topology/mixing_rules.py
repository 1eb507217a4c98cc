"""Mixing rules: graph -> W. Metropolis-Hastings and the others that fill in a `Mixing`.

A rule turns a graph with clients 0 .. n-1 into weights. Edge attributes never leak into W, except
through the rule `given`. No rule but `best_constant` builds a dense matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from p2pqg.base.distinct import distinct
from p2pqg.base.errors import TopologyError
from p2pqg.base.registry import Registry
from p2pqg.topology.mixing import Mixing

RULES = Registry("mixing rule")
"""Builders graph -> W. Their traits say what W does not keep, see `checks.Promise`: rows or columns
that sum to 1, the sign."""


@dataclass(frozen=True, eq=False)
class Arcs:
    """All that a rule asks of a graph, as arrays, where one is needed in every round.

    Attributes:
        num_clients: n.
        senders: int64 [arcs]. An undirected edge is two arcs, loops are none.
        receivers: int64 [arcs].
        directed: arcs are what they are; otherwise each comes with its opposite.
        weights: float64 [arcs], for the rule `given`, for which loops are arcs, too; or None.
    """

    num_clients: int
    senders: np.ndarray
    receivers: np.ndarray
    directed: bool = False
    weights: np.ndarray | None = None

    @classmethod
    def of(cls, num_clients: int, edges: ArrayLike, directed: bool = False) -> Arcs:
        """The arcs of edges [edges, 2], however often each is named; loops are left out."""
        edges = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
        if not directed:
            edges = np.concatenate([edges, edges[:, ::-1]])
        codes = distinct(edges[:, 0] * num_clients + edges[:, 1])
        senders, receivers = np.divmod(codes, num_clients)
        apart = senders != receivers
        return cls(num_clients, senders[apart], receivers[apart], directed)

    def number_of_nodes(self) -> int:
        """What networkx calls so."""
        return self.num_clients

    def is_directed(self) -> bool:
        """What networkx calls so."""
        return self.directed


def arcs(graph: nx.Graph | nx.DiGraph | Arcs) -> tuple[np.ndarray, np.ndarray]:
    """Senders and receivers, int64 [arcs] each; an undirected edge is two arcs, loops are none.

    Raises:
        TopologyError: the nodes are not 0 .. n-1.
    """
    if isinstance(graph, Arcs):
        return graph.senders, graph.receivers
    graph, n = simple(graph), graph.number_of_nodes()
    if n == 0 or not all(i in graph for i in range(n)):
        raise TopologyError(
            f"nodes must be the integers 0 .. {max(n - 1, 0)}, got {list(graph)[:5]}. "
            "Use networkx.convert_node_labels_to_integers."
        )
    edges = np.fromiter(chain.from_iterable(graph.edges()), dtype=np.int64).reshape(-1, 2)
    senders, receivers = edges[edges[:, 0] != edges[:, 1]].T
    if graph.is_directed():
        return senders, receivers
    return np.concatenate([senders, receivers]), np.concatenate([receivers, senders])


def simple(graph: nx.Graph, rule: str | None = None) -> nx.Graph | nx.DiGraph:
    """The graph in which parallel edges, as of a MultiGraph, are one.

    Raises:
        TopologyError: the rule is `given`, and their weights differ.
    """
    if not graph.is_multigraph():
        return graph
    once = nx.DiGraph() if graph.is_directed() else nx.Graph()
    once.add_nodes_from(graph.nodes(data=True))
    for u, v, data in graph.edges(data=True):
        before = once.get_edge_data(u, v, default=data)
        if rule == "given" and before.get("weight") != data.get("weight"):
            raise TopologyError(
                f"edge {u}, {v} is there twice, with weights {before.get('weight')} and "
                f"{data.get('weight')}. Keep one, or use mixing: metropolis_hastings."
            )
        once.add_edge(u, v, **data)
    return once


def _undirected_arcs(graph: nx.Graph, rule: str) -> tuple[np.ndarray, np.ndarray]:
    if graph.is_directed():
        raise TopologyError(
            f"mixing rule {rule} is for undirected networks, this one is directed. "
            "Use mixing: columns (with algorithm sgp), uniform or given."
        )
    return arcs(graph)


def with_own(n: int, senders: np.ndarray, receivers: np.ndarray, weights: np.ndarray) -> Mixing:
    """W from the weights of the arcs; a client keeps whatever its row leaves."""
    own = 1 - np.bincount(receivers, weights, n)
    own[np.abs(own) < 1e-12] = 0  # an own weight that only rounding left over
    everyone = np.arange(n)
    return Mixing.of(
        n,
        np.concatenate([receivers, everyone]),
        np.concatenate([senders, everyone]),
        np.concatenate([weights, own]),
    )


@RULES.register("metropolis_hastings", source="Xiao, Boyd, Lall, IPSN 2005")
def metropolis_hastings(graph: nx.Graph) -> Mixing:
    """Weights that each client can compute from its own and its neighbors' degree.

    W[i, j] = 1 / (1 + max(deg i, deg j)) on edges, the rest on the diagonal; doubly stochastic.

    Args:
        graph: undirected, nodes 0 .. n-1.

    Raises:
        TopologyError: directed, or other node names.
    """
    senders, receivers = _undirected_arcs(graph, "metropolis_hastings")
    n = graph.number_of_nodes()
    degrees = np.bincount(senders)
    weights = 1 / (1 + np.maximum(degrees[senders], degrees[receivers]))
    return with_own(n, senders, receivers, weights)


@RULES.register("lazy", source="D2: Tang et al., ICML 2018; exact diffusion: Yuan et al., 2019")
def lazy(graph: nx.Graph) -> Mixing:
    """(W + I) / 2 of Metropolis-Hastings: all eigenvalues >= 0, half the speed."""
    return metropolis_hastings(graph).lazy()


@RULES.register("uniform", source="plain averaging over the inbox", columns=False)
def uniform(graph: nx.Graph | nx.DiGraph) -> Mixing:
    """1 / (in-degree + 1) for everything received; doubly stochastic on regular graphs only."""
    senders, receivers = arcs(graph)
    n = graph.number_of_nodes()
    weights = 1 / (1 + np.bincount(receivers)[receivers])
    return with_own(n, senders, receivers, weights)


@RULES.register(
    "columns", source="push-sum: Kempe et al., FOCS 2003; Assran et al., ICML 2019", rows=False
)
def columns(graph: nx.Graph | nx.DiGraph) -> Mixing:
    """1 / (out-degree + 1) of each sender to each receiver: columns sum to 1, for push-sum."""
    senders, receivers = arcs(graph)
    n = graph.number_of_nodes()
    weights = 1 / (1 + np.bincount(senders)[senders])
    return with_own(n, receivers, senders, weights).transposed()


@RULES.register("best_constant", source="Xiao, Boyd, Systems & Control Letters 2004", sign=False)
def best_constant(graph: nx.Graph) -> Mixing:
    """I - a L with a = 2 / (mu_2 + mu_n): the fastest W with one weight for all edges.

    mu are the eigenvalues of the Laplacian L. Own weights may be negative (a star's center).

    Raises:
        TopologyError: directed, or disconnected (mu_2 = 0: pairs would just swap).
    """
    senders, receivers = _undirected_arcs(graph, "best_constant")
    n = graph.number_of_nodes()
    if n == 1:
        return Mixing.from_dense(np.ones((1, 1)))
    adjacency = np.zeros((n, n))
    adjacency[receivers, senders] = 1
    mu = np.linalg.eigvalsh(np.diag(adjacency.sum(axis=1)) - adjacency)
    if mu[1] < 1e-9:
        raise TopologyError(
            "mixing rule best_constant needs a connected network in every round. "
            "Use mixing: metropolis_hastings."
        )
    return with_own(n, senders, receivers, np.full(len(senders), 2 / (mu[1] + mu[-1])))


@RULES.register("given", source="the network itself")
def given(graph: nx.Graph | nx.DiGraph) -> Mixing:
    """The `weight` of every edge; a client keeps what its row leaves, or its loop's weight.

    Directed edges run from sender to receiver.

    Raises:
        TopologyError: an edge has no weight, or one that is not a number.
    """
    if isinstance(graph, Arcs):
        if graph.weights is None:
            raise TopologyError(
                "its edges have no weights, mixing: given needs them. Use mixing: "
                "metropolis_hastings or, for directed networks, uniform."
            )
        return _given(graph.num_clients, graph.senders, graph.receivers, graph.weights)
    graph = simple(graph, "given")
    arcs(graph)  # checks the nodes
    senders, receivers, weights = [], [], []
    for u, v, weight in graph.edges(data="weight"):
        try:
            weight = float(weight)
        except (TypeError, ValueError, OverflowError):
            raise TopologyError(
                f"edge {u}, {v} has no weight that is a number, mixing: given needs one (got "
                f"{weight!r}). Add it, or use mixing: metropolis_hastings."
            ) from None
        both = u != v and not graph.is_directed()
        for sender, receiver in [(u, v), (v, u)] if both else [(u, v)]:
            senders.append(sender)
            receivers.append(receiver)
            weights.append(weight)
    to, by = np.array([receivers, senders], dtype=np.int64)
    return _given(graph.number_of_nodes(), by, to, np.array(weights, dtype=np.float64))


def _given(n: int, senders: np.ndarray, receivers: np.ndarray, weights: np.ndarray) -> Mixing:
    """W from the weights of arcs and loops; who has no loop keeps what its row leaves."""
    loops = senders == receivers
    W = with_own(n, senders[~loops], receivers[~loops], weights[~loops])
    if not loops.any():
        return W
    others = W.receivers != W.senders
    kept = np.zeros(n)
    kept[W.receivers[~others]] = W.weights[~others]
    kept[senders[loops]] = weights[loops]
    everyone = np.arange(n)
    return Mixing.of(
        n,
        np.concatenate([W.receivers[others], everyone]),
        np.concatenate([W.senders[others], everyone]),
        np.concatenate([W.weights[others], kept]),
    )


def default_rule(graph: nx.Graph | nx.DiGraph) -> str:
    """The rule that keeps the mean: Metropolis-Hastings; directed: uniform if regular, or columns.

    On an irregular directed network no rule of one's own degree is doubly stochastic: push-sum.
    """
    if not graph.is_directed():
        return "metropolis_hastings"
    degrees = [np.bincount(ends, minlength=graph.number_of_nodes()) for ends in arcs(graph)]
    return "uniform" if np.ptp(degrees) == 0 else "columns"
