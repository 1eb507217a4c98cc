"""Networks in CSV: columns source,target[,weight][,round or time].

With round or time there is a network per round, used in turn; the numbers in `round` are taken at
their word (where there is no line nobody talks), those in `time` are only put in order.
"""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import networkx as nx

from p2pqg.base.errors import TopologyError
from p2pqg.topology._edges import (
    UNUSED_WEIGHTS,
    Edge,
    file_schedule,
    finite,
    graph_of,
    number_clients,
)
from p2pqg.topology.schedule import Rounds, Schedule


def read_csv(path: Path, rule: str | None, directed: bool, clients: int | None) -> Schedule:
    edges, times = _csv_edges(path)
    number, labels = number_clients([e for e, _ in edges], clients, str(path), strict=False)
    about: dict[str, Any] = {"labels": labels}
    if rule != "given" and any(e.weight is not None for e, _ in edges):
        about["notes"] = (f"{str(path)!r}: {UNUSED_WEIGHTS}",)
    if times is None:
        graph = graph_of([e for e, _ in edges], number, len(labels), directed, rule)
        return file_schedule(graph, path, rule, **about)
    by_round: dict[int, list[Edge]] = {}
    for edge, moment in edges:
        by_round.setdefault(times[moment], []).append(edge)
    graphs = {
        round: graph_of(some, number, len(labels), directed, rule)
        for round, some in by_round.items()
    }
    idle = graph_of([], number, len(labels), directed, rule)
    rounds = Rounds(partial(_at, graphs, idle), max(graphs) + 1)
    return file_schedule(rounds, path, rule, **about)


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
        weight = finite(row["weight"], "weight", where) if "weight" in row else None
        moment = finite(row[when], when, where) if when else 0.0
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
