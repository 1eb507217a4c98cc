"""What can be done to a running network: one table, verb -> how it is read and what it does.

A recipe's scenario names the verbs, `Simulation.do` carries them out, and most are methods of
`Simulation` as well. A new verb is one entry of `VERBS`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence, Set, ValuesView
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base.config import plain
from p2pqg.base.digest import given_name, told_apart
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.ranges import MOST_MEASURED, shown, whole_number
from p2pqg.base.user_code import GIVEN
from p2pqg.network.clients import Clients
from p2pqg.network.impairments import Impairments
from p2pqg.network.named import clients_in, links_in, links_told, means_all
from p2pqg.network.network import Network

SOURCES = ("stale", "neighbor", "average")
"""Which model a client has when it is back: its own old one, or its neighbors' (one, mean)."""


@dataclass(frozen=True)
class Verb:
    """One thing that can be done between two rounds.

    Attributes:
        read: (value in a recipe, its key) -> keywords, plain data. Raises ConfigError.
        network: (network, keywords, rounds done) -> the network afterwards; None: as it was.
        rule: (algorithm with its parameters, keywords) -> the same afterwards; None: as it was.
        words: (keywords, network afterwards) -> what was done, as results tell it behind the verb.
        undoes: the verb that this one takes back.
        grows: links or clients may be there afterwards that never were before.
        value: keywords -> the value in a recipe that `read` makes them of.
    """

    read: Callable[[Any, str], dict[str, Any]]
    network: Callable[[Network, Mapping[str, Any], int], Network] | None = None
    rule: Callable[[Any, Mapping[str, Any]], Any] | None = None
    words: Callable[[Mapping[str, Any], Network], str] = lambda given, network: ""
    undoes: str | None = None
    grows: bool = False
    value: Callable[[Mapping[str, Any]], Any] = lambda given: next(iter(given.values()))


def _which_links(given: Mapping[str, Any], network: Network) -> str:
    """The links that are meant, by the clients' names."""
    if means_all(given.get("links")):
        return "all"
    links = links_in(given["links"], Clients.of(network.base), network.base.directed, "links")
    return ", ".join(links_told(links, network.base))


def _which_clients(given: Mapping[str, Any], network: Network) -> str:
    """The clients that are meant, by their names."""
    if means_all(given.get("clients")):
        return "all"
    who = clients_in(given["clients"], Clients.of(network.base), "clients")
    return ", ".join(map(network.base.called, sorted(who)))


# Readers: a recipe's value -> keywords


def _links(value: Any, key: str) -> dict[str, Any]:
    return {"links": _list(value, key, "links, such as [[3, 4]] or 3-4")}


def _clients(value: Any, key: str) -> dict[str, Any]:
    return {"clients": _list(value, key, "clients, such as [3, 4]")}


def _links_or_all(value: Any, key: str) -> dict[str, Any]:
    return {} if means_all(value) else _links(value, key)


def _restored(value: Any, key: str) -> dict[str, Any]:
    """A list of clients, `all`, or {clients, how}."""
    found = dict(value) if isinstance(value, Mapping) else {"clients": value}
    _only(found, ("clients", "how"), key)
    clients, how = found.get("clients", "all"), found.get("how", "stale")
    if how not in SOURCES:
        raise ConfigError(f"{key}.how must be {', '.join(SOURCES)}, got {how!r}")
    return _clients_or_all(clients, key) | {"how": how}


def _added(value: Any, key: str) -> dict[str, Any]:
    """A number of clients, or {count, links, topology, shards}."""
    found = dict(value) if isinstance(value, Mapping) else {"count": value}
    _only(found, ("count", "links", "topology", "shards"), key)
    count = found.setdefault("count", 1)
    if not whole_number(count, 1):
        raise ConfigError(f"{key}: count must be an integer >= 1, got {count!r}")
    return found


def _topology(value: Any, key: str) -> dict[str, Any]:
    if isinstance(value, (bool, int, float, type(None))):
        raise ConfigError(f"{key} must be a network such as torus16, got {value!r}")
    return {"topology": value}


