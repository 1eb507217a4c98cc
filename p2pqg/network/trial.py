"""A scenario is tried out before a run: what cannot be done is told then.

Events by round are in order, and so are those by seconds; which comes first, a round or a second,
only the run will show. Where a scenario has both, orders are tried until one can be done: only what
fails in all of them is refused, and what fails in some is told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

from p2pqg.base.config import Problems
from p2pqg.base.errors import ConfigError
from p2pqg.network.clients import Clients
from p2pqg.network.events import Event
from p2pqg.network.named import clients_in
from p2pqg.network.network import Network
from p2pqg.network.verbs import GROWING, VERBS

MOST_TRIED = 300
"""Events that are tried in the search for an order, beside one for each of the scenario."""
LATE = 10**9
"""A round after which nothing ends any more."""


class Check(Protocol):
    """Told of every event and the network after it; ConfigError if that cannot be.

    It returns what is told of the next event; None: the same.
    """

    def __call__(self, event: Event, network: Network, /) -> Any: ...


@dataclass(frozen=True)
class _Stand:
    """How far a trial has come.

    Attributes:
        network, check: after the events that are done.
        done: how many of those by round, and by seconds.
        since: round of the last one by round.
        notes: on events that cannot be done in all rounds in which their second may come.
    """

    network: Network
    check: Check | None
    done: tuple[int, int] = (0, 0)
    since: int = 0
    notes: tuple[str, ...] = ()


def trial(
    events: Sequence[Event], network: Network, check: Check | None
) -> tuple[dict[str, list[str]], list[str]]:
    """What is wrong with events.

    Args:
        events: in order of their times.
        network: at the start.
        check: see `Check`.

    Returns:
        (where -> the first problem there, notes on what may go wrong).
    """
    rounds = [event for event in events if event.kind == "round"]
    late = [event for event in events if event.kind == "seconds"]
    start = _Stand(network, check)
    if not (rounds and late):
        return _in_order([*rounds, *late], start)
    found = _some_order(rounds, late, start)
    if found is None:
        return _each_by_itself(events, network, check), []
    orders = _orders(rounds, late)
    if not found:
        return min((_in_order(order, start, until)[0] for _, order, until in orders), key=len), []
    notes, known = list(found[0].notes), set[str]()
    for when, order, until in orders:
        problems, more = _in_order(order, start, until)
        notes += more
        for line in next(iter(problems.values()), [])[:1]:
            if line not in known:
                known.add(line)
                notes.append(f"{line}: so it will be where {when}")
    return {}, list(dict.fromkeys(notes))


def _orders(rounds: Sequence[Event], late: Sequence[Event]) -> list[tuple[str, list[Event], int]]:
    """Orders in which all events by seconds follow each other: how each is called, and `until`.

    Before the first round nothing comes before what is due there. Where they are many, the last
    ones are left out.
    """
    orders = [("rounds come first", [*rounds, *late], LATE)]
    between = [
        (f"seconds come between rounds {one.at:g} and {other.at:g}", at, int(other.at) - 1)
        for at, (one, other) in enumerate(pairwise(rounds), start=1)
        if one.at < other.at
    ]
    if rounds[0].at > 0:
        between.insert(0, ("seconds come first", 0, int(rounds[0].at) - 1))
    tried = max(1, MOST_TRIED // (len(rounds) + len(late)))
    for when, at, until in between[:tried]:
        orders.append((when, [*rounds[:at], *late, *rounds[at:]], until))
    return orders


def _in_order(
    events: Sequence[Event], start: _Stand, until: int = LATE
) -> tuple[dict[str, list[str]], list[str]]:
    """The trial of events that are done in this order, those by seconds before a round at latest.

    What is refused though the network could be changed so is taken as done: later ones count on it.
    """
    now, problems = start, dict[str, list[str]]()
    for event in events:
        try:
            now = _after(now, event, until)
        except ConfigError as error:
            problems.setdefault(event.where, [_placed(line, event) for line in error.lines])
            if VERBS[event.action].network:
                with suppress(ConfigError):
                    now = replace(now, network=after_event(now.network, event))
    return problems, list(dict.fromkeys(now.notes))


def _some_order(
    rounds: Sequence[Event], late: Sequence[Event], start: _Stand
) -> list[_Stand] | None:
    """Where an order ends that can be done; [] where there is none, None where nobody knows."""
    ahead, budget = [start], len(rounds) + len(late) + MOST_TRIED
    while ahead:
        now = ahead.pop()
        if now.done == (len(rounds), len(late)):
            return [now]
        for event, until in _next(rounds, late, now):
            budget -= 1
            if budget < 0:
                return None
            try:
                ahead.append(_after(now, event, until))
            except ConfigError:
                continue
    return []


def _next(
    rounds: Sequence[Event], late: Sequence[Event], now: _Stand
) -> Iterator[tuple[Event, int]]:
    """What may come next, and the last round before which it may; the likelier one last."""
    i, j = now.done
    until = int(rounds[i].at) - 1 if i < len(rounds) else LATE
    if j < len(late) and until >= now.since:
        yield late[j], until
    if i < len(rounds):
        yield rounds[i], int(rounds[i].at)


def _after(now: _Stand, event: Event, until: int) -> _Stand:
    """How it stands after an event, which comes before that round at the latest.

    Raises:
        ConfigError: it cannot be done.
    """
    is_late = event.kind == "seconds"
    done = (now.done[0] + (not is_late), now.done[1] + is_late)
    if not is_late:
        return replace(_tried(now, event, int(event.at)), done=done, since=int(event.at))
    problems, stands = Problems(), list[_Stand]()
    for round in (now.since, until) if now.network.attacks else (now.since,):
        with problems:  # an attack may be over by then
            stands.append(_tried(now, event, round))
    if not stands:
        raise problems.errors[-1]
    lines = [
        f"{_placed(line, event)}: it depends on what is over by then" for line in problems.lines
    ]
    return replace(stands[0], done=done, notes=(*now.notes, *lines))


def _tried(now: _Stand, event: Event, round: int) -> _Stand:
    network, check = now.network, now.check
    if VERBS[event.action].network:
        network = after_event(network, event, round)
        _check_donors(event, now.network, network)
    if check is not None:
        check = check(event, network) or check
    return replace(now, network=network, check=check)


def _check_donors(event: Event, before: Network, now: Network) -> None:
    """Whoever is new, or comes back with somebody else's model, must have a neighbor."""
    new = set(range(before.num_clients, now.num_clients))
    if event.arguments.get("how", "stale") != "stale":
        _check_neighbors(event, before.absent - now.absent, before.absent, now, "restore it stale")
    _check_neighbors(event, new, new, now, "give it a link")


