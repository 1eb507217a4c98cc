"""Networks in files: YAML, GraphML, and edge lists as CSV.

YAML     graph: ring16 | edges: [[0, 1], ...] | graphs: [...], used in turn | matrix: [[...]]
         and mixing:, directed:, clients:, source:
GraphML  as networkx reads it; weights count with :mixing=given only
CSV      columns source,target[,weight][,round or time]; with round or time a network per round
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.errors import TopologyError, did_you_mean
from p2pqg.topology.mixing import Mixing
from p2pqg.topology.names import network_named, parse, rule_named, split_options
from p2pqg.topology.schedule import Rounds, Schedule, in_turn, schedule_of

SUFFIXES = (".yaml", ".yml", ".graphml", ".csv")
UNUSED_WEIGHTS = "edge weights are not used; :mixing=given mixes with them"


@dataclass(frozen=True)
class Edge:
    """One line of an edge list; `where` is for messages."""

    source: str
    target: str
    weight: float | None
    where: str


def read(text: str, clients: int | None = None) -> Schedule:
    """The network in a file; `net.csv:mixing=given,directed=true` sets what the file leaves open.

    Raises:
        TopologyError: file, line or key, rule and repair.
    """
    path, options = _split_path(text)
    rule = options.pop("mixing", None)
    rule = rule_named(rule, text) if rule else None
    kind = path.suffix.lower()
    allowed = ["directed"] if kind == ".csv" else []
    for key in options:
        if key not in allowed:
            raise TopologyError(
                f"{text!r}: unknown key {key}{did_you_mean(key, ['mixing', *allowed])}"
            )
    if kind not in SUFFIXES:
        raise TopologyError(f"{path}: a file must end in {', '.join(SUFFIXES)}. Rename it.")
    if not path.is_file():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.*")], show_known=False)
        raise TopologyError(f"{path}: no such file{near}")
    if kind == ".csv":
        try:
            directed = parse(options.get("directed", "false"), bool)
        except ValueError as error:
            raise TopologyError(f"{text!r}: directed must be {error}") from None
        schedule = _read_csv(path, rule, directed, clients)
    elif kind == ".graphml":
        schedule = _read_graphml(path, rule)
    else:
        schedule = _read_yaml(path, rule, clients)
    if clients is not None and schedule.num_clients != clients:
        raise TopologyError(
            f"{path}: has {schedule.num_clients} clients, but clients is {clients}. "
            "Leave clients out, or correct the file."
        )
    return schedule


def is_file_name(text: str) -> bool:
    """Whether a topology is the name of a file rather than of a known network."""
    return _split_path(text)[0].suffix.lower() in SUFFIXES or "/" in text.partition(":")[0]


def _split_path(text: str) -> tuple[Path, dict[str, str]]:
    head, colon, tail = text.rpartition(":")
    if colon and Path(head).suffix.lower() in SUFFIXES:
        return Path(head), split_options(tail, text)
    return Path(text), {}


# Edge lists


def _numbers(edges: list[Edge], clients: int | None, where: str) -> tuple[dict[str, int], tuple]:
    """Label -> client, and the labels: integers keep their order, names that of appearance."""
    labels = list(dict.fromkeys(label for e in edges for label in (e.source, e.target)))
    if not all(label.isdecimal() for label in labels):
        return {label: i for i, label in enumerate(labels)}, tuple(labels)
    known = sorted({int(label) for label in labels})
    least = 0 if not known or known[0] == 0 or (clients and known[-1] < clients) else 1
    n = clients or (known[-1] - least + 1 if known else 0)
    if not known or known[0] < least or known[-1] - least >= n:
        wrong = f"got {known[0]} to {known[-1]}" if known else "got no edge"
        raise TopologyError(
            f"{where}: clients must be numbered 0 to {n - 1 if n else 'n - 1'} (or from 1), "
            f"{wrong}. Renumber them, or use names."
        )
    missing = sorted(set(range(least, known[-1] + 1)) - set(known)) if not clients else []
    if missing:
        raise TopologyError(
            f"{where}: client {missing[0]} has no edge, but the numbers run from {least} to "
            f"{known[-1]}. Add an edge, or renumber the clients."
        )
    # int("01") and int("1") are one client
    return {label: int(label) - least for label in labels}, tuple(str(i + least) for i in range(n))


def _graph(
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


def _schedule(network: nx.Graph | Rounds, path: Path, rule: str | None, **about: Any) -> Schedule:
    try:
        return schedule_of(network, str(path), rule, **about)
    except TopologyError as error:
        raise TopologyError(f"{path}: {error}") from None


# CSV


def _read_csv(path: Path, rule: str | None, directed: bool, clients: int | None) -> Schedule:
    edges, times = _csv_edges(path)
    number, labels = _numbers([e for e, _ in edges], clients, str(path))
    about: dict[str, Any] = {"labels": labels}
    if rule != "given" and any(e.weight is not None for e, _ in edges):
        about["notes"] = (f"{str(path)!r}: {UNUSED_WEIGHTS}",)
    if times is None:
        graph = _graph([e for e, _ in edges], number, len(labels), directed, rule)
        return _schedule(graph, path, rule, **about)
    by_round: dict[int, list[Edge]] = {}
    for edge, moment in edges:
        by_round.setdefault(times[moment], []).append(edge)
    graphs = {
        round: _graph(some, number, len(labels), directed, rule) for round, some in by_round.items()
    }
    idle = _graph([], number, len(labels), directed, rule)
    rounds = Rounds(partial(_at, graphs, idle), max(graphs) + 1)
    return _schedule(rounds, path, rule, **about)


def _at(graphs: dict[int, nx.Graph], idle: nx.Graph, round: int) -> nx.Graph:
    """The graph of a round; where the file has no line for it, nobody talks."""
    return graphs.get(round, idle)


def _csv_edges(path: Path) -> tuple[list[tuple[Edge, float]], dict[float, int] | None]:
    """Edges with their moment, and moment -> round (None: the network does not change)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise TopologyError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from None
    lines = csv.reader(text.splitlines())
    header = [name.strip().lower() for name in next(lines, [])]
    known = ["source", "target", "weight", "round", "time"]
    for name in header:
        if {"source", "target"} - set(header) or name not in known or header.count(name) > 1:
            raise TopologyError(
                f"{path}: line 1 must name the columns source,target[,weight][,round or time], "
                f"got {','.join(header)!r}. Correct the header."
            )
    if not header:
        raise TopologyError(f"{path}: is empty. Its first line must be source,target.")
    if "round" in header and "time" in header:
        raise TopologyError(f"{path}: line 1 has both round and time. Leave one out.")
    when = next((name for name in ("round", "time") if name in header), None)
    edges = []
    for cells in lines:
        where = f"{path}: line {lines.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise TopologyError(
                f"{where} must have {len(header)} cells ({','.join(header)}), got {len(cells)}. "
                "Correct the line."
            )
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        if not row["source"] or not row["target"]:
            raise TopologyError(f"{where}: source and target must not be empty. Fill them in.")
        weight = _number(row["weight"], "weight", where) if "weight" in row else None
        moment = _number(row[when], when, where) if when else 0.0
        if when == "round" and (moment < 0 or moment != int(moment)):
            raise TopologyError(f"{where}: round must be an integer >= 0, got {row[when]!r}.")
        edges.append((Edge(row["source"], row["target"], weight, where), moment))
    if not edges:
        raise TopologyError(f"{path}: has no edge. Add a line source,target for each.")
    if when is None:
        return edges, None
    moments = sorted({moment for _, moment in edges})
    if when == "round":
        return edges, {moment: int(moment) for moment in moments}
    return edges, {moment: round for round, moment in enumerate(moments)}


