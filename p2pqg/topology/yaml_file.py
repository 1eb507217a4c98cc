"""Networks in YAML: one of graph, edges, graphs, matrix; and how to weigh them.

graph: ring16                      a known network
edges: [[0, 1], [1, 2, 0.25]]      clients by number or name; a third number is a weight
graphs: [ring16, [[0, 1], ...]]    used in turn
matrix: [[0.5, 0.5], [0.5, 0.5]]   W itself, or a list of them, used in turn
mixing: given                      rule; default metropolis_hastings
directed: true                     edges run from sender to receiver; default false
clients: 4                         default: as many as are named
source: where it comes from
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.csv_file import text_of
from p2pqg.base.errors import TopologyError, did_you_mean
from p2pqg.topology._edges import Edge, Wanted, file_schedule, finite, graph_of, number_clients
from p2pqg.topology.label_counts import LabelsWanted
from p2pqg.topology.names import network_named, rule_named
from p2pqg.topology.schedule import Rounds, Schedule, in_turn, schedule_of_arrays

KEYS = ("mixing", "directed", "clients", "source", "description")


@dataclass(frozen=True)
class Said:
    """What a file says of its network.

    Attributes:
        path: of the file, for messages.
        value: of the key graph, edges, graphs or matrix.
        rule: mixing rule; None: the network's own.
        directed: edges run from sender to receiver.
        clients: their number, in the file; None: it does not say.
        asked: their number, as the user of the file has it, or None.
        source: where the network comes from.
        seen: [clients, classes], for networks that look at the clients' labels.
    """

    path: Path
    value: Any
    rule: str | None
    directed: bool
    clients: int | None
    asked: int | None
    source: str
    seen: Any


def read_yaml(path: Path, wanted: Wanted) -> Schedule:
    """The network in a YAML file.

    Raises:
        TopologyError: file, key, rule and repair.
    """
    found = _mapping(path)
    (kind,) = [key for key in KINDS if key in found]
    own_rule = _typed(found, "mixing", str, None, path)
    clients = _typed(found, "clients", int, None, path)
    if clients is not None and clients < 1:
        raise TopologyError(f"{path}: clients must be >= 1, got {clients}. Correct it.")
    return KINDS[kind](
        Said(
            path,
            found[kind],
            wanted.rule or (rule_named(own_rule, str(path)) if own_rule else None),
            _typed(found, "directed", bool, False, path),
            clients,
            wanted.clients,
            _typed(found, "source", str, "", path),
            wanted.label_counts,
        )
    )


def _mapping(path: Path) -> dict[str, Any]:
    """The keys of a file, all of them known, one of them a network."""
    from p2pqg.base import yaml_text  # PyYAML: only for whoever has such a file

    try:
        found = yaml_text.parse(text_of(path))
    except yaml_text.NotYaml as error:
        line = f" line {error.line}:" if error.line else ""
        raise TopologyError(f"{path}:{line} is not YAML: {error}. Correct it.") from None
    if not isinstance(found, dict):
        raise TopologyError(
            f"{path}: must have keys (one of {', '.join(KINDS)}), got {found!r:.40}"
        )
    for key in found:
        if key not in (*KINDS, *KEYS):
            known = did_you_mean(str(key), (*KINDS, *KEYS))
            raise TopologyError(f"{path}: unknown key {key!s:.60}{known}")
    kinds = [key for key in KINDS if key in found]
    if len(kinds) != 1:
        said = " and ".join(kinds) or "none"
        raise TopologyError(f"{path}: needs exactly one of {', '.join(KINDS)}; got {said}")
    return found


def _typed(found: dict[str, Any], key: str, kind: type, default: Any, path: Path) -> Any:
    value = found.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        what = {str: "text", bool: "true or false", int: "an integer"}[kind]
        raise TopologyError(f"{path}: {key} must be {what}, got {value!r:.40}")
    return value


# One reader for each kind


def _graph(said: Said) -> Schedule:
    """`graph:`, a known network by its name."""
    if not isinstance(said.value, str):
        raise TopologyError(
            f"{said.path}: graph must be a name such as ring16, got {said.value!r:.40}"
        )
    network, _, own, source = _named(said.value, "graph", said)
    rule = said.rule or own or None
    return file_schedule(network, said.path, rule, said.seen, source=said.source or source)


def _edges(said: Said) -> Schedule:
    """`edges:`, a list of pairs."""
    edges = _edge_list(said.value, "edges", said)
    number, labels = number_clients(edges, said.clients, f"{said.path}: edges")
    if said.clients is not None and len(labels) != said.clients:
        raise TopologyError(
            f"{said.path}: clients must be {len(labels)}, as many as edges name; got {said.clients}"
        )
    graph = graph_of(edges, number, len(labels), said.directed, said.rule)
    return file_schedule(graph, said.path, said.rule, said.seen, labels=labels, source=said.source)


def _graphs(said: Said) -> Schedule:
    """`graphs:`, several networks that are used in turn."""
    if not isinstance(said.value, list) or not said.value:
        raise TopologyError(
            f"{said.path}: graphs must be a list of networks, got {said.value!r:.40}"
        )
    graphs = [_one_graph(item, f"graphs[{i}]", said) for i, item in enumerate(said.value)]
    sizes = [len(graph) for graph in graphs]
    if len(set(sizes)) > 1:
        raise TopologyError(
            f"{said.path}: graphs must all have the same clients, got {sizes}. Correct the names."
        )
    network = Rounds(partial(in_turn, graphs), len(graphs))
    return file_schedule(network, said.path, said.rule, said.seen, source=said.source)


def _one_graph(item: Any, key: str, said: Said) -> nx.Graph:
    """One of `graphs:`, a name or a list of edges between clients 0 .. n-1."""
    clients = said.clients or said.asked
    if isinstance(item, str):
        network = _named(item, key, said)[0]
        if isinstance(network, Rounds):
            raise TopologyError(
                f"{said.path}: {key} must not change itself, {item} does. Use edges."
            )
        return network
    edges = _edge_list(item, key, said)
    if clients is None:
        raise TopologyError(
            f"{said.path}: graphs made of edges need clients: their number. Add it."
        )
    number, labels = number_clients(edges, clients, f"{said.path}: {key}")
    if len(labels) != clients:
        raise TopologyError(
            f"{said.path}: {key} must number its clients 0 to {clients - 1}, not name them"
        )
    return graph_of(edges, number, clients, said.directed, said.rule)


def _matrix(said: Said) -> Schedule:
    """`matrix:`, W or several of them, used in turn."""
    if said.rule not in (None, "given"):
        raise TopologyError(
            f"{said.path}: mixing must be given where there is a matrix, got {said.rule}"
        )
    try:
        W = np.asarray(said.value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TopologyError(
            f"{said.path}: matrix must be rows of numbers, all as long as there are clients. "
            "Correct it."
        ) from None
    return schedule_of_arrays(W, str(said.path), source=said.source)


KINDS = {"graph": _graph, "edges": _edges, "graphs": _graphs, "matrix": _matrix}


def _named(text: str, key: str, said: Said) -> tuple[Any, str, str, str]:
    """`network_named`, whose errors name the file and the key."""
    try:
        return network_named(text, said.clients or said.asked, said.seen)
    except LabelsWanted:
        raise
    except TopologyError as error:
        raise TopologyError(f"{said.path}: {key}: {error}") from None


def _edge_list(value: Any, key: str, said: Said) -> list[Edge]:
    """A list of [client, client] or [client, client, weight]."""
    if not isinstance(value, list) or not value:
        raise TopologyError(
            f"{said.path}: {key} must be a list of [client, client], got {value!r:.40}"
        )
    return [_edge(item, f"{said.path}: {key}[{i}]", said.rule) for i, item in enumerate(value)]


def _edge(item: Any, where: str, rule: str | None) -> Edge:
    if not isinstance(item, list) or len(item) not in (2, 3):
        raise TopologyError(
            f"{where} must be [client, client] or [client, client, weight], got {item!r:.40}"
        )
    if not all(map(_is_client, item[:2])):
        raise TopologyError(
            f"{where}: clients must be numbers or names, got {item!r:.40}. Put names in quotes."
        )
    weight = finite(str(item[2]), "weight", where) if len(item) == 3 else None
    if weight is not None and rule is None:
        raise TopologyError(
            f"{where} has a weight, but the file does not say what for. Add mixing: given to "
            "mix with it, or mixing: metropolis_hastings to leave it aside."
        )
    return Edge(str(item[0]), str(item[1]), weight, where)


def _is_client(value: Any) -> bool:
    """A name or a whole number; YAML makes booleans of yes and no, and dates of dates."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, (int, str)) and not isinstance(value, bool)
