"""A network that was given as an object, as the content of a file that makes the same network."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from p2pqg.base.errors import TopologyError
from p2pqg.topology.build import build
from p2pqg.topology.files import read
from p2pqg.topology.schedule import Schedule

STEM = "own_topology"


def copy_of(value: Any) -> tuple[str, bytes]:
    """A graph or array as a file.

    Args:
        value: a graph of networkx, or an array, tensor or sparse matrix [clients, clients] or
            [rounds, clients, clients].

    Returns:
        What a recipe calls the file (its name, and how it is mixed), and its content.

    Raises:
        ValueError: no file makes the same network; says why, as a part of a sentence.
        TopologyError: it is no network at all.
    """
    loose: dict[str, Any] = {"allow_disconnected": True, "allow_row_stochastic": True}
    given = build(value, needs=("column-stochastic",), **loose)
    if isinstance(value, nx.Graph):
        name, content = f"{STEM}.graphml", _graphml(value)
    else:
        stream = io.BytesIO()
        rounds = [given.mixing(k).dense() for k in range(given.period or 1)]
        W = rounds[0] if len(rounds) == 1 else np.stack(rounds)
        np.save(stream, np.asarray(W, dtype=np.float64), allow_pickle=False)
        name, content = f"{STEM}.npy:mixing=given", stream.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        file, colon, options = name.partition(":")
        (Path(folder) / file).write_bytes(content)
        try:
            same = _same(given, read(f"{Path(folder) / file}{colon}{options}"))
        except TopologyError as error:
            raise ValueError(f"cannot be written to a file ({error})") from error
    if not same:
        raise ValueError("is another network once it is written to a file and read again")
    return name, content


def _graphml(graph: nx.Graph) -> bytes:
    """Nodes and edges in their order, with weights and nothing else."""
    bare = graph.__class__()
    bare.add_nodes_from(map(str, graph))
    bare.add_edges_from(
        (str(u), str(v), {"weight": float(data["weight"])} if "weight" in data else {})
        for u, v, data in graph.edges(data=True)
    )
    stream = io.BytesIO()
    nx.write_graphml(bare, stream)
    return stream.getvalue()


def _same(one: Schedule, other: Schedule) -> bool:
    if (one.num_clients, one.period, one.labels) != (other.num_clients, other.period, other.labels):
        numbers = tuple(map(str, range(one.num_clients)))
        if (one.labels or numbers, one.period) != (other.labels or numbers, other.period):
            return False
    rounds = range(one.period or 1)
    return all(np.array_equal(one.mixing(k).dense(), other.mixing(k).dense()) for k in rounds)
