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

from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError, did_you_mean
from p2pqg.topology._edges import Edge, file_schedule, finite, graph_of, number_clients
from p2pqg.topology.names import network_named, rule_named
from p2pqg.topology.schedule import Rounds, Schedule, in_turn, schedule_of_arrays

KINDS = ("graph", "edges", "graphs", "matrix")
KEYS = (*KINDS, "mixing", "directed", "clients", "source", "description")


def read_yaml(path: Path, rule: str | None, clients: int | None) -> Schedule:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or "is not UTF-8 text"
        raise TopologyError(f"{path}:{line} is not YAML: {problem}. Correct it.") from None
    if not isinstance(found, dict):
        raise TopologyError(
            f"{path}: must have keys (one of {', '.join(KINDS)}), got {found!r:.40}"
        )
    for key in found:
        if key not in KEYS:
            raise TopologyError(f"{path}: unknown key {key}{did_you_mean(str(key), KEYS)}")
    kinds = [key for key in KINDS if key in found]
    if len(kinds) != 1:
        said = " and ".join(kinds) or "none"
        raise TopologyError(f"{path}: needs exactly one of {', '.join(KINDS)}; got {said}")
    said_rule = _typed(found, "mixing", str, None, path)
    rule = rule or (rule_named(said_rule, str(path)) if said_rule else None)
    directed = _typed(found, "directed", bool, False, path)
    size = _typed(found, "clients", int, None, path)
    if size is not None and size < 1:
        raise TopologyError(f"{path}: clients must be >= 1, got {size}")
    about = {"source": _typed(found, "source", str, "", path)}
    kind, value = kinds[0], found[kinds[0]]
    if kind == "matrix":
        if rule not in (None, "given"):
            raise TopologyError(f"{path}: mixing must be given where there is a matrix, got {rule}")
        return _matrices(value, path, about)
    if kind == "graphs":
        if not isinstance(value, list) or not value:
            raise TopologyError(f"{path}: graphs must be a list of networks, got {value!r:.40}")
        size = size or clients
        graphs = [
            _part(item, f"graphs[{i}]", path, size, directed, rule) for i, item in enumerate(value)
        ]
        sizes = [len(graph) for graph in graphs]
        if len(set(sizes)) > 1:
            raise TopologyError(
                f"{path}: graphs must all have the same clients, got {sizes}. Correct the names."
            )
        return file_schedule(Rounds(partial(in_turn, graphs), len(graphs)), path, rule, **about)
    if kind == "graph":
        if not isinstance(value, str):
            raise TopologyError(f"{path}: graph must be a name such as ring16, got {value!r:.40}")
        network, _, own_rule, source = _named(value, "graph", path, size or clients)
        about["source"] = about["source"] or source
        return file_schedule(network, path, rule or own_rule or None, **about)
    edges = _edges(value, "edges", path, rule)
    number, labels = number_clients(edges, size, f"{path}: edges")
    if size is not None and len(labels) != size:
        raise TopologyError(
            f"{path}: clients must be {len(labels)}, as many as edges name; got {size}"
        )
    graph = graph_of(edges, number, len(labels), directed, rule)
    return file_schedule(graph, path, rule, labels=labels, **about)


def _typed(found: dict[str, Any], key: str, kind: type, default: Any, path: Path) -> Any:
    value = found.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        what = {str: "text", bool: "true or false", int: "an integer"}[kind]
        raise TopologyError(f"{path}: {key} must be {what}, got {value!r:.40}")
    return value


def _named(text: str, key: str, path: Path, clients: int | None) -> tuple[Any, str, str, str]:
    try:
        return network_named(text, clients)
    except TopologyError as error:
        raise TopologyError(f"{path}: {key}: {error}") from None


def _part(
    item: Any, key: str, path: Path, clients: int | None, directed: bool, rule: str | None
) -> nx.Graph:
    """One of `graphs:`, a name or a list of edges between clients 0 .. n-1."""
    if isinstance(item, str):
        network = _named(item, key, path, clients)[0]
        if isinstance(network, Rounds):
            raise TopologyError(f"{path}: {key} must not change itself, {item} does. Use edges.")
        return network
    edges = _edges(item, key, path, rule)
    if clients is None:
        raise TopologyError(f"{path}: graphs made of edges need clients: their number. Add it.")
    number, labels = number_clients(edges, clients, f"{path}: {key}")
    if len(labels) != clients:
        raise TopologyError(
            f"{path}: {key} must number its clients 0 to {clients - 1}, not name them"
        )
    return graph_of(edges, number, clients, directed, rule)


def _edges(value: Any, key: str, path: Path, rule: str | None) -> list[Edge]:
    if not isinstance(value, list) or not value:
        raise TopologyError(f"{path}: {key} must be a list of [client, client], got {value!r:.40}")
    edges = []
    for i, item in enumerate(value):
        where = f"{path}: {key}[{i}]"
        if not isinstance(item, list) or len(item) not in (2, 3):
            raise TopologyError(
                f"{where} must be [client, client] or [client, client, weight], got {item!r:.40}"
            )
        if not all(isinstance(c, (int, str)) and not isinstance(c, bool) for c in item[:2]):
            raise TopologyError(f"{where}: clients must be numbers or names, got {item!r:.40}")
        weight = finite(str(item[2]), "weight", where) if len(item) == 3 else None
        if weight is not None and rule is None:
            raise TopologyError(
                f"{where} has a weight, but the file does not say what for. Add mixing: given to "
                "mix with it, or mixing: metropolis_hastings to leave it aside."
            )
        edges.append(Edge(str(item[0]), str(item[1]), weight, where))
    return edges


def _matrices(value: Any, path: Path, about: dict[str, str]) -> Schedule:
    try:
        W = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise TopologyError(
            f"{path}: matrix must be rows of numbers, all as long as there are clients. Correct it."
        ) from None
    return schedule_of_arrays(W, str(path), **about)
