"""Rules that settings must keep to, and what a user is told of those that do not.

A number's range stands at its field, as `beta: Annotated[float, "[0, 1)"] = 0.9`; all other rules
are lines of the class's `problems()`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import numbers
import operator
import re
import typing
from collections.abc import Iterator
from typing import Any

from p2pqg.base.errors import ConfigError


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
RANGE = re.compile(r">=? [-+.\de]+|[\[(][-+.\de]+, [-+.\de]+[\])]")


MOST_COUNTED = 2**63 - 1
"""No whole number is larger: there is none in an int64."""
MOST_MEASURED = 2.0**127
"""No finite amount is larger: from about there on there is none in float32."""


def broken_rules(params: Any, prefix: str = "") -> Iterator[str]:
    """A line for each rule that an object of a params class breaks: ranges, then its `problems()`.

    Args:
        params: a data class; numbers of it, and each in a list of them, have a range such as
            "[0, 1)", "> 0" or ">= 1".
            Infinity and NaN are in none; None is in any, and so is what is no number, as "auto".
            Without a range, too, finite ones are refused that are beyond all reckoning; but a
            `seed` is not reckoned with, and may be of any size.
        prefix: where it stands, e.g. "algorithm."; `problems()` says that itself.
    """
    kind: type = type(params)
    ranges, can_be = _ranges(kind), True
    for field in dataclasses.fields(params):
        name, held = field.name, getattr(params, field.name, None)  # it may be set later
        for value in held if isinstance(held, (tuple, list)) else (held,):
            if not isinstance(value, numbers.Real):
                continue
            plain: Any = value.item() if hasattr(value, "item") else value  # NumPy's may overflow
            most: Any = MOST_COUNTED if isinstance(value, numbers.Integral) else MOST_MEASURED
            most = math.inf if name == "seed" else most
            size = abs(plain)
            can_be &= not most < size < math.inf
            if name in ranges and not _within(plain, text := ranges[name]):
                told = f"in {text}" if text[0] in "[(" else text
                yield broken(f"{prefix}{name} must be {told}, got {shown(value)}", name)
            elif most < size < math.inf:
                yield broken(f"{prefix}{name} must be {most:.4g} at most, got {shown(value)}", name)
    if can_be:  # rules reckon with them
        yield from getattr(params, "problems", tuple)()


def shown(value: Any) -> str:
    """A number for a message: of a very long one, its length.

    >>> shown(0.1), shown(-(10**400))
    ('0.1', 'a number of 401 digits')
    """
    if isinstance(value, int) and abs(value) >= 10**30:
        size = abs(value)
        digits = int(math.log10(size)) + 1  # str() would refuse thousands; may be one off
        digits += (size >= 10**digits) - (size < 10 ** (digits - 1))
        return f"a number of {digits} digits"
    return str(value)


@functools.cache
def _ranges(cls: type) -> dict[str, str]:
    """Field of a data class -> its range, of those that have one, or had one in a base class."""
    return {
        name: text
        for base in reversed(cls.__mro__)
        for name, hint in typing.get_type_hints(base, include_extras=True).items()
        for text in getattr(hint, "__metadata__", ())
        if isinstance(text, str) and RANGE.fullmatch(text)  # a user's may be anything else
    }


def whole_number(value: Any, at_least: int) -> bool:
    """Whether `value` is an integer (a bool is not) of at least `at_least`."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_integer and value >= at_least


def as_whole_number(value: Any, what: str, least: int = 0) -> int:
    """The value, where it is a whole number of any kind and not less.

    Raises:
        ConfigError: it is none, or less.
    """
    if not whole_number(value, least):
        raise ConfigError(f"{what} must be a whole number >= {least}, got {value!r}")
    return int(value)


def _within(value: Any, text: str) -> bool:
    if text[0] == ">":
        sign, bound = text.split()
        return value < math.inf and SIGNS[sign](value, float(bound))
    low, high = map(float, text[1:-1].split(","))
    above = low <= value if text[0] == "[" else low < value
    return above and (value <= high if text[-1] == "]" else value < high)
