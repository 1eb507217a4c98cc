"""What users type, NAME<clients>[:key=value,...], -> the network it names."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

import networkx as nx
import numpy as np

from p2pqg.base.errors import ConfigError, TopologyError, did_you_mean
from p2pqg.base.ranges import broken_rules
from p2pqg.base.registry import Entry
from p2pqg.topology import heterogeneity_aware
from p2pqg.topology._registry import TOPOLOGIES, check_size
from p2pqg.topology.label_counts import LabelsWanted, checked
from p2pqg.topology.mixing_rules import RULES
from p2pqg.topology.schedule import Rounds, Schedule, schedule_of
from p2pqg.topology.social import ALIASES

MOST_DIGITS = 40


def split_options(text: str, where: str) -> dict[str, str]:
    """`k=2,seed=1` -> {"k": "2", "seed": "1"}."""
    options: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value):
            raise TopologyError(
                f"{where!r:.80}: {part!r:.60} must read key=value, as in ring16:mixing=lazy"
            )
        if key in options:
            raise TopologyError(f"{where!r:.80}: {key} is set twice; keep one")
        options[key] = value
    return options


def rule_named(name: str, where: str) -> str:
    """A known mixing rule; hyphens and underscores are the same."""
    rule = name.replace("-", "_")
    if rule not in RULES:
        raise TopologyError(
            f"{where!r:.80}: unknown mixing rule {name!r:.60}{did_you_mean(rule, RULES)}"
        )
    return rule


def split_name(text: str) -> tuple[str, int | None, dict[str, str]]:
    """`base25:k=2` -> ("base", 25, {"k": "2"}).

    >>> split_name("erdos-renyi32:p=0.2,seed=1")
    ('erdos-renyi', 32, {'p': '0.2', 'seed': '1'})
    >>> split_name("ring")
    ('ring', None, {})
    """
    head, colon, tail = text.strip().partition(":")
    if colon and not tail.strip():
        raise TopologyError(f"{text!r:.80} ends in a colon. Add key=value, or leave it out.")
    parts = re.fullmatch(r"(.*?)([0-9]*)", head.strip(), flags=re.DOTALL)
    assert parts  # the pattern matches any text
    stem, number = parts.groups()
    stem = stem if stem in TOPOLOGIES or stem in ALIASES else stem.lower()
    size = int(number[:MOST_DIGITS]) if number else None  # so many fit into no memory
    return ALIASES.get(stem, stem), size, split_options(tail, text)


def network_named(
    text: str,
    clients: int | None = None,
    label_counts: np.ndarray | None = None,
    own: Entry | None = None,
) -> tuple[nx.Graph | Rounds, str, str, str]:
    """Build the network that a name says.

    Args:
        text: NAME<clients>[:key=value,...].
        clients: where the name leaves the number out.
        label_counts: [clients, classes], for networks that look at the clients' labels.
        own: what has that name in a user's file; None: what is registered under it.

    Returns:
        (network, its full name, mixing rule or "", source).

    Raises:
        TopologyError: unknown name or key, or a number of clients that cannot be.
    """
    stem, number, options = split_name(text)
    if stem not in TOPOLOGIES:
        raise TopologyError(f"unknown topology {text!r:.80}{near(text)}")
    try:
        entry = own or TOPOLOGIES.named(stem)
    except ConfigError as error:
        raise TopologyError(str(error)) from None
    num_clients = _num_clients(entry, text, number, clients)
    tail = text.partition(":")[2].strip()
    name = f"{stem}{num_clients}{':' + tail if tail else ''}"
    rule = options.pop("mixing", None)
    rule = rule_named(rule, text) if rule else entry.traits["rule"]
    params = _params(entry, options, text)
    check_size(num_clients, entry.traits["neighbors"](num_clients, params), name)
    seen: tuple[np.ndarray, ...] = ()
    if entry.traits["labels"]:
        seen = (checked(label_counts, num_clients, name),)
    try:
        network = entry.build(num_clients, params, *seen)
        heterogeneity_aware.tell(network, rule, label_counts, name)
        return network, name, rule or "", entry.source
    except LabelsWanted:
        raise
    except TopologyError as error:
        raise TopologyError(f"{name!r:.80}: {error}") from None


def near(text: str, others: Iterable[str] = ()) -> str:
    """The tail of a message on an unknown network, see `did_you_mean`.

    >>> near("socal32"), near("rign16:mixing=lazy")
    ('; did you mean social32?', '; did you mean ring16:mixing=lazy?')
    >>> near("torus4x4"), near("grid2x6:mixing=lazy")
    ('; did you mean torus16?', '; did you mean grid12:rows=2,mixing=lazy?')

    Args:
        text: what nobody knows.
        others: names that are written as they are.
    """
    head, colon, options = text.partition(":")
    stem, number, _ = split_name(head)
    rows = 0
    if number and (sides := re.fullmatch(r"(.*?)([1-9][0-9]{0,3})x", stem)):  # torus4x4
        stem, rows = sides[1], int(sides[2])
        number *= rows
    size = "" if number is None or re.search(r"\d", stem) else number
    written = {name: f"{name}{colon}{options}" for name in others}
    for name, entry in TOPOLOGIES.items():
        square = rows * rows == number  # which a lattice is without being told
        told = rows and not square and any(field.name == "rows" for field in fields(entry.params))
        said = ",".join(filter(None, (f"rows={rows}" if told else "", options)))
        written[name] = f"{name}{entry.traits['size'] or size}" + (f":{said}" if said else "")
    return did_you_mean(stem, written, written=written)


def schedule_named(
    text: str,
    clients: int | None = None,
    label_counts: np.ndarray | None = None,
    own: Entry | None = None,
) -> Schedule:
    """The schedule that a name says, see `network_named`."""
    network, name, rule, source = network_named(text, clients, label_counts, own)
    labels = ()
    if isinstance(network, nx.Graph):
        labels = tuple(nx.get_node_attributes(network, "label").values())
    try:
        schedule = schedule_of(network, name, rule or None, labels=labels, source=source)
    except TopologyError as error:
        raise TopologyError(f"{name!r:.80}: {error}") from None
    return heterogeneity_aware.settled(schedule)


def _num_clients(entry: Entry, text: str, number: int | None, clients: int | None) -> int:
    size = entry.traits["size"]
    if number is not None and clients is not None and number != clients:
        raise TopologyError(
            f"{text!r:.80} has {number} clients, but clients is {clients}. "
            f"Leave one out: {entry.name} takes its number from clients."
        )
    said = number if number is not None else clients
    if size is not None:
        if said not in (None, size):
            raise TopologyError(
                f"{text!r:.80}: {entry.name} has exactly {size} clients, got {said}. "
                f"Use {entry.name}{size}."
            )
        return size
    if said is None:
        raise TopologyError(
            f"{text!r:.80} does not say how many clients. Use {entry.name}16, or clients."
        )
    if said < 1:
        raise TopologyError(f"{text!r:.80}: clients must be >= 1, got {said}. Use {entry.name}16.")
    return said


def _params(entry: Entry, options: dict[str, str], text: str) -> Any:
    hints = get_type_hints(entry.params)
    known = [field.name for field in fields(entry.params)]
    problems, values = [], {}
    for key, value in options.items():
        if key not in known:
            problems.append(f"unknown key {key:.60}{did_you_mean(key, [*known, 'mixing'])}")
            continue
        try:
            values[key] = parse(value, hints[key])
        except ValueError as error:
            problems.append(f"{key} must be {error}, got {value!r:.60}")
    if not problems:
        assert all(field.default is not MISSING for field in fields(entry.params)), entry.name
        params = entry.params(**values)
        problems = list(broken_rules(params))
    if problems:
        raise TopologyError.of(problems, f"{text!r:.80}")
    return params


def parse(value: str, hint: Any) -> Any:
    """A value from the command line as int, float, bool or str.

    Raises:
        ValueError: it is none; the text says what it must be.
    """
    if get_origin(hint) in (Union, types.UnionType):
        hint = next(h for h in get_args(hint) if h is not type(None))
    if hint is bool:
        if value.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise ValueError("true or false")
        return value.lower() in ("true", "yes", "1")
    try:
        return hint(value)
    except ValueError:
        raise ValueError({int: "an integer", float: "a number"}[hint]) from None
