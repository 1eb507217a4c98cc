"""Quantities as recipes write them, "50 ms" and "10 Mbit/s" -> seconds and bits per second."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.ranges import MOST_MEASURED

TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0}
RATES = {
    **{"bit/s": 1.0, "kbit/s": 1e3, "Mbit/s": 1e6, "Gbit/s": 1e9},
    **{"bps": 1.0, "kbps": 1e3, "Mbps": 1e6, "Gbps": 1e9},
    **{"B/s": 8.0, "kB/s": 8e3, "MB/s": 8e6, "GB/s": 8e9},
}
"""Decimal, as networks count: 1 kB is 1000 bytes of 8 bits."""

LEAST_MEASURED = 1 / MOST_MEASURED
"""What is divided by no less stays far from infinity."""

NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|nan)\s*(\S*)")


ROUNDING = 1e-9
"""Share of a clock's time that its rounding may come to."""


def still(moment: float) -> float:
    """Up to when it counts as that moment: a clock adds up seconds, and rounds them.

    >>> at = sum([0.1] * 10)  # ten rounds
    >>> at, at >= 1.0, still(at) >= 1.0
    (0.9999999999999999, False, True)
    """
    return moment * (1 + ROUNDING)


def seconds(value: Any, key: str) -> float:
    """A time >= 0: a number of seconds, or a text with a unit.

    Args:
        value: e.g. 0.05, "50 ms".
        key: what it was given for, for the message.

    Raises:
        ConfigError: it is no such time.

    >>> seconds("50 ms", "network.deadline")
    0.05
    """
    amount = _quantity(value, key, TIMES, "a time", "0.05 (seconds) or 50 ms")
    if not 0 <= amount < math.inf:
        raise ConfigError(f"{key} must be >= 0 and finite, got {value!r}")
    return amount


def bits_per_second(value: Any, key: str) -> float:
    """A rate > 0, perhaps inf: a number of bits per second, or a text with a unit.

    >>> bits_per_second("10 Mbit/s", "network.uplink")
    10000000.0
    """
    amount = _quantity(value, key, RATES, "a rate", "1e7 (bits per second) or 10 Mbit/s")
    return positive(amount, key, value)


def positive(amount: float, key: str, said: Any) -> float:
    """The amount, where one can divide by it; ConfigError if not."""
    if not amount > 0:
        raise ConfigError(f"{key} must be > 0, got {said!r}")
    if amount < LEAST_MEASURED:
        raise ConfigError(f"{key} must be {LEAST_MEASURED:.4g} at least, got {said!r}")
    return amount


def number(value: Any, key: str) -> float:
    """A number without a unit; ConfigError if it is none."""
    return _quantity(value, key, {}, "a number", "0.5")


def _quantity(value: Any, key: str, units: Mapping[str, float], what: str, example: str) -> float:
    found = None
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        found = NUMBER.fullmatch(str(value).strip())
    if found is None or math.isnan(float(found[1])):
        raise ConfigError(f"{key} must be {what} such as {example}, got {value!r}")
    unit = found[2]
    if unit and unit not in units:
        raise ConfigError(f"{key}: unknown unit {unit!r} in {value!r}{did_you_mean(unit, units)}")
    amount = float(found[1]) * units.get(unit, 1.0)
    if MOST_MEASURED < amount < math.inf:
        raise ConfigError(f"{key} must be {MOST_MEASURED:.4g} at most, got {value!r}")
    return amount
