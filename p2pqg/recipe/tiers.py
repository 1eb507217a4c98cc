"""One recipe at several scales: what all tiers share, and what each one changes.

    dataset: cifar10
    sweep: {algorithm: [dsgd, qg-dsgdm-n], seed: [1, 2, 3]}
    tiers:
      smoke: {takes: seconds, dataset: digits, rounds: 20, sweep: {seed: [1]}}
      paper: {takes: days on a GPU, epochs: 300}

A tier's keys replace the recipe's. A mapping is merged key by key (so `sweep` keeps its algorithms
above), a list is replaced as a whole, and null takes a key away, `tune` with its `max_extensions`.
`takes` says how long it runs, for whoever has to choose; tiers stand in that order, shortest first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pqg.base.errors import ConfigError, did_you_mean

SMOKE, TAKES = "smoke", "takes"


def usual_tier(values: Mapping[str, Any]) -> str | None:
    """The tier of whoever names none: the shortest that is more than a smoke test.

    None for a recipe that comes in no tiers.
    """
    tiers = list(values.get("tiers") or [])
    return next((tier for tier in tiers if tier != SMOKE), tiers[0] if tiers else None)


def choice(values: Mapping[str, Any], tier: str) -> str:
    """One line on a tier that nobody asked for: how long it takes, and what else there is.

    >>> choice({"tiers": {"smoke": {"takes": "seconds"}, "cpu": {"takes": "an hour"}}}, "cpu")
    'tier cpu (an hour); or --tier smoke (seconds)'
    """
    told = {
        name: f"{name} ({changes[TAKES]})" if TAKES in changes else name
        for name, changes in values["tiers"].items()
    }
    others = ", ".join(f"--tier {text}" for name, text in told.items() if name != tier)
    return f"tier {told[tier]}" + (f"; or {others}" if others else "")


def at_tier(values: Mapping[str, Any], tier: str | None, recipe: str) -> dict[str, Any]:
    """A recipe at one of its tiers.

    Args:
        values: the recipe's mapping, perhaps with `tiers`.
        tier: which one; None: the usual one, or the recipe as it is where there are none.
        recipe: its name, for messages.

    Returns:
        The mapping without `tiers`.

    Raises:
        ConfigError: no such tier, a tier where there are none, or `tiers` is no mapping of names to
            mappings.
    """
    common = {key: value for key, value in values.items() if key != "tiers"}
    tiers = values.get("tiers")
    if tiers is None:
        if tier is not None:
            raise ConfigError(f"{recipe} has no tiers, got --tier {tier}; leave --tier out")
        return common
    if (
        not isinstance(tiers, Mapping)
        or not tiers
        or not all(isinstance(name, str) and isinstance(tiers[name], Mapping) for name in tiers)
    ):
        raise ConfigError(f"{recipe}: tiers must be a mapping of names to mappings, got {tiers!r}")
    tier = usual_tier(values) or "" if tier is None else tier
    if tier not in tiers:
        known = f"{did_you_mean(tier, tiers, show_known=False)}; known: {', '.join(tiers)}"
        raise ConfigError(f"{recipe}: unknown tier {tier!r}{known}")
    changes = {key: change for key, change in tiers[tier].items() if key != TAKES}
    if changes.get("tune", "as it is") is None:
        changes = {"max_extensions": None, **changes}
    return merged(common, changes)


def merged(common: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`common` with `changes` on top, mappings key by key; a change to null removes the key.

    >>> merged({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"d": 4}})
    {'b': {'c': 2, 'd': 4}}
    """
    result = dict(common)
    for key, change in changes.items():
        if change is None:
            result.pop(key, None)
        elif isinstance(change, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], change)
        else:
            result[key] = change
    return result
