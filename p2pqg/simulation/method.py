"""The method of a run: which algorithm, with which parameters, by its settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from p2pqg.algorithms import ALGORITHMS
from p2pqg.algorithms.effects import Traits
from p2pqg.algorithms.user_code import find_algorithm
from p2pqg.base import config as machinery
from p2pqg.base.config import Problems
from p2pqg.base.errors import ConfigError
from p2pqg.base.ranges import MOST_COUNTED
from p2pqg.base.registry import Entry
from p2pqg.recipe.settings import RunConfig, chosen


@dataclass(frozen=True)
class Method(Traits):
    """An algorithm with its parameters; lr is the one of the recipe, before any schedule."""

    name: str
    algorithm: Entry
    params: Any

    def with_local_epochs(self, epochs: float, steps_per_epoch: float) -> Method:
        """With so many passes over a mean-sized shard between two exchanges, at least one batch."""
        steps = max(1, round(min(epochs * steps_per_epoch, MOST_COUNTED)))
        params = dataclasses.replace(self.params, local_steps=steps)
        return dataclasses.replace(self, params=params)


def method_of(config: RunConfig) -> Method:
    """The algorithm that the settings ask for."""
    name, given = chosen(config.algorithm, "qg-dsgdm-n")
    entry, problems = find_algorithm(name), Problems()
    params: Any = None
    given = {"lr": config.lr} | given
    with problems:
        if config.momentum is not None:
            if "beta" not in {field.name for field in dataclasses.fields(entry.params)}:
                raise ConfigError(f"momentum cannot be set: {name} has none")
            given["beta"] = config.momentum
    with problems:
        if config.local_steps is not None or config.local_epochs is not None:
            _check_local_steps(config, entry)
            given |= {} if config.local_steps is None else {"local_steps": config.local_steps}
    with problems:
        params = machinery.made(entry.params, given, "algorithm.")
    problems.refuse()
    return Method(name, entry, params)


def _check_local_steps(config: RunConfig, entry: Entry) -> None:
    """Whether it takes several steps between two exchanges; ConfigError if not."""
    if config.local_steps is not None and config.local_epochs is not None:
        raise ConfigError(
            f"set local_steps or local_epochs, not both; got {config.local_steps} and "
            f"{config.local_epochs}"
        )
    if not hasattr(entry.params, "local_steps"):
        able = sorted(n for n, e in ALGORITHMS.items() if hasattr(e.params, "local_steps"))
        key = "local_epochs" if config.local_steps is None else "local_steps"
        raise ConfigError(f"{key} does not go with {entry.name}; it is for {', '.join(able)}")
