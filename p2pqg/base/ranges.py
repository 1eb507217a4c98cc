"""Ranges that numbers must keep to, and what a user is told of those that do not."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

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
