"""Links: latency, bandwidth and jitter of every directed link; classes of them.

A message that is on its own takes  latency + jitter E + bits / bandwidth,  where E is drawn from
Exp(1) for every message: queues only ever add time, and their tails are exponential, as the
waiting time of an M/M/1 queue is. So `jitter` is both the mean and the standard deviation of what
is added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.network.units import bits_per_second, seconds


class Link(NamedTuple):
    """One direction of a link. The default is a perfect one."""

    latency: float = 0.0
    """Seconds that the first bit takes, >= 0."""
    bandwidth: float = math.inf
    """Bits per second, > 0; inf: any number of them at once."""
    jitter: float = 0.0
    """Mean seconds that a message is late, >= 0."""


Per = Literal["client", "link"]
PER: tuple[Per, ...] = ("client", "link")
PER_WORDS: dict[Per, str] = {
    "client": "a client's line, shared by all its messages",
    "link": "between two sites, one for each neighbor",
}


@dataclass(frozen=True)
class LinkClass:
    """A kind of link between clients.

    Attributes:
        latency: seconds from a client to another. On a client's own line a message crosses the
            lines of both, so it is the round-trip time of one of them.
        uplink: bits per second that a client can send.
        downlink: bits per second that a client can receive.
        source: where the figures come from.
        per: client: it is the line of a client, which all messages to and from it share; link: it
            is a link between two sites, and a client has one to each of its neighbors.
    """

    latency: float
    uplink: float
    downlink: float
    source: str
    per: Per = "client"

    @property
    def link(self) -> Link:
        """From one client to another."""
        return Link(self.latency, min(self.uplink, self.downlink))


_DEAN = "Dean, Numbers Everyone Should Know, LADIS 2009"
_WPT = "profiles of WebPageTest, connectivity.ini"

CLASSES = {
    "perfect": LinkClass(0.0, math.inf, math.inf, "no delay at all", "link"),
    "lan": LinkClass(0.25e-3, 1e9, 1e9, f"gigabit Ethernet; half a round trip of 0.5 ms: {_DEAN}"),
    "wan": LinkClass(
        75e-3, 1e8, 1e8, f"100 Mbit/s; half a round trip over the Atlantic: {_DEAN}", "link"
    ),
    "fiber": LinkClass(4e-3, 5e6, 20e6, f"FIOS, {_WPT}"),
    "cable": LinkClass(28e-3, 1e6, 5e6, f"Cable, {_WPT}"),
    "dsl": LinkClass(50e-3, 384e3, 1.5e6, f"DSL, {_WPT}"),
    "3g": LinkClass(300e-3, 768e3, 1.6e6, f"3G, {_WPT}"),
    "4g": LinkClass(170e-3, 9e6, 9e6, f"4G, {_WPT}"),
    "lte": LinkClass(70e-3, 12e6, 12e6, f"LTE, {_WPT}"),
    "satellite": LinkClass(
        0.5, 3e6, 25e6, "four times 35,786 km to a geostationary orbit; 25/3 Mbit/s: FCC 2015"
    ),
}
"""Typical figures to start from; whoever knows better gives latency, bandwidth, jitter.

Of a client's own line, `uplink` and `downlink` of `network:` may say something else.
"""

LINK_KEYS = ("class", *Link._fields)


def link_class(name: str, key: str) -> LinkClass:
    """A known class; ConfigError with the nearest names otherwise."""
    if name not in CLASSES:
        raise ConfigError(f"{key}: unknown link class {name!r}{did_you_mean(name, CLASSES)}")
    return CLASSES[name]


def read_link(value: Any, key: str) -> Link:
    """A link from the name of a class, or from {class, latency, bandwidth, jitter}.

    What is left out is that of the class, or perfect without one.

    Raises:
        ConfigError: with `key`, what is wrong, and the repair.
    """
    if isinstance(value, str):
        return link_class(value, key).link
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{key} must be one of {', '.join(CLASSES)} or a mapping of {', '.join(LINK_KEYS)}, "
            f"got {value!r}"
        )
    for part in value:
        if part not in LINK_KEYS:
            raise ConfigError(f"unknown key {key}.{part}{did_you_mean(str(part), LINK_KEYS)}")
    link = link_class(str(value["class"]), f"{key}.class").link if "class" in value else Link()
    units = {"latency": seconds, "bandwidth": bits_per_second, "jitter": seconds}
    return link._replace(
        **{
            part: read(value[part], f"{key}.{part}")
            for part, read in units.items()
            if part in value
        }
    )


def link_codes(senders: np.ndarray, receivers: np.ndarray) -> np.ndarray:
    """int64, one for each directed link, in the order of a Mixing: by receiver, then by sender."""
    return receivers.astype(np.int64) << 32 | senders.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Links:
    """The links between n clients: a few special ones, and the default for all others.

    Attributes:
        codes: int64 [special], rising; see `link_codes`.
        figures: float64 [special + 1, 3]: latency, bandwidth, jitter; the last row is the default.
    """

    codes: np.ndarray
    figures: np.ndarray

    @classmethod
    def of(cls, default: Link, special: Mapping[tuple[int, int], Link]) -> Links:
        """Links from (sender, receiver) to link."""
        ends = np.array(list(special), dtype=np.int64).reshape(-1, 2)
        codes = link_codes(ends[:, 0], ends[:, 1])
        figures = np.array([*special.values(), default], dtype=np.float64)
        order = np.argsort(codes)
        return cls(codes[order], figures[[*order, -1]])

    def look_up(self, senders: np.ndarray, receivers: np.ndarray) -> np.ndarray:
        """float64 [3, links]: latency, bandwidth and jitter of each link; not to be written to."""
        if not len(self.codes):
            return np.broadcast_to(self.figures[-1][:, None], (3, len(senders)))
        wanted = link_codes(senders, receivers)
        at = np.searchsorted(self.codes, wanted)
        known = np.append(self.codes, -1)[at] == wanted
        return self.figures[np.where(known, at, -1)].T
