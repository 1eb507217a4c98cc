"""What clients learn, and by what they are judged: a task, as hosts are told it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.wording import counted
from p2pqg.engine.spec import Task
from p2pqg.network import Network
from p2pqg.recipe.learning import Learning
from p2pqg.recipe.settings import RunConfig
from p2pqg.results.schemas import (
    ALL_ROUND_COLUMNS,
    ASKED_COLUMNS,
    CLIENT_COLUMNS,
    STEPS_COLUMNS,
    SUMMED_UP,
)


def task_of(config: RunConfig, found: Learning) -> Task:
    """The task of a run; ConfigError where its clients cannot be judged as is asked."""
    arrays = found.arrays
    if config.test == "own" and found.objective.kind != "classes":
        raise ConfigError(
            f"test own needs classes, whose mix a client has, and targets are "
            f"{found.objective.kind}; leave it out"
        )
    return Task(
        model=found.blueprint,
        num_classes=arrays.num_classes,
        input_shape=arrays.input_shape,
        mean=arrays.mean,
        std=arrays.std,
        augmentation=arrays.augmentation,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        precision=config.precision,
        seed=config.seed,
        objective=found.objective,
        metrics=found.metrics,
        num_validation=len(found.held_out),
        own_test=config.test == "own",
        privacy=config.privacy,
    )


def untested(task: Task, found: Learning) -> list[str]:
    """A line on clients whose own mix of labels the test set has nothing of."""
    if not task.own_test:
        return []
    y = found.arrays.test_y
    tested = np.unique(y[: len(y) - task.num_validation])
    count = sum(not np.isin(found.arrays.train_y[part], tested).any() for part in found.parts)
    if not count:
        return []
    return [
        f"test own: the test set has no sample of any class of {counted(count, 'client')} of "
        f"{len(found.parts)}; personal_accuracy is the mean of the others"
    ]


def check_privacy(task: Task, sizes: np.ndarray) -> None:
    """Whether samples can be kept apart, and epsilon be told; ConfigError if not."""
    privacy = task.privacy
    privacy.check_accountant()
    privacy.check_shards(sizes, task.batch_size)
    if privacy.limit < math.inf:
        from p2pqg.models.stacked.stacked import batch_statistics  # brings torch

        model = task.model.build(task.num_classes, task.input_shape, task.seed)
        if layer := batch_statistics(model):
            raise ConfigError(
                f"privacy does not go with {task.model.name}: in {layer} the samples of a batch "
                "meet, so none has a gradient of its own; take one with group norm, resnet20-gn"
            )


def check_columns(metrics: Sequence[str]) -> None:
    """Whether what is measured can have a column, and a file, by its name.

    Raises:
        ConfigError: it cannot.
    """
    known = {*ALL_ROUND_COLUMNS, *ASKED_COLUMNS, *SUMMED_UP}
    taken = {
        *known,
        *CLIENT_COLUMNS,
        *STEPS_COLUMNS,
        "lied",
        *(f"averaged_{name}" for name in metrics),
    }
    for name in metrics:
        if name in taken or f"averaged_{name}" in known:
            raise ConfigError(
                f"metrics: {name} is a column that there is already; call it otherwise"
            )
        if not re.fullmatch(r"[^\W\d_][\w.-]*", name):
            raise ConfigError(
                f"metrics: a name begins with a letter and goes on with letters, digits and _ . -, "
                f"got {name!r}"
            )


def check_lies_of_data(network: Network, task: Task) -> None:
    """Whether what is learned can be lied about so; ConfigError if not."""
    for attack in network.attacks:
        if attack.lie.kind == "data" and task.objective.kind != "classes":
            raise ConfigError(
                f"attack {attack.lie.name} needs classes, and targets are {task.objective.kind}; "
                "take another, such as sign-flip"
            )
