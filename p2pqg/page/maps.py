"""A map of a run's network: clients colored by accuracy, their shards as small bars."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.base.errors import P2pqgError
from p2pqg.base.hub import no_downloads
from p2pqg.base.wording import counted, percent
from p2pqg.data import label_counts
from p2pqg.recipe.own_files import from_copies
from p2pqg.results.standing import Standing
from p2pqg.topology import Schedule
from p2pqg.topology import build as build_topology
from p2pqg.topology.drawing import LARGEST_LAYOUT, places

MOST_WITH_BARS = 40
"""Clients up to which bars fit into the drawing; beyond, they have a picture of their own."""
MOST_BARS = 20
"""Classes beyond which neighboring ones share a bar."""
BAR_WIDTH, BAR_HEIGHT = 32, 18
MOST_ROUNDS = 16
"""Of a changing network, the links of so many rounds are drawn."""
VIRIDIS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
"""Van der Walt and Smith's: as even in brightness to color-blind eyes, and on paper."""
SMALLEST_RANGE = 0.05
UNKNOWN = "#9aa0a6"
SHARDS_DEPEND_ON = ("topology", "clients", "alpha", "partition", "dataset", "data_dir", "seed")
"""Settings; runs that differ in nothing of these have the same shards."""


@dataclass(frozen=True)
class Node:
    x: float
    y: float
    fill: str
    ink: str
    name: str
    about: str
    bars: str = ""


@dataclass(frozen=True)
class Drawing:
    """One network, in pixels.

    Attributes:
        radius: of a client.
        links: an SVG path.
        arrows: an SVG path of the heads of links that go one way.
    """

    width: int
    height: int
    radius: float
    links: str
    arrows: str
    nodes: list[Node]


def shards_of(shown: Iterable[Standing]) -> list[tuple[np.ndarray | None, str]]:
    """Training samples by client and class of every run, worked out again from its recipe.

    Of data that are here: a page is no reason to fetch them.

    Returns:
        For each run ([clients, classes], "") or (None, why not).
    """
    from p2pqg.recipe.parts import shards
    from p2pqg.recipe.settings import read_config

    known: dict[str, tuple[np.ndarray | None, str]] = {}
    found = []
    for one in shown:
        key = json.dumps([one.config.get(key) for key in SHARDS_DEPEND_ON], default=str)
        if key not in known:
            try:
                with no_downloads():
                    arrays, parts = shards(read_config(_with_copies(one)))
                counts = label_counts(parts, arrays.train_y, arrays.num_classes)
                known[key] = counts, ""
            except P2pqgError as error:
                known[key] = None, str(error).partition("\n")[0]
        found.append(known[key])
    return found


def _with_copies(one: Standing) -> dict[str, Any]:
    """A run's recipe, which finds the copies of the user's files that the run kept."""
    return one.config | (from_copies(one.config, one.path) if one.path else {})


def network_of(shown: Standing) -> Schedule | None:
    """The network of a run, from its own copy of a file; None if that is gone or wrong."""
    settings = _with_copies(shown)
    try:
        return build_topology(str(settings["topology"]), clients=settings["clients"])
    except P2pqgError:
        return None


def color(share: float) -> tuple[str, str]:
    """A share of the accuracy scale -> (its color, black or white to write on it)."""
    at = min(max(share, 0.0), 1.0) * (len(VIRIDIS) - 1)
    index = min(int(at), len(VIRIDIS) - 2)
    first, second = (
        np.array([int(stop[i : i + 2], 16) for i in (1, 3, 5)]) for stop in VIRIDIS[index:][:2]
    )
    mixed = first + (second - first) * (at - index)
    linear = np.where(mixed > 10, ((mixed / 255 + 0.055) / 1.055) ** 2.4, mixed / 255 / 12.92)
    bright = linear @ [0.2126, 0.7152, 0.0722] > 0.179  # WCAG: black is then the better contrast
    return "#" + "".join(f"{round(c):02x}" for c in mixed.tolist()), "#000" if bright else "#fff"


def accuracy_range(shown: Iterable[Standing]) -> tuple[float, float] | None:
    """The ends of the color scale: lowest and highest accuracy of a client at the last evaluation.

    At least SMALLEST_RANGE apart, lest what is nearly alike look unlike.
    """
    values = [one.last_clients["test_accuracy"].dropna() for one in shown]
    known = np.concatenate([np.array([]), *values])
    if not known.size:
        return None
    high = max(float(known.max()), SMALLEST_RANGE)
    return min(float(known.min()), high - SMALLEST_RANGE), high


