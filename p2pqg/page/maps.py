"""The drawing of a network: clients colored by accuracy, their shards as small bars."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from p2pqg.base.wording import counted, percent, shortened
from p2pqg.network import Network
from p2pqg.results.standing import Standing
from p2pqg.topology import Schedule
from p2pqg.topology.drawing import LARGEST_LAYOUT, places

MOST_WITH_BARS = 40
"""Clients up to which bars fit into the drawing; beyond, they have a picture of their own."""
MOST_BARS = 20
"""Classes beyond which neighboring ones share a bar."""
BAR_WIDTH, BAR_HEIGHT = 32, 18
RADIUS, LEAST_RADIUS, LEGIBLE_FROM = 11.0, 4.0, 8.0
"""Radius of a client's disk; the least, of many; and the least with a name in it or above."""
WIDEST = 760.0
"""Pixels of a drawing, if that gives everybody room."""
MOST_ROUNDS = 16
"""Rounds of a changing network whose links are drawn."""
VIRIDIS = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
"""Van der Walt and Smith's: as even in brightness to color-blind eyes, and on paper."""
SMALLEST_RANGE = 0.05
UNKNOWN = "#9aa0a6"
MOST_INSIDE, MOST_ABOVE = 3, 12
"""Letters of a client's name in its disk, and above."""
LABEL_HEIGHT, LETTER_WIDTH = 13, 6.4
WIDTHS, THIN = 6, 0.6
"""Pixels by which the busiest link is wider than one that nothing went over, and those of this."""
ALIKE = 0.95
"""Links whose bytes are at least this share of the busiest one's are drawn as if alike."""
HEAD, HALF_HEAD = 7, 2.6
"""Pixels from the tip of an arrow to its base, and from there to either side."""


@dataclass(frozen=True)
class Node:
    x: float
    y: float
    fill: str
    ink: str
    name: str
    about: str
    bars: str = ""
    label: str = ""
    """A name that is too long for the disk, to stand above it."""
    here: bool = True
    """Not: the client left."""


@dataclass(frozen=True)
class Drawing:
    """One network, in pixels.

    Attributes:
        radius: of a client.
        links: an SVG path of those that are up, where there is no traffic to be shown.
        arrows: an SVG path of the heads of links that go one way.
        cut: an SVG path of links that are down; loose: of those that a client left alone.
        traffic: (SVG path, width of the line) of links by the bytes that went over them.
    """

    width: int
    height: int
    radius: float
    links: str
    arrows: str
    nodes: list[Node]
    cut: str = ""
    loose: str = ""
    traffic: Sequence[tuple[str, float]] = ()


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


@dataclass(frozen=True)
class Layout:
    """Where clients are drawn, in pixels.

    Attributes:
        spots: [clients, 2], from the upper left.
        size: width and height.
        radius: of a client.
        inside, above: its name in its disk, or above it; "" where there is no room.
    """

    spots: np.ndarray
    size: np.ndarray
    radius: float
    inside: list[str]
    above: list[str]


def layout(schedule: Schedule, with_bars: bool) -> Layout:
    """Clients that do not cover each other, with room for their names and their shards."""
    n = schedule.num_clients
    radius = RADIUS
    if n > MOST_WITH_BARS:
        radius = max(LEAST_RADIUS, RADIUS * (MOST_WITH_BARS / n) ** 0.5)
    box = np.array(
        [BAR_WIDTH + 14, 2 * radius + BAR_HEIGHT + 12] if with_bars else [2.6 * radius] * 2
    )
    inside, above = _names(schedule, radius)
    up = LABEL_HEIGHT if any(above) else 0
    down = BAR_HEIGHT + 6 if with_bars else 0
    box = np.maximum(box + [0, up], [LETTER_WIDTH * max(map(len, above)), 0])
    spots = places(schedule) * [1, -1]  # the page counts downwards
    width = min(WIDEST, 200 + 95 * n**0.5)
    if n <= LARGEST_LAYOUT:
        spots = apart((width - box[0]) / 2 * spots, box)
    else:  # a circle, large enough
        spots = max(width, box[0] * n / np.pi) / 2 * spots
    spots = spots - spots.min(axis=0) + box / 2
    spots[:, 1] += (up - down) / 2  # a name is above the client's disk, its shard is below
    size = np.ceil(spots.max(axis=0) + box / 2 + [0, (down - up) / 2])
    return Layout(spots, size, radius, inside, above)


