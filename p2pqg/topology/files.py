"""Networks in files -> Schedule, by their suffix: which one is read by which reader."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError, TopologyError, did_you_mean
from p2pqg.base.text import user_path
from p2pqg.topology._edges import Wanted
from p2pqg.topology.csv_file import read_csv
from p2pqg.topology.graph_files import EDGE_LISTS, FORMATS, read_edge_list, read_graph
from p2pqg.topology.matrix_file import read_npy
from p2pqg.topology.names import parse, rule_named, split_options
from p2pqg.topology.schedule import Schedule
from p2pqg.topology.yaml_file import read_yaml

READERS: dict[str, Callable[[Path, Wanted], Schedule]] = {
    ".yaml": read_yaml,
    ".yml": read_yaml,
    ".csv": read_csv,
    ".npy": read_npy,
    **dict.fromkeys(FORMATS, read_graph),
    **dict.fromkeys(EDGE_LISTS, read_edge_list),
}
SUFFIXES = tuple(READERS)
MAY_BE_DIRECTED = (".csv", ".npy", *EDGE_LISTS)
"""Suffixes of files that do not say themselves whether their edges go one way."""
CONVERT = {
    ".json": (
        "import json, pathlib as p, networkx as nx; text = p.Path({name!r}).read_text()",
        "nx.write_graphml(nx.node_link_graph(json.loads(text)), {stem!r} + '.graphml')",
    ),
    ".mtx": (
        "import numpy, scipy.io",
        "numpy.save({stem!r} + '.npy', scipy.io.mmread({name!r}).toarray())",
    ),
    ".npz": (
        "import numpy, scipy.sparse",
        "numpy.save({stem!r} + '.npy', scipy.sparse.load_npz({name!r}).toarray())",
    ),
    ".tsv": (
        "import pandas as pd",
        "pd.read_csv({name!r}, sep='\\t').to_csv({stem!r} + '.csv', index=False)",
    ),
    ".xlsx": (
        "import pandas as pd",
        "pd.read_excel({name!r}).to_csv({stem!r} + '.csv', index=False)",
    ),
    "": (
        "import networkx as nx",
        "nx.write_graphml(nx.read_edgelist({name!r}), {stem!r} + '.graphml')  # or what it holds",
    ),
}
"""Suffix that is not read -> the two lines of Python that make a file which is."""


def read(text: str, clients: int | None = None, label_counts: Any = None) -> Schedule:
    """The network in a file; `net.csv:mixing=given,directed=true` sets what the file leaves open.

    `label_counts`, [clients, classes], is for networks that look at the clients' labels.

    Raises:
        TopologyError: file, line or key, rule and repair.
    """
    path, options = _split_path(text)
    rule = options.pop("mixing", None)
    rule = rule_named(rule, text) if rule else None
    kind = path.suffix.lower()
    allowed = ["directed"] if kind in MAY_BE_DIRECTED else []
    for key in options:
        if key not in allowed:
            raise TopologyError(
                f"{text!r:.80}: unknown key {key:.60}{did_you_mean(key, ['mixing', *allowed])}"
            )
    if not os.path.isfile(path):
        near = did_you_mean(path.name, _beside(path), show_known=False)
        why = "a folder, and no file" if os.path.isdir(path) else f"no such file{near}"
        raise TopologyError(f"{str(path)[:200]}: {why}")
    if kind not in READERS:
        raise TopologyError(not_read(path))
    try:
        directed = parse(options["directed"], bool) if "directed" in options else None
    except ValueError as error:
        raise TopologyError(f"{text!r:.80}: directed must be {error}") from None
    try:
        schedule = READERS[kind](path, Wanted(rule, directed, clients, label_counts))
    except TopologyError:
        raise
    except ConfigError as error:
        raise TopologyError(str(error)) from None
    if clients is not None and schedule.num_clients != clients:
        raise TopologyError(
            f"{path}: has {schedule.num_clients} clients, but clients is {clients}. "
            "Leave clients out, or correct the file."
        )
    return schedule


def not_read(path: Path) -> str:
    """The message that a file is of no format that is read, with what converts it."""
    lines = CONVERT.get(path.suffix.lower(), CONVERT[""])
    about = {"name": path.name, "stem": path.stem}
    return "\n".join(
        [
            f"{path}: is not in a format that is read ({', '.join(SUFFIXES)}). Convert it:",
            *(line.format(**about) for line in lines),
        ]
    )


def is_file_name(text: str) -> bool:
    """Whether a topology is the name of a file rather than of a known network."""
    return _split_path(text)[0].suffix.lower() in SUFFIXES or "/" in text.partition(":")[0]


def _split_path(text: str) -> tuple[Path, dict[str, str]]:
    head, colon, tail = text.rpartition(":")
    if colon and Path(head).suffix.lower() in SUFFIXES:
        return user_path(head), split_options(tail, text)
    return user_path(text), {}


def _beside(path: Path) -> list[str]:
    """What lies in a file's folder; nothing where there is no such folder."""
    try:
        return [file.name for file in path.parent.glob("*.*")]
    except (OSError, ValueError):
        return []
