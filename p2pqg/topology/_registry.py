"""The table of known networks, and what their builders share.

A builder is `(num_clients, params) -> nx.Graph`, or `Rounds` where the network changes. Its traits:
`rule`, the mixing rule unless the user names one (None: the one that suits the graph); `size`, the
number of clients of a network that has only one; `neighbors`, how many each client has, about;
`labels`: it looks at what the clients see, and takes one more argument, label_counts [clients,
classes].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import networkx as nx
import numpy as np
from numpy.typing import ArrayLike

from p2pqg.base.errors import TopologyError
from p2pqg.base.memory import check_room
from p2pqg.base.registry import F, NoParams, Registry
from p2pqg.base.seeding import rng
from p2pqg.base.wording import counted

TOPOLOGIES = Registry("topology")
ATTEMPTS = 100


def topology(
    name: str,
    *,
    source: str,
    params: type = NoParams,
    rule: str | None = None,
    size: int | None = None,
    neighbors: Callable[[int, Any], float] = lambda num_clients, params: 4,
    labels: bool = False,
) -> Callable[[F], F]:
    """File a builder under the name that users type."""
    return TOPOLOGIES.register(
        name,
        params=params,
        source=source,
        rule=rule,
        size=size,
        neighbors=neighbors,
        labels=labels,
    )


BYTES_EACH = 300
"""What a client takes in memory while a network is built, and each of its neighbors."""


def check_size(num_clients: int, neighbors: float, name: str) -> None:
    """Refuse a network that would not fit into memory, before any of it is built.

    Args:
        num_clients: n.
        neighbors: of each client, about.
        name: of the network, for the message.

    Raises:
        TopologyError: with what it would take, and what there is.
    """
    needed = BYTES_EACH * num_clients * (1 + math.ceil(neighbors))
    what = f"{name!r:.80}: {counted(num_clients, 'client')}"
    check_room(needed, what, "use fewer clients", TopologyError)


@dataclass(frozen=True, kw_only=True)
class Seeded:
    """Params of a network that is drawn."""

    seed: Annotated[int, ">= 0"] = 0
    """Seed of the draw, >= 0; not the run's seed, so that runs compare on one network."""


def shares_of(label_counts: np.ndarray) -> np.ndarray:
    """[clients, classes]: of each client's samples, the share of each class."""
    return label_counts / np.maximum(label_counts.sum(1, keepdims=True), 1)


def solver(name: str) -> Any:
    """`scipy.optimize`, for a network that needs it; TopologyError if it is not there."""
    try:
        import scipy.optimize
    except ImportError:
        raise TopologyError(
            f"{name} needs the package scipy; pip install 'p2pqg[labels]'"
        ) from None
    return scipy.optimize


def network(num_clients: int, edges: ArrayLike, directed: bool = False) -> nx.Graph | nx.DiGraph:
    """A graph with nodes 0 .. n-1; `edges` is an array [edges, 2]; loops are left out."""
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(num_clients))
    pairs = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    graph.add_edges_from(pairs[pairs[:, 0] != pairs[:, 1]].tolist())
    return graph


def hops(num_clients: int, offsets: Iterable[int], directed: bool = False) -> nx.Graph | nx.DiGraph:
    """A circulant graph: client i sends to i + offset (mod n), for every offset."""
    return network(num_clients, ahead(num_clients, offsets), directed)


def ahead(num_clients: int, offsets: Iterable[int]) -> np.ndarray:
    """[edges, 2]: from client i to i + offset (mod n), for every offset."""
    i = np.arange(num_clients)
    pairs = [np.stack([i, (i + hop) % num_clients], axis=1) for hop in offsets]
    return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)


def two_factors(n: int) -> tuple[int, int] | None:
    """The most square a x b = n with 2 <= a <= b; None if there is no such pair."""
    for a in range(int(n**0.5), 1, -1):
        if n % a == 0:
            return a, n // a
    return None


def connected_draw(
    name: str, draw: Callable[[np.random.Generator], nx.Graph], seed: int, repair: str
) -> nx.Graph:
    """The first connected graph of up to 100 draws keyed by (seed, attempt).

    Raises:
        TopologyError: none of them was.
    """
    for attempt in range(ATTEMPTS):
        graph = draw(rng(seed, name, attempt))
        if nx.is_connected(graph):
            return graph
    raise TopologyError(f"none of {ATTEMPTS} draws of {name} was connected. {repair}")
