"""Scenario: what is done to a run, and when. The key `scenario:` of a recipe, a list of items.

    scenario:
      - {at: round 300, drop_links: [[3, 4], 5-6]}          # "a-b" both ways, "a->b" one way
      - {at: 1800 s, drop_clients: [7]}                     # of the simulated clock
      - {at: round 400, restore_clients: {clients: [7], how: neighbor}}   # stale, neighbor, average
      - {every: 50 rounds, between: [100, 400], set_lr: 0.05}
      - {at: round 450, set_impairments: {loss: 0.1}}
      - {churn: trace.csv, how: stale}     # columns client, event (leave or join), round or seconds

Other actions: restore_links, add_links, set_topology, add_clients, set_algorithm_params. An item
that is due happens between two rounds. Everything is tried out on a copy of the network before a
run starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from pathlib import Path
from typing import Any

from p2pqg.base.csv_file import rows
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.text import user_path
from p2pqg.base.wording import counted
from p2pqg.network.events import Event, action_of, moments
from p2pqg.network.named import refuse
from p2pqg.network.network import Network
from p2pqg.network.trial import Check, trial
from p2pqg.network.units import number, still
from p2pqg.network.verbs import SOURCES, VERBS

Cursor = tuple[int, int]
"""How many of the events by round, and of those by seconds, are over."""


@dataclass(frozen=True)
class Scenario:
    """Plain data; where a run stands in it is a `Cursor`, which begins as (0, 0).

    Attributes:
        rounds: events by round, in order.
        seconds: events by the simulated clock, in order.
        notes: on events that may fail, depending on when their seconds come, or that come after the
            last round, a line each.
        repeats: items that go on to the end of the run, which is not known beforehand.
        num_rounds: up to which they do, as it was reckoned.
    """

    rounds: tuple[Event, ...] = ()
    seconds: tuple[Event, ...] = ()
    notes: tuple[str, ...] = ()
    repeats: tuple[str, ...] = ()
    num_rounds: int = 0

    def __len__(self) -> int:
        return len(self.rounds) + len(self.seconds)

    def due(self, round: int, sim_seconds: float, cursor: Cursor) -> Event | None:
        """What is to be done next before a round; None: nothing yet.

        Args:
            round: rounds done.
            sim_seconds: on the simulated clock.
            cursor: where the run stands; `after` moves it on.
        """
        if self.next_round(cursor) <= round:
            return self.rounds[cursor[0]]
        seconds = self.next_seconds(cursor)
        is_due = seconds is not None and seconds <= still(sim_seconds)
        return self.seconds[cursor[1]] if is_due else None

    def after(self, event: Event, cursor: Cursor) -> Cursor:
        """Where the run stands once that event is over."""
        by_round, by_seconds = cursor
        if event.kind == "round":
            return by_round + 1, by_seconds
        return by_round, by_seconds + 1

    def next_round(self, cursor: Cursor) -> float:
        """The round before which the next event by round happens; inf: there is none."""
        return self.rounds[cursor[0]].at if cursor[0] < len(self.rounds) else inf

    def next_seconds(self, cursor: Cursor) -> float | None:
        """When the next event by seconds is due; None: there is none."""
        return self.seconds[cursor[1]].at if cursor[1] < len(self.seconds) else None

    def never_came(self, round: int, sim_seconds: float, cursor: Cursor) -> list[str]:
        """Items that a run which is over ended before, a line each.

        Args:
            round: rounds done.
            sim_seconds: on the simulated clock.
            cursor: where the run stands.
        """
        left: dict[tuple[str, str], list[Event]] = {}
        for event in (*self.rounds[cursor[0] :], *self.seconds[cursor[1] :]):
            left.setdefault((event.item, event.kind), []).append(event)
        lines = []
        for (where, kind), (event, *more) in left.items():
            by_round = kind == "round"
            when = f"in round {event.at:,.0f}" if by_round else f"at {event.at:g} s"
            others = f" and {len(more):,} later" if more else ""
            end = f"after {counted(round, 'round')}" if by_round else f"at {sim_seconds:.4g} s"
            lines.append(f"{where}: {event.action} {when}{others} never came: the run ended {end}")
        if round > self.num_rounds:
            lines += [
                f"{where} ended with round {self.num_rounds - 1:,}, which was reckoned to be the "
                f"last; the run had {round:,} rounds"
                for where in self.repeats
            ]
        return lines


def read_scenario(
    items: Sequence[Any],
    network: Network,
    num_rounds: int,
    *,
    timed: bool = False,
    reckoned: bool = False,
    check: Check | None = None,
) -> Scenario:
    """A scenario that can be played, from what a recipe says.

    Args:
        items: see the top of this file.
        network: at the start.
        num_rounds: of the run; what a trace says beyond that does not happen, which is noted.
        timed: there is a simulated clock.
        reckoned: the run ends by the clock, and `num_rounds` is what it comes to if no event
            changes its pace.
        check: told of every event and the network after it, see `trial.Check`.

    Raises:
        ConfigError: with every problem, a line each.
    """
    if isinstance(items, (str, Mapping)) or not isinstance(items, Sequence):
        raise ConfigError(f"scenario must be a list of items, got {items!r:.60}")
    events: list[Event] = []
    problems: list[str] = []
    traces, endless = set[str](), list[str]()
    for i, item in enumerate(items):
        where = f"scenario[{i}]"
        try:
            events += _events(item, num_rounds, where)
        except ConfigError as error:
            problems += error.lines
            continue
        if "churn" in item:
            traces.add(where)
        elif "every" in item and "between" not in item:
            endless.append(where)

    def is_late(event: Event) -> bool:
        return event.kind == "round" and event.at >= num_rounds

    paced = any(
        VERBS[event.action].network or event.action == "set_algorithm_params"
        for event in events
        if not is_late(event)
    )
    is_open = reckoned and paced  # the end may come earlier, or later
    told = list[str]()
    for where, same in groupby(filter(is_late, events), key=lambda event: event.item):
        line = _after_the_end([*same], num_rounds)
        if is_open:
            told.append(f"{line}, if the pace stays: it may never come")
        elif where in traces:
            told.append(f"{line}: that does not happen")
            events = [event for event in events if event.item != where or not is_late(event)]
        else:
            problems.append(f"{line}; make it earlier, or rounds more")
    places = list(dict.fromkeys(event.where for event in events))
    events.sort(key=lambda event: event.at)  # stable: at one time, in the order of the list
    late = [event for event in events if event.kind == "seconds"]
    if late and not timed:
        problems.append(
            f"{late[0].where}: seconds are those of the simulated clock, and there is none. "
            "Add network: {links: wan}, or say rounds."
        )
    found, notes = trial(events, network, check)
    refuse([*problems, *(line for place in places for line in found.get(place, []))])
    by_round = tuple(event for event in events if event.kind == "round")
    repeats = tuple(endless) if is_open else ()
    return Scenario(by_round, tuple(late), tuple(notes + told), repeats, num_rounds)


def _after_the_end(events: Sequence[Event], num_rounds: int) -> str:
    """A line on events of one item that are in rounds which there are not."""
    first, last = events[0], max(event.at for event in events)
    end = f"but the last round is {num_rounds - 1}"
    if first.where == first.item:
        return f"{first.where} is in round {last:.0f}, {end}"
    return f"{first.where} and what comes later, up to round {last:.0f}, is in no round: {end[4:]}"


def _events(item: Any, num_rounds: int, where: str) -> Iterator[Event]:
    if not isinstance(item, Mapping):
        raise ConfigError(f"{where} must be like {{at: round 300, set_lr: 0.1}}, got {item!r:.60}")
    if "churn" in item:
        yield from _churn(item, where)
        return
    action, arguments = action_of(item, where)
    kind, times = moments(item, num_rounds, where)
    for at in times:
        yield Event(kind, at, action, arguments, where)


def _churn(item: Mapping[str, Any], where: str) -> Iterator[Event]:
    """Who leaves and joins when, from a file; what happens at one time is one event."""
    for key in item:
        if key not in ("churn", "how"):
            raise ConfigError(f"{where}: unknown key {key}{did_you_mean(key, ['churn', 'how'])}")
    how = item.get("how", "stale")
    if how not in SOURCES:
        raise ConfigError(f"{where}.how must be {', '.join(SOURCES)}, got {how!r}")
    found = []
    if not isinstance(item["churn"], str | Path):
        raise ConfigError(f"{where}.churn must be a CSV file, got {item['churn']!r:.60}")
    for line, row in rows(user_path(item["churn"]), ["client", "event"], ["round", "seconds"]):
        if ("round" in row) == ("seconds" in row):
            raise ConfigError(f"{line} must have a round or seconds, one of them")
        if row["event"] not in ("leave", "join"):
            known = did_you_mean(row["event"], ["leave", "join"])
            raise ConfigError(f"{line}: event must be leave or join, got {row['event']!r}{known}")
        kind = "round" if "round" in row else "seconds"
        at = number(row[kind], f"{line}: {kind}")
        if not 0 <= at < inf or (kind == "round" and at != int(at)):
            raise ConfigError(
                f"{line}: {kind} must be >= 0 and finite, rounds whole, got {row[kind]}"
            )
        at = int(at) if kind == "round" else at
        found.append((kind, at, row["event"], row["client"], line))
    found.sort(key=lambda row: row[:2])
    for (kind, at, event), same in groupby(found, key=lambda row: row[:3]):
        some = list(same)
        arguments: dict[str, Any] = {"clients": [client for *_, client, _ in some]}
        action = "drop_clients" if event == "leave" else "restore_clients"
        if event == "join":
            arguments["how"] = how
        yield Event(kind, at, action, arguments, f"{where} ({some[0][-1]})")