def _number(cell: str, what: str, where: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise TopologyError(f"{where}: {what} must be a number, got {cell!r}. Correct it.")
    return value


# GraphML


def _read_graphml(path: Path, rule: str | None) -> Schedule:
    try:
        found = nx.read_graphml(path)
    except Exception as error:  # networkx lets whatever its XML parser raises through
        raise TopologyError(
            f"{path}: is not GraphML that networkx can read ({error}). "
            "Write it with networkx.write_graphml."
        ) from None
    edges = [
        Edge(str(u), str(v), data.get("weight"), f"{path}: edge {u}, {v}")
        for u, v, data in found.edges(data=True)
    ]
    labels = tuple(str(node) for node in found)
    number = {label: i for i, label in enumerate(labels)}
    if not labels:
        raise TopologyError(f"{path}: has no node. Write it with networkx.write_graphml.")
    unused = rule != "given" and any(e.weight is not None for e in edges)
    return _schedule(
        _graph(edges, number, len(labels), found.is_directed(), rule),
        path,
        rule,
        labels=labels,
        notes=(f"{str(path)!r}: {UNUSED_WEIGHTS}",) if unused else (),
    )


# YAML

KINDS = ("graph", "edges", "graphs", "matrix")
KEYS = (*KINDS, "mixing", "directed", "clients", "source", "description")


def _read_yaml(path: Path, rule: str | None, clients: int | None) -> Schedule:
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
        return _schedule(Rounds(partial(in_turn, graphs), len(graphs)), path, rule, **about)
    if kind == "graph":
        if not isinstance(value, str):
            raise TopologyError(f"{path}: graph must be a name such as ring16, got {value!r:.40}")
        network, _, own_rule, source = _named(value, "graph", path, size or clients)
        about["source"] = about["source"] or source
        return _schedule(network, path, rule or own_rule or None, **about)
    edges = _edges(value, "edges", path, rule)
    number, labels = _numbers(edges, size, f"{path}: edges")
    if size is not None and len(labels) != size:
        raise TopologyError(
            f"{path}: clients must be {len(labels)}, as many as edges name; got {size}"
        )
    graph = _graph(edges, number, len(labels), directed, rule)
    return _schedule(graph, path, rule, labels=labels, **about)


def _typed(found: dict, key: str, kind: type, default: Any, path: Path) -> Any:
    value = found.get(key)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        what = {str: "text", bool: "true or false", int: "an integer"}[kind]
        raise TopologyError(f"{path}: {key} must be {what}, got {value!r:.40}")
    return value


def _named(text: str, key: str, path: Path, clients: int | None) -> tuple:
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
    number, labels = _numbers(edges, clients, f"{path}: {key}")
    if len(labels) != clients:
        raise TopologyError(
            f"{path}: {key} must number its clients 0 to {clients - 1}, not name them"
        )
    return _graph(edges, number, clients, directed, rule)


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
        weight = _number(str(item[2]), "weight", where) if len(item) == 3 else None
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


def schedule_of_arrays(W: np.ndarray, name: str, **about: Any) -> Schedule:
    """The schedule of an array [clients, clients], or [rounds, clients, clients] used in turn."""
    if W.ndim == 2:
        W = W[None]
    if W.ndim != 3 or W.shape[1] != W.shape[2] or 0 in W.shape:
        raise TopologyError(
            f"{name!r}: W must be [clients, clients] or [rounds, clients, clients], got shape "
            f"{list(W.shape)}"
        )
    mixings = tuple(Mixing.from_dense(one) for one in W)
    directed = any(one.graph().is_directed() for one in mixings)
    return Schedule(name, W.shape[1], directed, len(W), partial(in_turn, mixings), **about)
