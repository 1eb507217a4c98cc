"""Edge lists, as files write them -> graphs; shared by the readers of files."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import networkx as nx

from p2pqg.base.errors import TopologyError
from p2pqg.topology.schedule import Rounds, Schedule, schedule_of

UNUSED_WEIGHTS = "edge weights are not used; :mixing=given mixes with them"


@dataclass(frozen=True)
class Edge:
    """One line of an edge list; `where` is for messages."""

    source: str
    target: str
    weight: float | None
    where: str


def number_clients(
    edges: list[Edge], clients: int | None, where: str, strict: bool = True
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Label -> client, and the labels: integers keep their order, names that of appearance.

    Strict, for files written by hand: integers must be 0 .. n-1 or 1 .. n. Otherwise, for observed
    networks, they may have gaps, as badges and accounts do.
    """
    labels = list(dict.fromkeys(label for e in edges for label in (e.source, e.target)))
    if not all(label.isdecimal() for label in labels):
        return {label: i for i, label in enumerate(labels)}, tuple(labels)
    known = sorted({int(label) for label in labels})  # a set: "01" and "1" are one client
    if not strict and not (clients and len(known) < clients and known[-1] < clients):
        rank = {label: i for i, label in enumerate(known)}
        return {label: rank[int(label)] for label in labels}, tuple(map(str, known))
    least = 0 if known[0] == 0 or (clients and known[-1] < clients) else 1
    n = clients or known[-1] - least + 1
    if known[-1] - least >= n:
        raise TopologyError(
            f"{where}: clients must be numbered 0 to {n - 1} (or from 1), got {known[0]} to "
            f"{known[-1]}. Renumber them, or use names."
        )
    missing = set(range(least, n + least)) - set(known)
    if missing and not clients:
        raise TopologyError(
            f"{where}: client {min(missing)} has no edge, but the numbers run from {least} to "
            f"{known[-1]}. Add an edge, or renumber the clients."
        )
    return {label: int(label) - least for label in labels}, tuple(str(i + least) for i in range(n))


def graph_of(
    edges: list[Edge], number: dict[str, int], n: int, directed: bool, rule: str | None
) -> nx.Graph | nx.DiGraph:
    """The graph of an edge list; twice the same edge is once."""
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(n))
    for e in edges:
        u, v = number[e.source], number[e.target]
        if u == v and rule != "given":
            raise TopologyError(
                f"{e.where}: client {e.source} is joined to itself. "
                "Leave that edge out: everyone hears itself anyway."
            )
        if rule == "given":
            before = graph.get_edge_data(u, v)
            if before and before["weight"] != e.weight:
                raise TopologyError(
                    f"{e.where}: edge {e.source}, {e.target} has weight {e.weight}, but "
                    f"{before['weight']} before. Keep one, or say directed."
                )
            graph.add_edge(u, v, weight=e.weight)
        else:
            graph.add_edge(u, v)
    return graph


def file_schedule(
    network: nx.Graph | Rounds, path: Path, rule: str | None, **about: Any
) -> Schedule:
    """`schedule_of`, whose errors name the file."""
    try:
        return schedule_of(network, str(path), rule, **about)
    except TopologyError as error:
        raise TopologyError(f"{path}: {error}") from None


def finite(cell: str, what: str, where: str) -> float:
    """The number in a cell; a TopologyError if there is none, or it is infinite."""
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise TopologyError(f"{where}: {what} must be a number, got {cell!r}. Correct it.")
    return value
