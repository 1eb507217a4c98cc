"""The step sizes of a run: lr and its schedule, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2pqg.algorithms.lr import LearningRate, learning_rate, tabled
from p2pqg.base.digest import bare
from p2pqg.base.registry import Entry, Registry
from p2pqg.base.user_code import find_in_file
from p2pqg.recipe.own import Own, check_given
from p2pqg.recipe.settings import RunConfig
from p2pqg.simulation.length import Length

RATES = Registry("learning rate")
"""Empty: a user's function is found in its file by a registry, and none is registered."""


def step_sizes(config: RunConfig, num_clients: int, length: Length, own: Own) -> LearningRate:
    """Round -> step size. Fractions of the run are of its length as first planned."""
    rounds_per_epoch = length.steps_per_epoch / length.steps_per_round
    if config.lr_schedule.function is not None:
        function = _own_rate(config.lr_schedule.function, own)
        called = bare(config.lr_schedule.function)
        return tabled(function, length.num_rounds, rounds_per_epoch, called)
    return learning_rate(
        config.lr,
        config.lr_schedule,
        num_clients,
        config.batch_size,
        length.planned_rounds,
        rounds_per_epoch,
    )


def target_of(config: RunConfig, num_clients: int) -> float:
    """What the step size warms up to."""
    return learning_rate(
        config.lr, config.lr_schedule, num_clients, config.batch_size, 1, 1.0
    ).target


def _own_rate(name: str, own: Own) -> Callable[..., Any]:
    """A user's function of the round."""
    if (function := own.get("lr")) is not None:
        return function
    check_given(name, "lr")
    return find_in_file(RATES, name, lambda found, name: Entry(name, found)).build
