"""Observed social networks, binarised; clients in the order of networkx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import networkx as nx

from p2pqg.base.registry import NoParams
from p2pqg.topology._registry import topology

ALIASES = {"davis": "social"}
"""Other names that users may type."""


def _binarised(people: nx.Graph) -> nx.Graph:
    """Without weights (karate and les miserables carry some); names become labels."""
    names = list(people)
    number = {name: i for i, name in enumerate(names)}
    graph = nx.Graph()
    graph.add_nodes_from((i, {"label": str(name)}) for i, name in enumerate(names))
    graph.add_edges_from((number[u], number[v]) for u, v in people.edges() if u != v)
    return graph


@topology("social", size=32, source="Davis, Gardner, Gardner 1941; Lin et al., ICML 2021")
def social(num_clients: int, params: NoParams) -> nx.Graph:
    """Davis's Southern women and the 14 events they attended: the paper's social network."""
    return _binarised(nx.davis_southern_women_graph())


@topology("florentine", size=15, source="Breiger, Pattison 1986")
def florentine(num_clients: int, params: NoParams) -> nx.Graph:
    """Marriages between the families of Renaissance Florence."""
    return _binarised(nx.florentine_families_graph())


@topology("karate", size=34, source="Zachary 1977")
def karate(num_clients: int, params: NoParams) -> nx.Graph:
    """Friendships in Zachary's karate club, without its weights."""
    return _binarised(nx.karate_club_graph())


@topology("lesmis", size=77, source="Knuth 1993")
def lesmis(num_clients: int, params: NoParams) -> nx.Graph:
    """Who meets whom in Les Miserables, without its weights."""
    return _binarised(nx.les_miserables_graph())


@dataclass(frozen=True, kw_only=True)
class SocialTreeParams:
    root: Annotated[int, "[0, 31]"] = 0
    """Client at the root, 0 .. 31."""


@topology(
    "social-tree",
    params=SocialTreeParams,
    size=32,
    source="Vogels et al., NeurIPS 2021 (RelaySGD)",
)
def social_tree(num_clients: int, params: SocialTreeParams) -> nx.Graph:
    """A spanning tree of the social network: shortest paths from a root."""
    whole = social(num_clients, NoParams())
    tree = nx.Graph()
    tree.add_nodes_from(whole.nodes(data=True))
    tree.add_edges_from(nx.bfs_edges(whole, params.root))
    return tree