def _lr(value: Any, key: str) -> dict[str, Any]:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ConfigError(f"{key} must be > 0, got {value!r}")
    if value > MOST_MEASURED:
        raise ConfigError(f"{key} must be {MOST_MEASURED:.4g} at most, got {shown(value)}")
    return {"lr": float(value)}


def _settings(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f"{key} must be keys and values, got {value!r}")
    return {str(name).replace("-", "_"): setting for name, setting in value.items()}


def _impairments(value: Any, key: str) -> dict[str, Any]:
    """Some settings, the others stay; or `none`."""
    return plain(Impairments()) if _is_none(value) else _settings(value, key)


def _attack(value: Any, key: str) -> dict[str, Any]:
    """{who, how}."""
    if not isinstance(value, Mapping) or set(value) != {"who", "how"}:
        raise ConfigError(f"{key} must be like {{who: [3], how: sign-flip}}, got {value!r:.60}")
    return dict(value)


def _clients_or_all(value: Any, key: str) -> dict[str, Any]:
    return {} if means_all(value) else _clients(value, key)


def _rule(value: Any, key: str) -> dict[str, Any]:
    """A name, or {name, parameters}; `none`: the weighted sum."""
    if _is_none(value):
        return {"rule": None}
    if not isinstance(value, str | Mapping):
        raise ConfigError(f"{key} must be a rule such as clipped, or none, got {value!r}")
    return {"rule": value}


def _is_none(value: Any) -> bool:
    """Whether it is nothing, or the word `none`."""
    return value is None or (isinstance(value, str) and value == "none")


def _list(value: Any, key: str, what: str) -> list[Any]:
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return [value]
    if not isinstance(value, (list, tuple)) or not value:
        raise ConfigError(f"{key} must be a list of {what}, got {value!r}")
    return list(value)


def _only(found: Mapping[str, Any], known: tuple[str, ...], key: str) -> None:
    for name in found:
        if name not in known:
            raise ConfigError(f"unknown key {key}.{name}{did_you_mean(str(name), known)}")


def _named(part: Any) -> str:
    """What a part that may have parameters is called in results."""
    if isinstance(part, Mapping):
        given = ", ".join(f"{key} {value}" for key, value in part.items() if key != "name")
        return f"{part.get('name')} ({given})" if given else f"{part.get('name')}"
    return told_apart(part) if callable(part) else "none" if part is None else str(part)


def _network_called(topology: Any) -> str:
    """What a network is called in results: an object by letters that tell it from others."""
    if isinstance(topology, str | Path):
        return str(topology)
    if callable(topology):
        return told_apart(topology)
    what = "graph" if hasattr(topology, "edges") else "W"
    return f"{what}#{told_apart(_as_given(topology)).partition('#')[2]}"


def _as_given(value: Any) -> Any:
    """A graph without what it remembers of questions, an array of whatever holds one."""
    if hasattr(value, "edges"):
        return [value.is_directed(), list(value.nodes), list(value.edges(data=True))]
    return np.asarray(value) if hasattr(value, "__array__") else value


# Writers: keywords -> a recipe's value


