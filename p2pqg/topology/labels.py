"""What clients are called: their own names, or numbers; as files and people write them.

A number may be written in several ways, and is one client: 7, 7.0 (as pandas writes a column with
gaps), np.int64(7), and 007. Where a name looks like a number, a number never means a position.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import networkx as nx

from p2pqg.base.errors import TopologyError

INTEGER = re.compile(r"([+-]?)0*(\d+?)(?:\.0*)?", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


MOST_LETTERS = 200


def _written(name: Any) -> str:
    """A name as text; sets in one order, where str() has another one in every process.

    >>> _written(frozenset("ba"))
    "frozenset({'a', 'b'})"
    """
    if isinstance(name, frozenset) and name:
        return f"frozenset({{{', '.join(sorted(map(_quoted, name)))}}})"
    if type(name) is tuple and name:
        return f"({', '.join(map(_quoted, name))}{',' * (len(name) == 1)})"
    return str(name).strip()


def _quoted(name: Any) -> str:
    return _written(name) if isinstance(name, frozenset | tuple) else repr(name)


def key_of(name: Any) -> str:
    """What two ways to write one client's name have in common.

    >>> [key_of(name) for name in (7, 7.0, "007", " 7. ", "+7", "-07", "-0", "7.5", "Ada")]
    ['7', '7', '7', '7', '7', '-7', '0', '7.5', 'Ada']
    """
    text = _written(name)
    whole = INTEGER.fullmatch(text)
    if whole is None:
        return text
    minus = "-" if whole[1] == "-" and whole[2] != "0" else ""
    return minus + whole[2]


def looks_like_a_number(name: str) -> bool:
    """Whether a client's name could be taken for a number."""
    return NUMBER.fullmatch(name.strip()) is not None


def are_integers(keys: Iterable[str]) -> bool:
    """Whether all `key_of` names are integers."""
    return all(INTEGER.fullmatch(key) for key in keys)


def label_of(name: Any) -> str:
    """How a client's name is shown: as it was written, but 7.0 is 7.

    >>> [label_of(name) for name in (7.0, "007", "7.5", "Ada")]
    ['7', '007', '7.5', 'Ada']
    """
    text = _written(name)
    return text if "." not in text else key_of(text)


def in_order(names: Iterable[Any]) -> dict[str, str]:
    """Key -> label of some names, each client once: integers by value, others as they come.

    Raises:
        TopologyError: a name that nobody can read.
    """
    found: dict[str, str] = {}
    for name in names:
        found.setdefault(key_of(name), label_of(name))
    for label in found.values():
        if len(label) > MOST_LETTERS:
            raise TopologyError(
                f"a client's name must have at most {MOST_LETTERS} letters, got one of "
                f"{len(label):,} ({label[:20]}...). Shorten it."
            )
    if are_integers(found):
        return {key: found[key] for key in sorted(found, key=Decimal)}
    return found


def numbered(
    graph: nx.Graph, called: tuple[str, ...] | None = None
) -> tuple[nx.Graph, tuple[str, ...]]:
    """A user's graph with clients 0 .. n-1 as nodes, and what its nodes are called.

    Args:
        graph: its nodes are the clients.
        called: the clients, as an earlier round of the same network called them: () if 0 .. n-1.

    Returns:
        (the graph, the names), or the very same graph and () where its nodes are 0 .. n-1.

    Raises:
        TopologyError: it has no node, or two that are written alike, or others than `called`.
    """
    n = graph.number_of_nodes()
    if n == 0:
        raise TopologyError("a graph must have at least one node, this one has none. Add clients.")
    if not called and all(i in graph for i in range(n)):
        return graph, ()
    labels = in_order(graph)
    if len(labels) < n:
        keys = [key_of(node) for node in graph]
        twice = next(node for node, key in zip(graph, keys, strict=True) if keys.count(key) > 1)
        raise TopologyError(f"two nodes of the graph are called {twice}. Rename one.")
    if called is not None:
        known = in_order(called or map(str, range(n)))
        other = next((label for key, label in labels.items() if key not in known), None)
        if other is not None:
            clients = ", ".join(list(known.values())[:6]) + (", ..." if n > 6 else "")
            raise TopologyError(
                f"{other} is no client: the nodes of round 0 were {clients}. Return a graph of the "
                "same nodes in every round."
            )
        labels = {key: known[key] for key in known if key in labels}
    number = {key: i for i, key in enumerate(labels)}
    renamed = {node: number[key_of(node)] for node in graph}
    return nx.relabel_nodes(graph, renamed), tuple(labels.values())
