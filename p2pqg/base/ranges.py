"""Rules that settings must keep to, and what a user is told of those that do not."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any


class Broken(str):
    """What is told of a rule that looks at several settings, or does not begin with its own.

    Attributes:
        keys: the settings that it looks at.
    """

    keys: tuple[str, ...]


def broken(line: str, *keys: str) -> Broken:
    """A line for `problems()`, of a rule on those settings."""
    found = Broken(line)
    found.keys = keys
    return found


def keys_of(line: str) -> tuple[str, ...]:
    """The settings that a rule looks at, by its line: those it says, or that it begins with.

    >>> keys_of("algorithm.beta must be in [0, 1), got 1.0")
    ('beta',)
    >>> keys_of(broken("model.width must be a multiple of heads (3), got 8", "width", "heads"))
    ('width', 'heads')
    """
    if isinstance(line, Broken):
        return line.keys
    return (line.split(" ", 1)[0].rstrip(":,").rpartition(".")[2],)


SIGNS = {">": operator.gt, ">=": operator.ge}


def out_of_range(params: Any, prefix: str = "", **ranges: str) -> Iterator[str]:
    """Problems of numbers that are not in their ranges, a line each. None is in any range.

    Args:
        params: has the numbers as attributes.
        prefix: where it stands, e.g. "algorithm.".
        ranges: attribute -> "[0, 1)", or "> 0", or ">= 1"; infinity and NaN are in none.

    >>> from types import SimpleNamespace
    >>> params = SimpleNamespace(beta=1.0, tau=3)
    >>> list(out_of_range(params, "algorithm.", beta="[0, 1)", tau=">= 1"))
    ['algorithm.beta must be in [0, 1), got 1.0']
    """
    for name, text in ranges.items():
        value = getattr(params, name)
        if value is not None and not _within(value, text):
            told = f"in {text}" if text[0] in "[(" else text
            yield f"{prefix}{name} must be {told}, got {value}"


def _within(value: float, text: str) -> bool:
    if text[0] == ">":
        sign, bound = text.split()
        return value < math.inf and SIGNS[sign](value, float(bound))
    low, high = map(float, text[1:-1].split(","))
    above = low <= value if text[0] == "[" else low < value
    return above and (value <= high if text[-1] == "]" else value < high)
