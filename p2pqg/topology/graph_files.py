"""Networks in the formats of graph programs: GraphML, GEXF, GML, Pajek, METIS, lists of edges.

They are read by networkx, and only where it is certain what they say: parts of a format that it
leaves out without a word (mixed edges, times, weights of METIS) are refused.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

import networkx as nx

from p2pqg.base.csv_file import text_of
from p2pqg.base.errors import ConfigError, TopologyError
from p2pqg.topology._edges import (
    UNUSED_WEIGHTS,
    Edge,
    Wanted,
    file_schedule,
    graph_of,
    number_clients,
)
from p2pqg.topology.labels import in_order
from p2pqg.topology.schedule import Schedule


def graph_in(path: Path) -> nx.Graph:
    """The graph in a file; its nodes are what they are called there.

    Raises:
        TopologyError: networkx cannot read it, or not for certain.
    """
    read, name, write = FORMATS[path.suffix.lower()]
    try:
        graph = read(path)
    except ConfigError:
        raise
    except OSError as error:
        raise TopologyError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # networkx lets whatever its parsers raise through
        why = str(error) or type(error).__name__
        raise TopologyError(
            f"{path}: is not {name} that networkx can read ({why:.200}). {write}."
        ) from None
    if not len(graph):
        raise TopologyError(f"{path}: has no node. {write}.")
    return graph


def read_graph(path: Path, wanted: Wanted) -> Schedule:
    """The network in a file of a graph program.

    Raises:
        TopologyError: it cannot be read, or its edges cannot be used.
    """
    graph = graph_in(path)
    try:
        labels = in_order(graph)
    except TopologyError as error:
        raise TopologyError(f"{path}: {error}") from None
    if len(labels) < len(graph):
        raise TopologyError(f"{path}: two of its nodes have one name. Rename one.")
    number = {key: i for i, key in enumerate(labels)}
    edges = [
        Edge(str(u), str(v), data.get("weight"), f"{path}: edge {u}, {v}")
        for u, v, data in graph.edges(data=True)
    ]
    rule = wanted.rule
    unused = rule != "given" and any(e.weight not in (None, 1) for e in edges)
    return file_schedule(
        graph_of(edges, number, len(labels), graph.is_directed(), rule),
        path,
        rule,
        wanted.label_counts,
        labels=tuple(labels.values()),
        notes=(f"{str(path)!r}: {UNUSED_WEIGHTS}",) if unused else (),
    )


def _no_entities(path: Path) -> None:
    """Refuse XML that declares entities: they can stand for other files, or for gigabytes."""
    parser = expat.ParserCreate()

    def refuse(name: str, *about: Any) -> None:
        raise TopologyError(
            f"{path}: declares an XML entity, {name:.40}, which no graph needs and which may stand "
            "for other files. Take the DOCTYPE out."
        )

    def done(*element: Any) -> None:
        raise StopIteration  # entities are declared before the first element, or nowhere

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = done
    with path.open("rb") as file:
        try:
            parser.ParseFile(file)
        except StopIteration:
            return


def _graphml(path: Path) -> nx.Graph:
    _no_entities(path)
    return nx.read_graphml(path)


def _gexf(path: Path) -> nx.Graph:
    _no_entities(path)
    graph = nx.read_gexf(path)
    if graph.graph.get("mode") == "dynamic":
        raise ValueError("its edges have times, which networkx leaves out")
    called = [data.get("label", node) for node, data in graph.nodes(data=True)]
    if len(set(called)) < len(called):
        return graph
    return nx.relabel_nodes(graph, dict(zip(graph, called, strict=True)))


def _gml(path: Path) -> nx.Graph:
    text = text_of(path).encode("ascii", "xmlcharrefreplace").decode()  # as GML wants it
    try:
        return nx.parse_gml(text)
    except nx.NetworkXError as error:
        if "'label'" not in str(error):
            raise
        return nx.parse_gml(text, label="id")


def _pajek(path: Path) -> nx.Graph:
    lines = [line for line in text_of(path).splitlines() if not line.startswith("%")]
    parts = [line.lower().split() for line in lines if line.startswith("*")]
    words = [part[0] for part in parts if part[0] != "*network"]
    if len(words) != 2 or words[0] != "*vertices" or words[1] not in ("*edges", "*arcs", "*matrix"):
        raise ValueError(f"it must have *Vertices and one of *Edges, *Arcs, *Matrix, got {words}")
    graph = nx.parse_pajek(lines)
    said = next(int(part[1]) for part in parts if part[0] == "*vertices")
    if len(graph) != said:
        raise ValueError(f"it says {said} vertices, but names {len(graph)}")
    return graph


def _metis(path: Path) -> nx.Graph:
    header, *lines = [line for line in text_of(path).splitlines() if not line.startswith("%")]
    nodes, edges, *kind = map(int, header.split())
    while len(lines) > nodes and not lines[-1].strip():
        lines.pop()
    if any(kind):
        raise ValueError(f"its edges or nodes have weights (fmt {kind[0]})")
    if len(lines) != nodes:
        raise ValueError(f"it says {nodes} nodes, but has {len(lines)} lines")
    neighbors = (f"{node} {line}" for node, line in enumerate(lines, 1))
    graph = nx.parse_adjlist(neighbors, nodetype=int)
    if graph.number_of_edges() != edges or len(graph) != nodes:
        raise ValueError(f"it says {edges} edges, but has {graph.number_of_edges()}")
    return graph


Read = Callable[[Path], nx.Graph]
FORMATS: dict[str, tuple[Read, str, str]] = {
    ".graphml": (_graphml, "GraphML", "Write it with networkx.write_graphml"),
    ".gexf": (_gexf, "GEXF", "Write it as GraphML"),
    ".gml": (_gml, "GML", "Write it as GraphML"),
    ".net": (_pajek, "Pajek", "Write it as GraphML"),
    ".paj": (_pajek, "Pajek", "Write it as GraphML"),
    ".graph": (_metis, "METIS", "Write it as GraphML"),
    ".metis": (_metis, "METIS", "Write it as GraphML"),
}
"""Suffix -> how it is read, what it is called, and what helps where it is not."""

EDGE_LISTS = (".txt", ".edges", ".edgelist")
WAY = re.compile(r"\W*(un)?directed graph\b", re.IGNORECASE)


def read_edge_list(path: Path, wanted: Wanted) -> Schedule:
    """The network in a list of edges as of SNAP or networkx: two clients a line, # for comments.

    A comment may say whether the graph is directed, as those of SNAP do.

    Raises:
        TopologyError: a line says more, or less, than that.
    """
    edges, directed = [], wanted.directed
    for at, line in enumerate(text_of(path).splitlines(), 1):
        where = f"{path}: line {at}"
        if line.lstrip()[:1] in ("#", "%", ""):
            way = WAY.match(line)
            if way and directed is None:
                directed = way[1] is None
            continue
        cells = line.split(maxsplit=2)
        if len(cells) < 2:
            raise TopologyError(f"{where} must name two clients, got {line!r:.60}. Correct it.")
        edges.append(Edge(cells[0], cells[1], _weight(cells[2:], path, where), where))
    if not edges:
        raise TopologyError(f"{path}: has no edge. Add a line with two clients for each.")
    number, labels = number_clients(edges, wanted.clients, str(path), strict=False)
    rule = wanted.rule
    unused = rule != "given" and any(e.weight is not None for e in edges)
    return file_schedule(
        graph_of(edges, number, len(labels), bool(directed), rule),
        path,
        rule,
        wanted.label_counts,
        labels=labels,
        notes=(f"{str(path)!r}: {UNUSED_WEIGHTS}",) if unused else (),
    )


def _weight(rest: list[str], path: Path, where: str) -> float | None:
    """The weight in what networkx writes behind an edge, {'weight': 0.5}."""
    if not rest:
        return None
    try:
        data = ast.literal_eval(rest[0])
        if isinstance(data, dict):
            return None if data.get("weight") is None else float(data["weight"])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        pass
    raise TopologyError(
        f"{where} has more than two clients, and it is not said what {rest[0]!r:.40} is, a weight "
        "or a time. Convert it to CSV, where columns have names:\n"
        "import pandas as pd\n"
        f"pd.read_csv({path.name!r}, sep=r'\\s+', comment='#', usecols=[0, 1, 2], "
        f"names=['source', 'target', 'time']).to_csv({path.stem + '.csv'!r}, index=False)"
    )
