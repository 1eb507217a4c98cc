"""What is claimed, and the rule it is judged by: a recipe's `claim`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from p2pqg.base import config as machinery
from p2pqg.base.dotted import flat
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.ranges import broken
from p2pqg.base.wording import plain_text
from p2pqg.recipe.keys import SELF_EVIDENT
from p2pqg.recipe.settings import RunConfig

BOUNDS = ("above", "below", "within")
SIDE = ("left", "right", "by")

Side = Mapping[str, Any]
"""Settings of runs, or a comparison {left, right, by}."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of a recipe; the room's `__init__` shows one with every key."""

    left: dict[str, Any]
    holds_if: dict[str, Any]
    says: str = ""
    right: dict[str, Any] | None = None
    metric: str = "test_accuracy"
    by: Literal["difference", "ratio"] = "difference"
    where: dict[str, Any] = field(default_factory=dict)
    each: dict[str, list[Any]] = field(default_factory=dict)
    tune: list[str] = field(default_factory=list)

    def problems(self) -> Iterator[str]:
        """A line for each rule that is broken; `claim.` stands before them."""
        for key in ("left", "right"):
            side = getattr(self, key)
            if side is not None:
                yield from _side_problems(side, key)
        if self.right is None and self.by != "difference":
            yield broken("by needs a right side to compare with; set right", "by", "right")
        if self.metric in {setting.name for setting in fields(RunConfig)}:
            yield (
                f"metric must be a result of the runs, and {self.metric} is a setting of theirs; "
                "take test_accuracy, bytes_sent or wall_seconds"
            )
        for key, values in self.each.items():
            if not values:
                yield f"each.{key} must be a list of values, got []"
        kind, bound = next(iter(self.holds_if.items()), ("", None))
        numbers: list[Any] = bound if kind == "within" and isinstance(bound, list) else [bound]
        if (
            len(self.holds_if) != 1
            or kind not in BOUNDS
            or not all(_is_number(one) for one in numbers)
            or (kind == "within" and (len(numbers) != 2 or not numbers[0] < numbers[1]))
        ):
            yield (
                "holds_if must be {above: X}, {below: X} or {within: [low, high]}, "
                f"got {self.holds_if!r:.60}"
            )
        elif self.by == "ratio" and not all(one > 0 for one in numbers):
            yield broken(
                f"holds_if must be > 0 for a ratio, got {self.holds_if!r:.60}", "holds_if", "by"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """(low, high) between which the mean is as claimed."""
        ((kind, bound),) = self.holds_if.items()
        if kind == "within":
            return float(bound[0]), float(bound[1])
        return (float(bound), math.inf) if kind == "above" else (-math.inf, float(bound))

    @property
    def _whole(self) -> Side:
        """All that is compared."""
        if self.right is None:
            return self.left
        return {"left": self.left, "right": self.right, "by": self.by}

    @property
    def is_of_ratios(self) -> bool:
        """Whether what is judged has no unit of the metric's any more."""
        return _has_ratio(self._whole)

    @property
    def rule(self) -> str:
        """What is compared with what, in words."""
        ((kind, bound),) = self.holds_if.items()
        whole = self._whole
        limit = f"{bound[0]:g} to {bound[1]:g}" if kind == "within" else f"{bound:g}"
        place = f" at {told(self.where)}" if self.where else ""
        best = f", each at its best {' and '.join(self.tune)}" if self.tune else ""
        return f"{self.metric.replace('_', ' ')} of {told(whole)}{place}{best}, {kind} {limit}"


def _side_problems(side: Side, where: str) -> Iterator[str]:
    if "left" not in side:
        if not side:
            yield f"{where} must be settings of runs, such as {{algorithm: dsgd}}, got {{}}"
        return
    for key in ("left", "right"):
        if not isinstance(side.get(key), Mapping):
            yield f"{where}.{key} must be a mapping, got {side.get(key)!r:.60}"
        else:
            yield from _side_problems(side[key], f"{where}.{key}")
    if side.get("by", "difference") not in ("difference", "ratio"):
        yield f"{where}.by must be difference or ratio, got {side['by']!r:.60}"
    yield from (
        f"unknown key {where}.{key}{did_you_mean(key, SIDE)}" for key in set(side) - {*SIDE}
    )


def _has_ratio(side: Side) -> bool:
    return "left" in side and (
        side.get("by") == "ratio" or _has_ratio(side["left"]) or _has_ratio(side["right"])
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def told(side: Side, inner: bool = False) -> str:
    """A side in words.

    >>> told({"left": {"algorithm": "d2", "batch_size": 8}, "right": {"algorithm": "dsgd"}})
    'd2, batch_size 8 - dsgd'
    """
    if "left" not in side:
        texts = [
            plain_text(value) if key in SELF_EVIDENT else f"{key} {plain_text(value)}"
            for key, value in flat(side).items()
        ]
        return ", ".join(texts)
    sign = "/" if side.get("by") == "ratio" else "-"
    text = f"{told(side['left'], True)} {sign} {told(side['right'], True)}"
    return f"({text})" if inner else text


def read_claims(values: Any) -> dict[str, Claim]:
    """Name -> claim of what a recipe has under `claim`; a single claim is called "".

    Raises:
        ConfigError: with every problem.
    """
    if values is None:
        return {}
    if not isinstance(values, Mapping) or not values:
        raise ConfigError(f"claim must be a mapping with left and holds_if, got {values!r:.60}")
    one = bool({"left", "holds_if"} & set(values))
    found, problems = {}, []
    for name, said in ({"": values} if one else values).items():
        prefix = f"claim.{name}." if name else "claim."
        if not isinstance(said, Mapping):
            problems.append(
                f"{prefix[:-1]} must be a mapping with left and holds_if, got {said!r:.60}"
            )
            continue
        made, wrong = machinery.read(Claim, said)
        problems += [_placed(line, prefix) for line in wrong]
        if made:
            found[str(name)] = made
    if problems:
        raise ConfigError.of(problems)
    return found


def _placed(line: str, prefix: str) -> str:
    """A problem of a claim, with where that stands."""
    unknown = "unknown key "
    return unknown + prefix + line[len(unknown) :] if line.startswith(unknown) else prefix + line
