"""Functions of the user's that are networks: what they take, and what is set behind their name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from p2pqg.base.errors import TopologyError, did_you_mean
from p2pqg.base.registry import Entry
from p2pqg.base.signature import bare, parameters
from p2pqg.topology.label_counts import COUNTS, checked
from p2pqg.topology.names import parse, split_options

NUMBERS = {"clients", "num_clients"}
"""Parameters by which a user's function is told how many clients there are."""
TOLD = {COUNTS, *NUMBERS}
"""All parameters that are no round."""


def split_code(text: str) -> tuple[str, str]:
    """FILE.py:NAME, and what is set behind it.

    >>> split_code("nets/mine.py:ring_of:k=2,p=0.5"), split_code("ring16:mixing=lazy")
    (('nets/mine.py:ring_of', 'k=2,p=0.5'), ('ring16:mixing=lazy', ''))
    """
    found = re.fullmatch(r"(.+\.py:[^:=,]+):(.*)", text, re.DOTALL)
    return (found[1], found[2]) if found else (text, "")


def with_settings(function: Callable[..., Any], options: str, text: str) -> Callable[..., Any]:
    """A user's function with some of its parameters set.

    Raises:
        TopologyError: it has no such parameter, or the value is none of its kind.
    """
    given = split_options(options, text)
    takes = {name: p for name, p in parameters(function).items() if name not in TOLD}
    values = {}
    for key, value in given.items():
        if key not in takes:
            raise TopologyError(f"{text!r:.80}: unknown key {key:.60}{did_you_mean(key, takes)}")
        try:
            values[key] = parse(value, _kind_of(takes[key], value))
        except ValueError as error:
            raise TopologyError(f"{text!r:.80}: {key} must be {error}, got {value!r:.60}") from None
    return With(function, values) if values else function


def _kind_of(parameter: inspect.Parameter, value: str) -> type:
    """What a parameter takes: as it says, as its default is, or as the value looks."""
    for kind in (bool, int, float, str):
        if parameter.annotation in (kind, kind.__name__):
            return kind
    if isinstance(parameter.default, bool | int | float | str):
        return type(parameter.default)
    if value.lower() in ("true", "false"):
        return bool
    return next((kind for kind in (int, float) if _is_a(kind, value)), str)


def _is_a(kind: type, value: str) -> bool:
    try:
        kind(value)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class With:
    """A user's function with some of its parameters set."""

    function: Callable[..., Any]
    values: Mapping[str, Any]

    def __call__(self, *given: Any, **named: Any) -> Any:
        """With what is left of its parameters, in order or by name."""
        left = (name for name in bare(self.function) if name not in (*self.values, *TOLD))
        return self.function(**dict(zip(left, given, strict=False)), **self.values, **named)

    @property
    def __signature__(self) -> inspect.Signature:
        left = [p for name, p in parameters(self.function).items() if name not in self.values]
        return inspect.Signature(left)

    @property
    def __name__(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))


def wrapped(function: Any, name: str) -> Entry:
    """A function of a file that is no decorated network."""
    return Entry(name, function, traits={"own": True})


def of_the_round(function: Callable[..., Any]) -> bool:
    """Whether it must be told the round."""
    return bool(set(bare(function)) - TOLD)


def told_of_clients(
    function: Callable[..., Any], name: str, clients: int | None, label_counts: Any
) -> dict[str, Any]:
    """What a user's function is told of the clients, by keyword: what it has parameters for.

    Raises:
        TopologyError: nobody said how many clients there are, or what they see.
    """
    asks = parameters(function)
    told: dict[str, Any] = {}
    for number in NUMBERS & set(asks):
        if clients is not None:
            told[number] = clients
        elif asks[number].default is inspect.Parameter.empty:
            raise TopologyError(
                f"{name!r:.80} does not say how many clients there are. Use clients: 16."
            )
    if COUNTS not in asks:
        return told
    if clients is None:
        raise TopologyError(
            f"{name!r:.80} looks at the clients' labels, and nothing says how many clients there "
            "are. Use clients: 16."
        )
    return told | {COUNTS: checked(label_counts, clients, name)}
