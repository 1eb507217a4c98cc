"""Schedules as plain data, for a checkpoint: a name where one says it all, else W itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from p2pqg.base.config import plain
from p2pqg.base.errors import P2pqgError, TopologyError
from p2pqg.topology import Mixing, Schedule, build
from p2pqg.topology.build import of_size
from p2pqg.topology.checks import Promise
from p2pqg.topology.files import is_file_name
from p2pqg.topology.schedule import in_turn

ROUNDS_PRINTED = 16
"""Rounds that a fingerprint covers, at most."""
UNKNOWN = {"rows": False, "columns": False, "sign": False}
"""What an older version promised of a W that it stored: nothing, as it had checked it."""


def fingerprint(schedule: Schedule) -> str:
    """16 hexadecimal digits of W over its period, or its first 16 rounds; weights to 9 digits."""
    digest = hashlib.blake2b(digest_size=8)
    for round in range(min(schedule.period or ROUNDS_PRINTED, ROUNDS_PRINTED)):
        W = schedule.mixing(round)
        for part in (W.receivers, W.senders, np.round(W.weights * 1e9).astype(np.int64)):
            digest.update(part.astype("<i8").tobytes())
    return digest.hexdigest()


def name_of(schedule: Schedule) -> str | None:
    """A name that builds this very network anywhere, if it has one: no file, no array."""
    if is_file_name(schedule.name):
        return None
    try:
        same = fingerprint(build(schedule.name)) == fingerprint(schedule)
    except TopologyError:
        return None
    return schedule.name if same else None


def to_data(schedule: Schedule) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Texts, numbers and lists, and arrays, that `from_data` makes the schedule of again.

    A network by name is its name; a Python function is only recognised; all else is W itself.
    """
    about: dict[str, Any] = {"name": schedule.name, "labels": list(schedule.labels)}
    if schedule.period is None or name_of(schedule) is not None:
        about["num_clients"] = schedule.num_clients
        return about | {"fingerprint": fingerprint(schedule)}, {}
    numbers = list(schedule.rounds())
    rounds = [schedule.mixing(round) for round in numbers]
    if schedule.listed is not None and len(numbers) < schedule.period:
        about |= {"period": schedule.period, "rounds": numbers, "listed": sorted(schedule.listed)}
    about |= {
        "num_clients": schedule.num_clients,
        "directed": schedule.directed,
        "rule": schedule.rule,
        "source": schedule.source,
        "notes": list(schedule.notes),
        "promise": plain(schedule.keeps),
        "entries": [len(W.weights) for W in rounds],
    }
    return about, {
        part: np.concatenate([getattr(W, part) for W in rounds])
        for part in ("receivers", "senders", "weights")
    }


def from_data(
    about: dict[str, Any], arrays: dict[str, np.ndarray], given: Schedule | None = None
) -> Schedule:
    """The schedule that `to_data` stored.

    Args:
        about: from `to_data`.
        arrays: the same.
        given: taken if it is the network that was stored, as one that is a function must be.

    Raises:
        TopologyError: neither it nor the name say the same network any more.
    """
    labels = tuple(about["labels"])
    if "fingerprint" in about:
        schedule = _recognised(about["name"], about["fingerprint"], about.get("num_clients"), given)
        return schedule if schedule.labels == labels else replace(schedule, labels=labels)
    n, ends = about["num_clients"], np.cumsum(about["entries"])[:-1]
    parts = (np.split(arrays[part], ends) for part in ("receivers", "senders", "weights"))
    rounds = tuple(Mixing(n, *entries) for entries in zip(*parts, strict=True))
    draw: Callable[[int], Mixing] = partial(in_turn, rounds)
    if "listed" in about:  # one of the others was stored, too
        known = dict(zip(about["rounds"], rounds, strict=True))
        (other,) = set(known) - set(about["listed"])
        draw = partial(_listed, known, known[other])
    return Schedule(
        about["name"],
        n,
        about["directed"],
        about.get("period", len(rounds)),
        draw,
        about["rule"],
        labels,
        about["source"],
        tuple(about["notes"]),
        listed=frozenset(about["listed"]) if "listed" in about else None,
        promise=Promise(**about.get("promise", UNKNOWN)),
    )


def _listed(known: dict[int, Mixing], other: Mixing, round: int) -> Mixing:
    return known.get(round, other)


def _recognised(name: str, mark: str, clients: int | None, given: Schedule | None) -> Schedule:
    """The network of that fingerprint: the given one, grown or not, or the one of that name.

    W alone does not tell them apart: two names may stand for one W and differ in what becomes of it
    when links or clients come and go. A function may have another name by now, and so has one whose
    file is read from a copy, as the file has changed.
    """
    fitting = given if given is not None and fingerprint(given) == mark else None
    if given is not None and fitting is None and clients:
        grown = of_size(given, clients)
        fitting = grown if grown is not None and fingerprint(grown) == mark else None
    if fitting is not None and _part(fitting.name) == _part(name):
        return fitting
    try:
        schedule = build(name)
    except P2pqgError as error:
        if fitting is not None:
            return fitting
        if not isinstance(error, TopologyError):
            raise
        raise TopologyError(
            f"{name!r}: the network was a Python function or file that is not here. Pass topology "
            "again."
        ) from None
    if fingerprint(schedule) != mark:
        if fitting is not None:
            return fitting
        raise TopologyError(
            f"{name!r} is not the network that was stored. Use the file or the version of p2pqg "
            "that it was stored with, or pass topology again."
        )
    return schedule


def _part(name: str) -> str:
    """What is named in a file of code, wherever that lies; else the name.

    >>> _part("nets/mine.py:ring_of:k=2"), _part("ring16:mixing=lazy")
    ('ring_of:k=2', 'ring16:mixing=lazy')
    """
    return name.rpartition(".py:")[2]
