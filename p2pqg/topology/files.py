"""Networks in files -> Schedule: .yaml (yaml_file.py), .csv (csv_file.py), .graphml (here)."""

from __future__ import annotations

from pathlib import Path

import networkx as nx

from p2pqg.base.errors import TopologyError, did_you_mean
from p2pqg.topology._edges import UNUSED_WEIGHTS, Edge, file_schedule, graph_of
from p2pqg.topology.csv_file import read_csv
from p2pqg.topology.labels import in_order
from p2pqg.topology.names import parse, rule_named, split_options
from p2pqg.topology.schedule import Schedule
from p2pqg.topology.yaml_file import read_yaml

SUFFIXES = (".yaml", ".yml", ".graphml", ".csv")


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
        schedule = read_csv(path, rule, directed, clients)
    elif kind == ".graphml":
        schedule = _read_graphml(path, rule)
    else:
        schedule = read_yaml(path, rule, clients)
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


def _read_graphml(path: Path, rule: str | None) -> Schedule:
    try:
        found = nx.read_graphml(path)
    except Exception as error:  # networkx lets whatever its XML parser raises through
        raise TopologyError(
            f"{path}: is not GraphML that networkx can read ({error}). "
            "Write it with networkx.write_graphml."
        ) from None
    if not len(found):
        raise TopologyError(f"{path}: has no node. Write it with networkx.write_graphml.")
    try:
        labels = in_order(found)
    except TopologyError as error:
        raise TopologyError(f"{path}: {error}") from None
    edges = [
        Edge(str(u), str(v), data.get("weight"), f"{path}: edge {u}, {v}")
        for u, v, data in found.edges(data=True)
    ]
    number = {key: i for i, key in enumerate(labels)}
    unused = rule != "given" and any(e.weight is not None for e in edges)
    return file_schedule(
        graph_of(edges, number, len(labels), found.is_directed(), rule),
        path,
        rule,
        labels=tuple(labels.values()),
        notes=(f"{str(path)!r}: {UNUSED_WEIGHTS}",) if unused else (),
    )
