"""Lists of clients and links, as users write them -> numbers; and back, for messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from p2pqg.base.errors import ConfigError
from p2pqg.network.clients import Clients
from p2pqg.network.effective import Arc
from p2pqg.topology import Schedule


def refuse(problems: Iterable[str]) -> None:
    """One ConfigError for all problems, if there are any."""
    problems = list(problems)
    if problems:
        raise ConfigError.of(problems)


def clients_in(who: Any, known: Clients, key: str) -> frozenset[int]:
    """Numbers of the clients in a list.

    Raises:
        ConfigError: with a line for each that nobody is called.
    """
    return _all_of(who, lambda name: [known.number(name, key)], f"{key} must be a list of clients")


def links_in(links: Any, known: Clients, directed: bool, key: str) -> frozenset[Arc]:
    """(sender, receiver) of the links in a list: pairs, "a-b" (both ways) or "a->b".

    On an undirected network both directions are meant, however a link is written.

    Raises:
        ConfigError: with a line for each that is no link between two clients.
    """

    def arcs(link: Any) -> list[Arc]:
        if isinstance(link, str):
            found = known.link(link, key)
        elif isinstance(link, Iterable) and len(ends := list(link)) == 2:
            found = [(known.number(ends[0], key), known.number(ends[1], key))]
            if len(set(found[0])) == 1:
                raise ConfigError(f"{key}: {ends} links a client to itself; leave it out")
        else:
            raise ConfigError(f'{key}: a link is [3, 4] or "3-4", got {link!r}')
        return found if directed else [*found, *(arc[::-1] for arc in found)]

    return _all_of(links, arcs, f"{key} must be a list of links")


def _all_of(items: Any, read: Callable[[Any], Iterable], rule: str) -> frozenset:
    if isinstance(items, (str, dict)) or not isinstance(items, Iterable):
        raise ConfigError(f"{rule}, got {items!r}; put it in brackets")
    found, problems = set(), []
    for item in items:
        try:
            found.update(read(item))
        except ConfigError as error:
            problems.append(str(error))
    refuse(problems)
    return frozenset(found)


def told(client: int, schedule: Schedule) -> str:
    """A client's label, or its number."""
    return schedule.labels[client] if schedule.labels else str(client)


def links_told(arcs: Iterable[Arc], schedule: Schedule) -> list[str]:
    """Links as a user would write them, in order."""
    pairs = sorted(arcs if schedule.directed else {(min(arc), max(arc)) for arc in arcs})
    arrow = "->" if schedule.directed else "-"
    return [f"{told(a, schedule)}{arrow}{told(b, schedule)}" for a, b in pairs]


def more_labels(schedule: Schedule, n: int) -> tuple[str, ...]:
    """Labels of n clients, the new ones' too; numbers go on as numbers."""
    old, new = schedule.labels, range(schedule.num_clients, n)
    if not old:
        return ()
    if all(label.isdecimal() for label in old):
        return (*old, *(str(max(map(int, old)) + 1 + i) for i in range(len(new))))
    return (*old, *(f"new-{client}" for client in new))
