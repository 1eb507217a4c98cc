"""Keywords -> an entry's params, with all that is wrong with them in one error."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping
from typing import Any

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.ranges import broken_rules
from p2pqg.base.registry import Entry


def params_of(entry: Entry, given: Mapping[str, Any]) -> Any:
    """The params of a data set or partition: its defaults, overridden by what is given.

    Raises:
        ConfigError: an unknown keyword, or a value that the params class itself complains about.
    """
    known = [field.name for field in dataclasses.fields(entry.params)]
    problems = [
        f"unknown key {key}{did_you_mean(key, known) or '; there is nothing to set'}"
        for key in given
        if key not in known
    ]
    problems += [
        f"{field.name} is missing; set it"
        for field in dataclasses.fields(entry.params)
        if field.default is field.default_factory is dataclasses.MISSING and field.name not in given
    ]
    if problems:
        raise ConfigError.of(problems, where=entry.name)
    params = entry.params(**given)
    if problems := list(broken_rules(params)):
        raise ConfigError.of(problems, where=entry.name)
    return params


def whole_number(value: Any, at_least: int) -> bool:
    """Whether `value` is an integer (a bool is not) of at least `at_least`."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return is_integer and value >= at_least