def _check_neighbors(
    event: Event, clients: Iterable[int], without: Iterable[int], now: Network, repair: str
) -> None:
    for client in sorted(clients):
        if set(without).issuperset(now.neighbors(client)):
            raise ConfigError(
                f"{event.action}: client {now.base.called(client)} has no neighbor to take a model "
                f"from; {repair}"
            )


def after_event(network: Network, event: Event, round: int | None = None) -> Network:
    """The network after an event that changes it.

    Args:
        network: before it.
        event: by round or by seconds.
        round: rounds done by then; None: those of the event, 0 where it is by seconds.

    Raises:
        ConfigError: it cannot be done.
    """
    change = VERBS[event.action].network
    assert change is not None
    if round is None:
        round = int(event.at) if event.kind == "round" else 0
    return change(network, event.arguments, round)


def _each_by_itself(
    events: Sequence[Event], network: Network, check: Check | None
) -> dict[str, list[str]]:
    """What is wrong with events where nothing has happened before them."""
    grows = any(event.action in GROWING for event in events)
    problems = dict[str, list[str]]()
    for event in events:
        try:
            now = network if grows else _alone(event, network)
            if check is not None:
                check(event, now)
        except ConfigError as error:
            problems.setdefault(event.where, [_placed(line, event) for line in error.lines])
    return problems


def _alone(event: Event, network: Network) -> Network:
    """Whether clients and links of an event exist; nothing is down or away before it."""
    verb = VERBS[event.action]
    if verb.undoes is not None:
        given = event.arguments
        if given.get("links"):
            network.links_called(given["links"], event.action)
        if given.get("clients"):
            clients_in(given["clients"], Clients.of(network.base), event.action)
        return network
    return after_event(network, event, LATE) if verb.network else network


def _placed(line: str, event: Event) -> str:
    if line.startswith(f"{event.action}:"):
        return f"{event.where}.{line}"
    return f"{event.where}.{event.action}: {line}"
