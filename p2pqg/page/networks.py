"""What is known of a run's network: its links and traffic, its clients' names and shards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.dotted import flat
from p2pqg.base.errors import P2pqgError
from p2pqg.base.hub import no_downloads
from p2pqg.base.text import without_folders
from p2pqg.data import label_counts
from p2pqg.network import Network
from p2pqg.network.verbs import GROWING
from p2pqg.recipe.own_files import from_copies
from p2pqg.results.alike import own_files
from p2pqg.results.changes import arcs_of
from p2pqg.results.parquet import read_rows
from p2pqg.results.standing import Standing
from p2pqg.topology import TOPOLOGIES, Schedule
from p2pqg.topology import build as build_topology
from p2pqg.topology.names import split_name

ONLY_LINKS = "of which only the links are on record"

SHARDS_DEPEND_ON = (
    *("topology", "clients", "alpha", "partition", "dataset", "data_dir", "seed"),
    "validation",  # its samples are taken from the shards
)
"""Settings; runs that differ in nothing of these, and in no file of the user's, have the same
shards."""


def shards_of(shown: Iterable[Standing]) -> list[tuple[np.ndarray | None, str]]:
    """Training samples by client and class of every run, worked out again from its recipe.

    Of data that are here: a page is no reason to fetch them.

    Returns:
        For each run ([clients, classes], "") or (None, why not); one array for equal shards.
    """
    known: dict[str, tuple[np.ndarray | None, str]] = {}
    equal: dict[tuple[tuple[int, ...], bytes], np.ndarray] = {}
    found = []
    for one in shown:
        settings = [one.config.get(key) for key in SHARDS_DEPEND_ON]
        key = json.dumps([*settings, own_files(one)], default=str)
        if key not in known:
            counts, why = _shards_of(one)
            if counts is not None:
                counts = equal.setdefault((counts.shape, counts.tobytes()), counts)
            known[key] = counts, why
        found.append(known[key])
    return found


def _shards_of(one: Standing) -> tuple[np.ndarray | None, str]:
    from p2pqg.recipe.learning import shards
    from p2pqg.recipe.settings import read_config

    try:
        with no_downloads():
            arrays, parts = shards(read_config(_with_copies(one)))
        return label_counts(parts, arrays.train_y, arrays.num_classes), ""
    except P2pqgError as error:
        return None, _told(str(error).partition("\n")[0], one.config)


def _told(text: str, config: Mapping[str, Any]) -> str:
    """A text about a recipe, without the folders of the machine that are named there."""
    short = flat(without_folders(config))
    for key, value in flat(config).items():
        if isinstance(value, str) and short[key] != value:
            text = text.replace(value, short[key])
    return text


def _with_copies(one: Standing) -> dict[str, Any]:
    """A run's recipe, which finds the copies of the user's files that the run kept."""
    return one.config | (from_copies(one.config, one.path) if one.path else {})


def network_of(shown: Standing) -> Schedule | None:
    """The network of a run, from its own copy of a file.

    None if that is gone or wrong, or an older version drew another one by that name.
    """
    if shown.is_redrawn:
        return None
    settings = _with_copies(shown)
    name = without_folders(str(shown.config["topology"]))
    try:
        built = build_topology(str(settings["topology"]), clients=settings["clients"])
        return replace(built, name=name) if built.name == str(settings["topology"]) else built
    except P2pqgError:
        return None


def network_now(shown: Standing) -> tuple[Network | None, bool]:
    """The network of a run as it became, and whether that is on record.

    Where it is not, as in runs of older versions, it is the network of the start.
    """
    if shown.live_network is not None:
        return shown.live_network, True
    start, became = network_of(shown), shown.summary.get("network")
    grown = any(what.startswith(tuple(GROWING)) for _, what in shown.events)
    if not isinstance(became, dict) or (grown and "links" not in became):
        return (Network(start) if start else None), not shown.events
    try:
        base = _rebuilt(became) if "links" in became else start
        if base is None:
            return None, False
        return Network(
            base,
            cut=frozenset((int(a), int(b)) for a, b in became.get("links_down", ())),
            absent=frozenset(map(int, became.get("clients_absent", ()))),
        ), True
    except (P2pqgError, KeyError, TypeError, ValueError):
        return (Network(start) if start else None), False


def _rebuilt(became: dict[str, Any]) -> Schedule:
    """A network that took the place of the recipe's: that of its name, if its links are these.

    Else as far as a drawing needs it, with ONLY_LINKS as its note.
    """
    name, n = str(became.get("topology")), int(became["clients"])
    arcs = {(int(a), int(b)) for a, b in became.get("links", ())}
    with suppress(P2pqgError):
        if split_name(name)[0] in TOPOLOGIES:
            named = build_topology(name, clients=n, needs=("column-stochastic",))
            if arcs_of(named) == arcs:
                return named
    graph = nx.DiGraph() if became.get("directed") else nx.Graph()
    graph.add_nodes_from(range(n))
    graph.add_edges_from(arcs)
    labels = tuple(map(str, became.get("labels") or ()))
    return replace(build_topology(graph), name=name, labels=labels, notes=(ONLY_LINKS,))


def traffic_of(shown: Standing) -> dict[tuple[int, int], float]:
    """Bytes that went over each link, both ways together: links.parquet; {} without one."""
    file = None if shown.run is None else shown.run.path / "links.parquet"
    if file is None or not file.exists():
        return {}
    found: dict[tuple[int, int], float] = {}
    with suppress(OSError, ValueError, KeyError, TypeError):  # a broken one: widths are no need
        for row in read_rows(file):
            a, b = int(row["sender"]), int(row["receiver"])
            found[min(a, b), max(a, b)] = found.get((min(a, b), max(a, b)), 0.0) + row["bytes"]
    return found


def called(network: Network | None, client: int) -> str:
    """A client's name, or its number."""
    known = network is not None and client < network.num_clients
    return network.base.called(client) if network and known else str(client)
