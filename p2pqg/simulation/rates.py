"""The step sizes of a run: lr and its schedule, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from p2pqg.algorithms.lr import LearningRate, learning_rate, tabled
from p2pqg.base.digest import bare
from p2pqg.base.errors import P2pqgError
from p2pqg.base.registry import Entry, Registry
from p2pqg.base.user_code import find_in_file
from p2pqg.engine.rule import Rule
from p2pqg.recipe.own import Own, check_given
from p2pqg.recipe.settings import RunConfig
from p2pqg.simulation.length import Length

RATES = Registry("learning rate")
"""Empty: a user's function is found in its file by a registry, and none is registered."""

OFF = 1e-3
"""Share of a model by which rounding may put it off."""


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


def too_steep(config: RunConfig, rule: Rule) -> Iterator[str]:
    """Step sizes that rise so fast that rounding is all that a method which divides by them sees.

    What a model moves by in a round, over lr, has its rounding over lr, too; as a momentum that is
    times the lr of the next round.
    """
    lr = rule.lr
    if not isinstance(lr, LearningRate):
        return
    rates = np.array(lr.values or (lr(0), lr(1)))  # a warm-up rises the most at its begin
    with np.errstate(all="ignore"):
        rises = rates[1:] / rates[:-1]
    exact = "float64" if config.precision == "float64" else "float32"  # of models, with bf16, too
    most = OFF / np.finfo(exact).eps
    if not (rises > most).any() or not _divides(rule):
        return
    round = int(rises.argmax())
    which = f"lr {rates[0]:g}" if lr.values else f"lr_schedule.warmup_from {lr.warmup_from:g}"
    which = f"lr {rates[round]:g} in round {round}" if round else which
    yield (
        f"{which} is too small: {rule.algorithm.name} divides by the step size, which rises "
        f"{rises[round]:,.3g}-fold in a round, and so do the rounding errors of {exact}"
        f"; let it rise from {rates[round + 1] / most:.0e} or more"
    )


def _divides(rule: Rule) -> bool:
    """Whether a method leaves no numbers where its first step size is 0."""
    from p2pqg.theory.trajectories import trajectory  # brings torch

    params = {name: value for name, value in vars(rule.params).items() if name != "lr"}
    toy: dict[str, Any] = {"topology": "complete2", "rounds": 3, **params}
    try:
        trajectory(
            rule.algorithm, lambda x, _: x - 1, np.zeros(2), lr=lambda r: 0.1 * (r > 0), **toy
        )
    except P2pqgError as error:
        return "divides by it" in str(error)
    return False
