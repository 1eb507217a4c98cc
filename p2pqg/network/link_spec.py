"""What a recipe says of links and of the clients' lines: by class, by name, in files, in graphs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import networkx as nx

from p2pqg.base.csv_file import rows
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.text import user_path
from p2pqg.network.clients import Clients
from p2pqg.network.links import (
    CLASSES,
    LINK_KEYS,
    PER,
    Link,
    Links,
    Per,
    link_class,
    read_link,
)
from p2pqg.network.units import bits_per_second
from p2pqg.topology.graph_files import graph_in


@dataclass(frozen=True)
class LinkSpec:
    """What a recipe says of links, before anybody has asked who the clients are.

    Attributes:
        default: of all links that nothing else is said about.
        uplink, downlink: bits per second of the lines of all clients, where `default` is over such
            lines; inf: it is not.
        file: a .csv or .graphml with more of them, or None.
        edges: "a-b" or "a->b" to its link; beats the file.
    """

    default: Link = Link()
    uplink: float = math.inf
    downlink: float = math.inf
    file: Path | None = None
    edges: Mapping[str, Link] = field(default_factory=dict)


KEY = "network.links"
"""Where links are said in a recipe."""

FILES = (".csv", ".graphml")


def read_links(value: Any) -> LinkSpec:
    """The links of a recipe.

    Args:
        value: one link for all (see `read_link`), perhaps with `per: client` or `per: link`; or a
            file; or a mapping of "a-b" and "a->b" to links, with `default` for all others and
            perhaps a `file`.

    Raises:
        ConfigError: what is wrong, and the repair.
    """
    if isinstance(value, str) and value.endswith(FILES):
        return LinkSpec(file=user_path(value))
    if not isinstance(value, Mapping) or any(part in (*LINK_KEYS, "per") for part in value):
        return LinkSpec(*_read_default(value, KEY))
    edges = {str(edge): link for edge, link in value.items() if edge not in ("default", "file")}
    for edge in edges:
        if "-" not in edge:
            known = did_you_mean(edge, ("default", "file", *LINK_KEYS), show_known=False)
            raise ConfigError(f"unknown key {KEY}.{edge}{known or '; a link is named as 0-1'}")
    file = value.get("file")
    if file is not None and not str(file).endswith(FILES):
        raise ConfigError(f"{KEY}.file must end in {' or '.join(FILES)}, got {file!r}")
    return LinkSpec(
        *_read_default(value.get("default", {}), f"{KEY}.default"),
        user_path(file) if file is not None else None,
        {edge: read_link(link, f"{KEY}.{edge}") for edge, link in edges.items()},
    )


def _read_default(value: Any, key: str) -> tuple[Link, float, float]:
    """The link of all pairs of clients, and what lines of theirs can send and receive."""
    given = dict(value) if isinstance(value, Mapping) else {"class": value}
    per = given.pop("per", None)
    link = read_link(given if isinstance(value, Mapping) else value, key)
    kind = link_class(str(given["class"]), key) if "class" in given else None
    if per is None:
        per = kind.per if kind else "link"
    if per not in PER:
        raise ConfigError(f"{key}.per must be {' or '.join(PER)}, got {per!r}")
    if per == "link":
        return link, math.inf, math.inf
    if "bandwidth" in given:
        return link, link.bandwidth, link.bandwidth
    if kind is None:
        raise ConfigError(f"{key}.per: client says that all share a line; set its bandwidth")
    return link, kind.uplink, kind.downlink


def spelled_out(value: Any, per: Per | None = None) -> Any:
    """The links of a recipe, with the word `per` where it would be understood without.

    Args:
        value: as of `read_links`.
        per: of classes for which nothing is said; None: as the class has it.
    """
    if isinstance(value, str) and value in CLASSES:
        if CLASSES[value].per == "link":
            return value
        return {"class": value, "per": per or "client"}
    if not isinstance(value, Mapping):
        return value
    if "default" in value:
        return {**value, "default": spelled_out(value["default"], per)}
    kind = CLASSES.get(str(value.get("class")))
    if kind is None or kind.per == "link" or "per" in value:
        return value
    return {**value, "per": per or "client"}


def spelled_alike(known: Any, given: Any, clients: Clients) -> tuple[Any, Any]:
    """Both, with each way of a link by itself where one says 0-1 and the other one 1-0 or 0->1.

    >>> spelled_alike({"0-1": "lan", "1-2": "lan"}, {"0->1": "wan"}, Clients(3, ()))
    ({'0->1': 'lan', '1->0': 'lan', '1-2': 'lan'}, {'0->1': 'wan'})
    """
    if not isinstance(known, Mapping) or not isinstance(given, Mapping):
        return known, given
    old, new = ({text: _arcs(text, clients) for text in links} for links in (known, given))
    texts = {arc: str(text) for text, arcs in new.items() for arc in arcs}
    if len(texts) < sum(map(len, new.values())):
        return known, given  # one is given twice, which is told later
    unlike = {
        arc for text, arcs in old.items() for arc in arcs if texts.get(arc, str(text)) != str(text)
    }

    def each_way(links: Mapping[Any, Any], arcs: Mapping[Any, set[tuple[int, int]]]) -> Any:
        found = dict[Any, Any]()
        for text, value in links.items():
            alone = [text] if unlike.isdisjoint(arcs[text]) else sorted(arcs[text])
            found |= {one if one is text else clients.arrow(*one): value for one in alone}
        return found

    return each_way(known, old), each_way(given, new)


def _arcs(text: Any, clients: Clients) -> set[tuple[int, int]]:
    """(sender, receiver) of both ways of a link, or of one; {} of what is no link."""
    try:
        return set(clients.link(text, KEY))
    except ConfigError:
        return set()  # another key, or a mistake, which is told later


def links_of(spec: LinkSpec, clients: Clients) -> Links:
    """The links that a recipe says, between these clients; reads its file.

    Raises:
        ConfigError: an unknown client, a file that cannot be read, or a link given twice.
    """
    special = _read_file(spec.file, clients) if spec.file else {}
    own: dict[tuple[int, int], Link] = {}
    for text, link in spec.edges.items():
        for edge in clients.link(text, KEY):
            if edge in own:
                raise ConfigError(f"{KEY}: link {text} is given twice; keep one")
            own[edge] = link
    return Links.of(spec.default, special | own)


def links_of_graph(graph: nx.Graph | nx.DiGraph, clients: Clients) -> dict[tuple[int, int], Link]:
    """Links from edge attributes `class`, `latency`, `bandwidth`, `jitter`.

    Edges without any of them are left to the default. Directed edges run from sender to receiver.

    Args:
        graph: its nodes are clients, by label or number.
        clients: who they are.

    Raises:
        ConfigError: an unknown client or class, or a value that is no such quantity.
    """
    edges = (
        (f"edge {u}, {v}", u, v, {part: data[part] for part in LINK_KEYS if part in data})
        for u, v, data in graph.edges(data=True)
    )
    return _gathered(edges, clients, both_ways=not graph.is_directed())


def _read_file(path: Path, clients: Clients) -> dict[tuple[int, int], Link]:
    """The links in a .csv (source, target, then class or latency, bandwidth, jitter) or .graphml.

    A CSV that gives no line for the way back means it for both ways.
    """
    if path.suffix == ".graphml":
        graph = graph_in(path)
        try:
            return links_of_graph(graph, clients)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None
    lines = (
        (where, row["source"], row["target"], {k: v for k, v in row.items() if k in LINK_KEYS})
        for where, row in rows(path, ("source", "target"), LINK_KEYS)
    )
    found = _gathered(lines, clients, both_ways=False)
    return {(b, a): link for (a, b), link in found.items()} | found


def _gathered(
    edges: Iterable[tuple[str, Any, Any, dict[str, Any]]], clients: Clients, both_ways: bool
) -> dict[tuple[int, int], Link]:
    """Links from (where, sender, receiver, what is said of it)."""
    found: dict[tuple[int, int], Link] = {}
    for where, source, target, said in edges:
        a, b = clients.number(source, where), clients.number(target, where)
        if a == b:
            raise ConfigError(f"{where}: links client {source} to itself; leave it out")
        if (a, b) in found:
            raise ConfigError(f"{where}: link {source}, {target} is there already; keep one")
        if said:
            link = read_link(said, where)
            found[a, b] = link
            if both_ways:
                found[b, a] = link
    return found


Side = Literal["uplink", "downlink"]


def read_line(
    value: Any, side: Side, otherwise: float = math.inf
) -> tuple[float, dict[str, float]]:
    """What clients can send (or receive) in all, bits per second: (the default, client -> rate).

    Args:
        value: a rate, the name of a class, or a mapping of clients to these, with `default` for
            all others; None: it is not said.
        side: "uplink" or "downlink".
        otherwise: of clients of which it is not said.

    Raises:
        ConfigError: no such rate or class.
    """
    key = f"network.{side}"
    if value is None:
        return otherwise, {}
    if not isinstance(value, Mapping):
        return _rate(value, key, side), {}
    own = {
        str(name): otherwise if rate is None else _rate(rate, f"{key}.{name}", side)
        for name, rate in value.items()
    }
    return own.pop("default", otherwise), own


def _rate(value: Any, key: str, side: Side) -> float:
    if isinstance(value, str) and value in CLASSES:
        return getattr(CLASSES[value], side)
    try:
        return bits_per_second(value, key)
    except ConfigError:
        if isinstance(value, str) and value[:1].isalpha():
            link_class(value, key)
        raise