def item_of(verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was done as an item of a scenario says it, {verb: value}; plain data.

    An object of Python, which a recipe cannot say, becomes the text `given:NAME#...`, with letters
    that tell it from others.
    """
    return {verb: _bare(VERBS[verb].value(given))}


def does_nothing(value: Any) -> bool:
    """Whether a verb names nobody, no link and no setting; a recipe has no such item."""
    named = (
        [value[key] for key in ("clients", "who") if key in value]
        if isinstance(value, Mapping)
        else []
    )
    return any(isinstance(one, list | Mapping) and not one for one in (value, *named))


def _bare(value: Any) -> Any:
    """Numbers, texts, lists and mappings of them."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _bare(part) for key, part in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Sequence, Set, ValuesView)):
        return [_bare(part) for part in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _bare(plain(value))
    if isinstance(value, Path):
        return str(value)
    name = getattr(value, "__name__", type(value).__name__)
    return f"{GIVEN}{name}#{given_name(_as_given(value)).partition('#')[2]}"


def _those(given: Mapping[str, Any]) -> Any:
    """The value of a verb that means all where nobody is named."""
    return next((value for value in given.values() if value is not None), "all")


def _all_said(given: Mapping[str, Any]) -> Any:
    return dict(given)


def _what_is_set(given: Mapping[str, Any]) -> Any:
    return {key: value for key, value in given.items() if value is not None}


# The table


VERBS: dict[str, Verb] = {
    "set_topology": Verb(
        _topology,
        network=lambda network, given, round: network.with_topology(given["topology"]),
        words=lambda given, network: _network_called(given["topology"]),
        grows=True,
    ),
    "drop_links": Verb(
        _links,
        network=lambda network, given, round: network.drop_links(given["links"]),
        words=_which_links,
    ),
    "add_links": Verb(
        _links,
        network=lambda network, given, round: network.add_links(given["links"]),
        words=_which_links,
        grows=True,
    ),
    "restore_links": Verb(
        _links_or_all,
        value=_those,
        network=lambda network, given, round: network.restore_links(given.get("links")),
        words=_which_links,
        undoes="drop_links",
    ),
    "drop_clients": Verb(
        _clients,
        network=lambda network, given, round: network.drop_clients(given["clients"], round),
        words=_which_clients,
    ),
    "restore_clients": Verb(
        _restored,
        value=lambda given: {"clients": "all", **given},
        network=lambda network, given, round: network.restore_clients(given.get("clients")),
        words=lambda given, network: (
            f"{_which_clients(given, network)} ({given.get('how', 'stale')})"
        ),
        undoes="drop_clients",
    ),
    "add_clients": Verb(
        _added,
        value=_what_is_set,
        network=lambda network, given, round: network.add_clients(
            given["count"], given.get("links"), given.get("topology")
        ),
        words=lambda given, network: str(given["count"]),
        grows=True,
    ),
    "set_algorithm_params": Verb(
        _settings,
        value=_all_said,
        rule=lambda rule, given: rule.with_params(**given),
        words=lambda given, network: ", ".join(f"{key}={value}" for key, value in given.items()),
    ),
    "set_lr": Verb(
        _lr,
        rule=lambda rule, given: rule.with_lr(given["lr"]),
        words=lambda given, network: str(given["lr"]),
    ),
    "set_rule": Verb(
        _rule,
        value=lambda given: "none" if _is_none(given["rule"]) else given["rule"],
        rule=lambda rule, given: rule.with_gossip_rule(
            None if _is_none(given["rule"]) else given["rule"]
        ),
        words=lambda given, network: _named(given["rule"]),
    ),
    "attack": Verb(
        _attack,
        value=_all_said,
        network=lambda network, given, round: network.attack(given["who"], given["how"], round),
        words=lambda given, network: (
            f"by {', '.join(map(network.base.called, network.attacks[-1].who))}: "
            f"{_named(given['how'])}"
        ),
    ),
    "stop_attack": Verb(
        _clients_or_all,
        value=_those,
        network=lambda network, given, round: network.stop_attack(given.get("clients"), round),
        words=_which_clients,
        undoes="attack",
    ),
    "set_network": Verb(
        _settings,
        value=_all_said,
        network=lambda network, given, round: network.with_network(**given),
        words=lambda given, network: ", ".join(f"{key}={value}" for key, value in given.items()),
    ),
    "set_impairments": Verb(
        _impairments,
        value=_all_said,
        network=lambda network, given, round: network.with_impairments(since=round, **given),
        words=lambda given, network: ", ".join(network.impairments.describe()) or "none",
    ),
}
"""What a scenario can do, and what can be done by hand."""

GROWING = frozenset(name for name, verb in VERBS.items() if verb.grows)
"""Verbs after which there is another network while all is well."""
