"""A network as the drawing of `drawing.js` needs it: plain data, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from p2pqg.page.maps import MOST_WITH_BARS, VIRIDIS, grouped, layout, pairs_of, shard_text
from p2pqg.topology import Schedule

MOST_LINKS = 6000
"""Links that are drawn, at most: more would be a gray disk, and slow."""


def digits(value: Any) -> float | int | None:
    """A number in few digits; None for what is none, or not finite."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) and abs(value) < 2**53 else float(f"{value:.5g}")


def scene(schedule: Schedule, counts: np.ndarray | None) -> dict[str, Any]:
    """Where the clients are, what they are called, their shards, and their links.

    Args:
        schedule: the network while all is well.
        counts: [clients, classes], or None to leave the shards out.
    """
    n = schedule.num_clients
    known = counts is not None and len(counts) == n
    with_bars = known and n <= MOST_WITH_BARS
    place = layout(schedule, with_bars)
    found: dict[str, Any] = {
        "name": schedule.name,
        "clients": n,
        "labels": list(schedule.labels),
        "directed": schedule.directed,
        "width": int(place.size[0]),
        "height": int(place.size[1]),
        "radius": round(place.radius, 2),
        "spots": place.spots.round(1).tolist(),
        "inside": place.inside,
        "above": place.above,
        "colors": list(VIRIDIS),
        "bars": [],
        "shards": [],
        **links(schedule, 0),
    }
    if counts is not None and known:
        values = grouped(counts)
        if with_bars:
            found["bars"] = (values / max(values.max(), 1)).round(3).tolist()
        if n <= 10 * MOST_WITH_BARS:
            found["shards"] = [shard_text(row) for row in counts]
    return found


def traffic(pairs: Sequence[Sequence[int]], table: Mapping[str, Any]) -> list[float | None]:
    """Bytes that went over each drawn link, both ways together.

    Args:
        pairs: as of `links`.
        table: columns of links.parquet.
    """
    if not len(pairs):
        return []
    ends = np.stack([np.asarray(table[name], np.int64) for name in ("sender", "receiver")])
    drawn = np.asarray(pairs, np.int64).T
    codes, wanted = ((part.min(0) << 32) + part.max(0) for part in (ends, drawn))
    known, place = np.unique(np.concatenate([codes, wanted]), return_inverse=True)
    sums = np.bincount(place[: len(codes)], np.asarray(table["bytes"]), len(known))
    return [digits(value) for value in sums[place[len(codes) :]].tolist()]


def links(schedule: Schedule, round: int) -> dict[str, Any]:
    """Links as [[sender, receiver], ...], both ways once; of a network without a period, a round's.

    Where there are more than MOST_LINKS, none, and how many there are.
    """
    if schedule.period is None:
        W = schedule.mixing(round)
        pairs = {(a, b) for a, b in zip(W.senders.tolist(), W.receivers.tolist(), strict=True)}
        pairs = {(a, b) for a, b in pairs if a != b}
    else:
        pairs = pairs_of(schedule)
    once = sorted((a, b) for a, b in pairs if a < b or (b, a) not in pairs)
    if len(once) > MOST_LINKS:
        return {"links": [], "too_many": len(once)}
    return {"links": [list(pair) for pair in once], "too_many": 0}
