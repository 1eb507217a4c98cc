"""One item of a scenario: when it happens and what it does, as a recipe says it -> plain data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.ranges import MOST_COUNTED, shown
from p2pqg.base.wording import counted
from p2pqg.network.units import TIMES, seconds
from p2pqg.network.verbs import VERBS

Kind = Literal["round", "seconds"]


@dataclass(frozen=True)
class Event:
    """Something that is done to a simulation once.

    Attributes:
        kind: what `at` counts, rounds done or seconds of the simulated clock.
        at: it happens before the next round once so much is over.
        action: one of `verbs.VERBS`.
        arguments: its keywords; plain data.
        where: in the recipe, for messages.
    """

    kind: Kind
    at: float
    action: str
    arguments: Mapping[str, Any]
    where: str

    @property
    def item(self) -> str:
        """Which one of the scenario it comes of: `scenario[3]`, also of a line of a trace."""
        return self.where.partition(" ")[0]


def moments(item: Mapping[str, Any], num_rounds: int, where: str) -> tuple[Kind, list[float]]:
    """When an item happens: once (`at`), or again and again (`every`, perhaps `between`).

    Args:
        item: with `at: round 300`, `at: 300` or `at: 1800 s`; or `every: 50 rounds` with
            `between: [100, 400]`, both included, in the same unit; by default from the first
            `every` on to the end of the run.
        num_rounds: of the run.
        where: the item stands, for messages.

    Raises:
        ConfigError: it says no moment, or two.
    """
    if ("at" in item) == ("every" in item):
        raise ConfigError(f"{where} must say when: at: round 300, or every: 50 rounds")
    if "at" in item:
        if "between" in item:
            raise ConfigError(f"{where}.between goes with every, not with at; leave it out")
        kind, at = _moment(item["at"], f"{where}.at")
        return kind, [at]
    kind, step = _moment(item["every"], f"{where}.every")
    if step <= 0:
        raise ConfigError(f"{where}.every must be > 0, got {item['every']!r}")
    if "between" not in item and kind == "seconds":
        raise ConfigError(f"{where}.every in seconds needs an end; say between: [0, 3600]")
    if "between" not in item and step >= num_rounds:
        raise ConfigError(
            f"{where}.every is {counted(math.ceil(step), 'round')}, but the last round is "
            f"{num_rounds - 1}; make it less, or rounds more"
        )
    first, last = _span(item.get("between", [step, num_rounds - 1]), kind, f"{where}.between")
    return kind, [first + k * step for k in range(math.floor((last - first) / step + 1e-9) + 1)]


def _moment(value: Any, key: str) -> tuple[Kind, float]:
    """`round 300`, `300` and `50 rounds` count rounds; what has a unit of time, seconds."""
    text = str(value).strip()
    number = re.fullmatch(r"(?:rounds? *)?(\d+)(?: *rounds?)?", text)
    if number and not isinstance(value, bool):
        if (at := int(number[1])) > MOST_COUNTED:
            raise ConfigError(f"{key} must be {MOST_COUNTED:.4g} rounds at most, got {shown(at)}")
        return "round", at
    if text.endswith(tuple(TIMES)):
        return "seconds", seconds(text, key)
    raise ConfigError(f"{key} must be rounds or a time, such as round 300 or 1800 s, got {value!r}")


def _span(value: Any, kind: Kind, key: str) -> tuple[float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ConfigError(f"{key} must be [first, last], got {value!r}")
    unit = "" if kind == "round" else "s"
    ends = []
    for end in value:
        bare = isinstance(end, (int, float)) and not isinstance(end, bool)
        found, at = _moment(f"{end} {unit}".strip() if bare else end, key)
        if found != kind:
            raise ConfigError(f"{key} must count what every counts, {kind}s, got {value!r}")
        ends.append(at)
    if ends[0] > ends[1]:
        raise ConfigError(f"{key} must rise, got {value!r}")
    return ends[0], ends[1]


def action_of(item: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """What an item does: the method's name and its keywords.

    Raises:
        ConfigError: it is unknown, none, or more than one; or its value cannot be.
    """
    names = [str(key) for key in item if key not in ("at", "every", "between")]
    for name in names:
        if name not in VERBS:
            known = did_you_mean(name, [*VERBS, "at", "every", "between", "churn"])
            raise ConfigError(f"{where}: unknown key {name}{known}")
    if len(names) != 1:
        got = " and ".join(names) or "none"
        raise ConfigError(f"{where} must do exactly one thing, such as drop_links; got {got}")
    return names[0], VERBS[names[0]].read(item[names[0]], f"{where}.{names[0]}")