def draw(
    shown: Standing, schedule: Schedule, counts: np.ndarray | None, span: tuple[float, float] | None
) -> Drawing | None:
    """One run's network; None beyond 200 clients.

    Args:
        shown: the run.
        schedule: its own network.
        counts: [clients, classes], or None to leave the bars out.
        span: accuracies of the two ends of the color scale.
    """
    n = schedule.num_clients
    if n > LARGEST_LAYOUT:
        return None
    with_bars = counts is not None and n <= MOST_WITH_BARS and len(counts) == n
    values = grouped(counts) if counts is not None and with_bars else np.zeros((n, 1))
    radius = 11.0 if n <= MOST_WITH_BARS else max(4.0, 11 * (MOST_WITH_BARS / n) ** 0.5)
    box = np.array(
        [BAR_WIDTH + 14, 2 * radius + BAR_HEIGHT + 12] if with_bars else [2.6 * radius] * 2
    )
    spots = places(schedule) * [1, -1]  # the page counts downwards
    width = min(760.0, 200 + 95 * n**0.5)
    spots = apart((width - box[0]) / 2 * spots, box)
    spots = spots - spots.min(axis=0) + box / 2
    if with_bars:  # the client's disk is in the upper half of its box
        spots[:, 1] -= (BAR_HEIGHT + 6) / 2
    size = np.ceil(spots.max(axis=0) + box / 2 + [0, (BAR_HEIGHT + 6) / 2 if with_bars else 0])
    links, arrows = _links(schedule, spots, radius)
    accuracy = shown.last_clients.set_index("client")["test_accuracy"]
    nodes = []
    for client, (x, y) in enumerate(spots.round(1).tolist()):
        own = float(accuracy.get(client, np.nan))
        known = not np.isnan(own)
        fill, ink = UNKNOWN, "#000"
        if known and span:
            low, high = span
            fill, ink = color((own - low) / (high - low))
        about = f"client {client}: " + (f"accuracy {percent(own, 2)}" if known else "not evaluated")
        if counts is not None and len(counts) == n:
            about += f"; {shard_text(counts[client])}"
        path = bars(values[client], values.max()) if with_bars else ""
        name = str(schedule.labels[client]) if schedule.labels else ""
        about += f" ({name})" if name and name != str(client) else ""
        nodes.append(Node(x, y, fill, ink, str(client) if radius >= 8 else "", about, path))
    return Drawing(int(size[0]), int(size[1]), round(radius, 1), links, arrows, nodes)


def _links(schedule: Schedule, spots: np.ndarray, radius: float) -> tuple[str, str]:
    """Paths of all links of the rounds that are drawn, and of the heads of one-way links."""
    pairs: set[tuple[int, int]] = set()
    for t in range(rounds_drawn(schedule)):
        W = schedule.mixing(t)
        pairs |= set(zip(W.senders.tolist(), W.receivers.tolist(), strict=True))
    whole = spots.round().astype(int).tolist()
    lines, heads = [], []
    for a, b in sorted(pairs):
        one_way = (b, a) not in pairs
        if a < b or (a != b and one_way):
            lines.append("M{} {}L{} {}".format(*whole[a], *whole[b]))
        if a != b and one_way:
            way = spots[b] - spots[a]
            way = way / max(np.linalg.norm(way), 1e-9)
            tip, across = spots[b] - (radius + 2) * way, 2.6 * np.array([-way[1], way[0]])
            corners = np.round([tip, tip - 7 * way + across, tip - 7 * way - across], 1)
            heads.append("M{:g} {:g}L{:g} {:g}L{:g} {:g}z".format(*corners.ravel().tolist()))
    return "".join(lines), "".join(heads)


def rounds_drawn(schedule: Schedule) -> int:
    """Rounds whose links are drawn: all of a period that is not too long, else the first."""
    return schedule.period if schedule.period and schedule.period <= MOST_ROUNDS else 1


def apart(spots: np.ndarray, box: np.ndarray, steps: int = 400) -> np.ndarray:
    """Push boxes of one size off each other, each pair along the way that is shorter.

    Args:
        spots: [boxes, 2], their middles.
        box: width and height.
        steps: at most.
    """
    spots = np.array(spots, dtype=float)
    order = np.sign(np.subtract.outer(np.arange(len(spots)), np.arange(len(spots))))
    for _ in range(steps):
        gap = spots[:, None] - spots[None]  # [boxes, boxes, 2]
        overlap = box - np.abs(gap)
        hit = (overlap > 0).all(axis=-1) & (order != 0)
        if not hit.any():
            break
        shorter = overlap / box == (overlap / box).min(axis=-1, keepdims=True)
        side = np.where(gap == 0, order[:, :, None], np.sign(gap))
        push = side * (overlap + 0.5) * shorter * hit[:, :, None]
        spots += 0.3 * push.sum(axis=1)  # both give way; less than half, or crowds would swing
    return spots


def grouped(counts: np.ndarray) -> np.ndarray:
    """[clients, bars]: neighboring classes share a bar where there are many."""
    classes = counts.shape[1]
    if classes <= MOST_BARS:
        return counts
    return np.add.reduceat(counts, np.linspace(0, classes, MOST_BARS, endpoint=False, dtype=int), 1)


def bars(values: np.ndarray, most: int) -> str:
    """A client's shard as an SVG path of BAR_WIDTH x BAR_HEIGHT, bars upright.

    Args:
        values: [bars], the client's samples.
        most: the number of samples that a bar of full height stands for.
    """
    step = BAR_WIDTH / len(values)
    wide = step - (0.8 if step > 2 else 0.2)
    path = ""
    for label, count in enumerate(values.tolist()):
        if count:
            height = max(1.0, BAR_HEIGHT * count / most)
            path += f"M{label * step:.3g} {BAR_HEIGHT}v-{height:.3g}h{wide:.3g}v{height:.3g}z"
    return path


def shard_text(counts: np.ndarray) -> str:
    """`36 samples: 12 of class 0, 24 of class 3`, the largest five."""
    total = int(counts.sum())
    order = [label for label in np.argsort(-counts, kind="stable").tolist() if counts[label]]
    parts = [f"{counts[label]:,} of class {label}" for label in order[:5]]
    more = f" and {len(order) - 5} more classes" if len(order) > 5 else ""
    return f"{counted(total, 'sample')}" + (f": {', '.join(parts)}{more}" if parts else "")
