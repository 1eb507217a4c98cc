"""Lists of clients and links, as users write them -> numbers; and back, for messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.network.clients import Clients
from p2pqg.network.effective import Arc
from p2pqg.topology import Schedule
from p2pqg.topology.labels import are_integers, key_of

MOST_PROBLEMS = 10


def refuse(problems: Iterable[str]) -> None:
    """One ConfigError for all problems, if there are any; of very many, the first ones."""
    problems = list(problems)
    if len(problems) > MOST_PROBLEMS:
        more = len(problems) - MOST_PROBLEMS + 1
        problems = [*problems[: MOST_PROBLEMS - 1], f"and {more:,} more like these"]
    if problems:
        raise ConfigError.of(problems)


def clients_in(who: Any, known: Clients, key: str) -> frozenset[int]:
    """Numbers of the clients in a list; one alone needs no brackets.

    Args:
        who: names or numbers, as of `Clients.number`; arrays and iterators of them will do.
        known: who there is.
        key: what they were given for, for messages.

    Raises:
        ConfigError: with a line for each that nobody is called.
    """
    items = [who] if _alone(who) or known.find(who) is not None else _items(who, "clients", key)
    return _all_of(items, lambda name: [known.number(name, key)])


def links_in(links: Any, known: Clients, directed: bool, key: str) -> frozenset[Arc]:
    """(sender, receiver) of the links in a list; one alone needs no brackets.

    On an undirected network both directions are meant, however a link is written.

    Args:
        links: pairs of clients, texts "a-b" (both ways) and "a->b"; arrays and iterators of them
            will do.
        known: who there is.
        directed: whether the network is.
        key: what they were given for, for messages.

    Raises:
        ConfigError: with a line for each that is no link between two clients.
    """

    def arcs(link: Any) -> list[Arc]:
        if isinstance(link, str):
            found = known.link(link, key)
        elif _alone(link) or len(ends := list(link)) != 2:
            raise ConfigError(f'{key}: a link is [3, 4] or "3-4", got {link!r}')
        else:
            found = [(known.number(ends[0], key), known.number(ends[1], key))]
            if len(set(found[0])) == 1:
                raise ConfigError(
                    f"{key}: [{ends[0]}, {ends[1]}] links a client to itself; leave it out"
                )
        return found if directed else [*found, *(arc[::-1] for arc in found)]

    items = [links] if _alone(links) else _items(links, "links", key)
    return _all_of([items] if _are_ends(items, known, key) else items, arcs)


def _are_ends(items: list[Any], known: Clients, key: str) -> bool:
    """Whether a list is one link, of the two clients in it, rather than a list of links."""
    if len(items) != 2:
        return False
    clients = [known.find(item) is not None for item in items]
    if not all(isinstance(item, str) for item in items):
        return all(known.find(item) is not None or _alone(item) for item in items)
    if all(clients) and all(_is_link(item, known) for item in items):
        raise ConfigError(
            f"{key}: {items} may be one link or two; write [{items}] for the link between them"
        )
    return any(clients) or not any("-" in item for item in items)


def _is_link(text: str, known: Clients) -> bool:
    try:
        return bool(known.link(text, ""))
    except ConfigError:
        return False


def _alone(item: Any) -> bool:
    """Whether it is one name or number, not a list of several."""
    if isinstance(item, np.ndarray):
        return item.ndim == 0
    return isinstance(item, (str, bytes)) or not isinstance(item, Iterable)


def _items(given: Any, what: str, key: str) -> list[Any]:
    if isinstance(given, dict):
        raise ConfigError(f"{key} must be a list of {what}, got {given!r:.60}; put it in brackets")
    return list(given)


def _all_of(items: Iterable[Any], read: Callable[[Any], Iterable[Any]]) -> frozenset[Any]:
    found, problems = set[Any](), []
    for item in items:
        try:
            found.update(read(item))
        except ConfigError as error:
            problems += error.lines
    refuse(problems)
    return frozenset(found)


def means_all(named: Any) -> bool:
    """Whether all are meant that there are: nobody is named, or the word `all` is said."""
    return named is None or (isinstance(named, str) and named == "all")


def listed(items: Any) -> Any:
    """What can be read more than once: an iterator becomes a list."""
    return list(items) if isinstance(items, Iterator) else items


def links_told(arcs: Iterable[Arc], schedule: Schedule) -> list[str]:
    """Links as a user would write them, in order."""
    pairs = sorted(arcs if schedule.directed else {(min(arc), max(arc)) for arc in arcs})
    arrow = "->" if schedule.directed else "-"
    return [f"{schedule.called(a)}{arrow}{schedule.called(b)}" for a, b in pairs]


def more_labels(schedule: Schedule, n: int) -> tuple[str, ...]:
    """Labels of n clients, the new ones' too; numbers go on as numbers."""
    old, new = schedule.labels, range(schedule.num_clients, n)
    if not old:
        return ()
    if are_integers(map(key_of, old)):
        last = int(max(map(key_of, old), key=Decimal))
        return (*old, *(str(last + 1 + i) for i in range(len(new))))
    return (*old, *(f"new-{client}" for client in new))