def draw(
    shown: Standing,
    network: Network,
    counts: np.ndarray | None,
    span: tuple[float, float] | None,
    traffic: Mapping[tuple[int, int], float] | None = None,
) -> Drawing | None:
    """One run's network; None beyond 200 clients.

    Args:
        shown: the run.
        network: its own, as it is to be drawn.
        counts: [clients, classes], or None to leave the bars out.
        span: accuracies of the two ends of the color scale.
        traffic: from `traffic_of`.
    """
    schedule = network.base
    n = schedule.num_clients
    if n > LARGEST_LAYOUT:
        return None
    with_bars = counts is not None and n <= MOST_WITH_BARS and len(counts) == n
    values = grouped(counts) if counts is not None and with_bars else np.zeros((n, 1))
    place = layout(schedule, with_bars)
    spots, size, radius = place.spots, place.size, place.radius
    pairs = pairs_of(schedule)
    up_now = pairs - network.cut
    whole = {pair for pair in up_now if network.absent.isdisjoint(pair)}
    wide = _wide(traffic or {}, whole, spots)
    once = {(a, b) for a, b in pairs & network.cut if a < b or (b, a) not in network.cut}
    accuracy = shown.last_clients.set_index("client")["test_accuracy"]
    nodes = []
    for client, (x, y) in enumerate(spots.round(1).tolist()):
        own = float(accuracy.get(client, np.nan))
        known = not np.isnan(own)
        fill, ink = UNKNOWN, "#000"
        if known and span:
            low, high = span
            fill, ink = color((own - low) / (high - low))
        about = f"client {schedule.called(client)}: " + (
            f"accuracy {percent(own, 2)}" if known else "not evaluated"
        )
        if counts is not None and len(counts) == n:
            about += f"; {shard_text(counts[client])}"
        path = bars(values[client], values.max()) if with_bars else ""
        here = client not in network.absent
        about += "" if here else "; it left"
        shown_name, label = place.inside[client], place.above[client]
        nodes.append(Node(x, y, fill, ink, shown_name, about, path, label, here))
    return Drawing(
        int(size[0]),
        int(size[1]),
        round(radius, 1),
        "" if wide else _lines(whole, spots),
        _heads(whole, spots, radius),
        nodes,
        cut=_lines(once, spots),
        loose=_lines(up_now - whole, spots),
        traffic=wide,
    )


def _names(schedule: Schedule, radius: float) -> tuple[list[str], list[str]]:
    """What stands in the disks and above them, "" where there is no room."""
    n = schedule.num_clients
    names = [schedule.called(client) for client in range(n)]
    if radius < LEGIBLE_FROM:
        return [""] * n, [""] * n
    if max(map(len, names)) <= MOST_INSIDE:
        return names, [""] * n
    return [""] * n, [shortened(name, MOST_ABOVE) for name in names]


def pairs_of(schedule: Schedule) -> set[tuple[int, int]]:
    """(sender, receiver) of the links of the rounds that are drawn."""
    pairs: set[tuple[int, int]] = set()
    for t in range(rounds_drawn(schedule)):
        W = schedule.mixing(t)
        pairs |= set(zip(W.senders.tolist(), W.receivers.tolist(), strict=True))
    return {(a, b) for a, b in pairs if a != b}


def _lines(pairs: Collection[tuple[int, int]], spots: np.ndarray) -> str:
    """An SVG path of links, each once."""
    whole = spots.round().astype(int).tolist()
    once = sorted((a, b) for a, b in pairs if a < b or (b, a) not in pairs)
    return "".join("M{} {}L{} {}".format(*whole[a], *whole[b]) for a, b in once)


def _wide(
    traffic: Mapping[tuple[int, int], float], pairs: set[tuple[int, int]], spots: np.ndarray
) -> list[tuple[str, float]]:
    """Links in classes of width by their bytes; [] where all have had alike."""
    sent = {pair: traffic.get((min(pair), max(pair)), 0.0) for pair in pairs}
    most = max(sent.values(), default=0.0)
    if not most or min(sent.values()) > ALIKE * most:
        return []
    classes: dict[int, set[tuple[int, int]]] = {}
    for pair, count in sent.items():
        classes.setdefault(round(WIDTHS * count / most), set()).add(pair)
    return [(_lines(some, spots), THIN + width) for width, some in sorted(classes.items())]


def _heads(pairs: set[tuple[int, int]], spots: np.ndarray, radius: float) -> str:
    """An SVG path of the heads of links that go one way."""
    heads = []
    for a, b in sorted(pairs):
        if (b, a) not in pairs:
            way = spots[b] - spots[a]
            way = way / max(np.linalg.norm(way), 1e-9)
            tip, across = spots[b] - (radius + 2) * way, HALF_HEAD * np.array([-way[1], way[0]])
            corners = np.round([tip, tip - HEAD * way + across, tip - HEAD * way - across], 1)
            heads.append("M{:g} {:g}L{:g} {:g}L{:g} {:g}z".format(*corners.ravel().tolist()))
    return "".join(heads)


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
