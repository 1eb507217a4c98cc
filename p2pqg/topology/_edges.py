"""Edge lists, as files write them -> graphs; shared by the readers of files."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx

from p2pqg.base.csv_file import NUMBER
from p2pqg.base.errors import TopologyError
from p2pqg.topology import heterogeneity_aware
from p2pqg.topology._registry import check_size
from p2pqg.topology.labels import are_integers, in_order, key_of
from p2pqg.topology.schedule import Rounds, Schedule, schedule_of

UNUSED_WEIGHTS = "edge weights are not used; :mixing=given mixes with them"


class Edge(NamedTuple):
    """One line of an edge list; `where` is for messages."""

    source: str
    target: str
    weight: float | None
    where: str


@dataclass(frozen=True)
class Wanted:
    """What a user says beside a file's name, `net.csv:mixing=given`; None: what the file says.

    Attributes:
        rule: mixing rule.
        directed: edges run from sender to receiver.
        clients: their number.
        label_counts: [clients, classes], for networks that look at the clients' labels.
    """

    rule: str | None = None
    directed: bool | None = None
    clients: int | None = None
    label_counts: Any = None


def number_clients(
    edges: list[Edge], clients: int | None, where: str, strict: bool = True
) -> tuple[dict[str, int], tuple[str, ...]]:
    """`key_of` a name -> client, and the labels.

    Integers keep their order, names that of appearance.

    Strict, for files written by hand: integers must be 0 .. n-1 or 1 .. n. Otherwise, for observed
    networks, they may have gaps, as badges and accounts do.

    Raises:
        TopologyError: with `where`, what is wrong, and the repair.
    """
    try:
        found = in_order(name for e in edges for name in (e.source, e.target))
    except TopologyError as error:
        raise TopologyError(f"{where}: {error}") from None
    if not are_integers(found):
        return {key: i for i, key in enumerate(found)}, tuple(found.values())
    known = list(map(int, found))
    lowest, highest = known[0], known[-1]
    named_all = not (clients and len(known) < clients and 0 <= lowest <= highest < clients)
    if not strict and named_all:
        return {key: i for i, key in enumerate(found)}, tuple(found.values())
    least = 0 if lowest == 0 or (clients and highest < clients) else 1
    n = clients or highest - least + 1
    if lowest < 0 or highest - least >= n:
        raise TopologyError(
            f"{where}: clients must be numbered 0 to {max(n, 1) - 1} (or from 1), got {lowest} to "
            f"{highest}. Renumber them, or use names."
        )
    if len(known) < n and not clients:
        gap = next(i for i, number in enumerate(known, least) if number != i)
        raise TopologyError(
            f"{where}: client {gap} has no edge, but the numbers run from {least} to "
            f"{highest}. Add an edge, or renumber the clients."
        )
    check_size(n, 2, where)
    return {key: int(key) - least for key in found}, tuple(str(i + least) for i in range(n))


def graph_of(
    edges: list[Edge], number: dict[str, int], n: int, directed: bool, rule: str | None
) -> nx.Graph | nx.DiGraph:
    """The graph of an edge list; twice the same edge is once."""
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(n))
    for e in edges:
        u, v = number[key_of(e.source)], number[key_of(e.target)]
        if u == v:
            check_loop(e, rule)
        if rule == "given":
            check_weight(e, graph.get_edge_data(u, v, {"weight": e.weight})["weight"])
            graph.add_edge(u, v, weight=e.weight)
        else:
            graph.add_edge(u, v)
    return graph


def check_loop(edge: Edge, rule: str | None) -> None:
    """Refuse an edge of a client to itself, unless it says the client's own weight."""
    if rule != "given":
        raise TopologyError(
            f"{edge.where}: client {edge.source} is joined to itself. "
            "Leave that edge out: everyone hears itself anyway."
        )


def check_weight(edge: Edge, before: float | None) -> None:
    """Refuse an edge without a weight, or with another one than it had where it was named first."""
    if edge.weight is None:
        raise TopologyError(
            f"{edge.where}: edge {edge.source}, {edge.target} has no weight, mixing: given needs "
            "one. Add it, or use mixing: metropolis_hastings."
        )
    if edge.weight != before:
        raise TopologyError(
            f"{edge.where}: edge {edge.source}, {edge.target} has weight {edge.weight}, but "
            f"{before} before. Keep one, or say directed."
        )


def file_schedule(
    network: nx.Graph | Rounds, path: Path, rule: str | None, seen: Any, **about: Any
) -> Schedule:
    """`schedule_of`, whose errors name the file; `seen` are the label counts, if anybody knows."""
    heterogeneity_aware.tell(network, rule, seen, str(path))
    try:
        return heterogeneity_aware.settled(schedule_of(network, str(path), rule, **about))
    except TopologyError as error:
        raise TopologyError(f"{path}: {error}") from None


def finite(cell: str, what: str, where: str) -> float:
    """The number in a cell; a TopologyError if there is none, or it is infinite."""
    value = float(cell) if NUMBER.fullmatch(cell) else float("nan")
    if not isfinite(value):
        raise TopologyError(f"{where}: {what} must be a number, got {cell!r:.60}. Correct it.")
    return value
