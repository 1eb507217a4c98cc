"""What is learned from, and what learns: samples, their split, and a model, put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base.config import Problems
from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.base.wording import plain_text
from p2pqg.data import (
    Arrays,
    columns_of,
    load,
    parts_of,
    read,
    split,
)
from p2pqg.data._encoded import encoded
from p2pqg.data._stored import copy_of, copy_of_parts
from p2pqg.models import Blueprint, Cost, encoder_of, tokenizer_of
from p2pqg.models.judging import Metric, Objective
from p2pqg.recipe.own import NOTHING, Own
from p2pqg.recipe.own_files import FOLDER
from p2pqg.recipe.parts import (
    OwnData,
    Part,
    blueprint_of,
    dataset_of,
    measured,
    model_of,
    objective_of,
    partition_of,
)
from p2pqg.recipe.settings import RunConfig


@dataclass(frozen=True)
class Learning:
    """What is learned from, and what learns.

    Attributes:
        resolved: the keys of the recipe, every default filled in.
        arrays: samples; with targets as the task has them, and the validation samples, which are
            among the training samples, also at the end of the test set.
        parts: for each client, the indices of its training samples.
        held_out: the indices of the validation samples.
        notes: what a user should know, a line each.
        entries: of the data set and the partition, which may come from a user's file.
        files: name -> content, what a run keeps of data that were given as objects.
    """

    resolved: dict[str, Any]
    arrays: Arrays
    parts: list[np.ndarray]
    cost: Cost
    blueprint: Blueprint
    objective: Objective
    metrics: tuple[Metric, ...]
    held_out: np.ndarray
    notes: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def learning(config: RunConfig, num_clients: int | None, own: Own = NOTHING) -> Learning:
    """The samples of a recipe, their split over so many clients, and the size of its model.

    Args:
        config: perhaps not resolved yet.
        num_clients: None: nobody knows, and nothing is split.
        own: the user's objects.

    Raises:
        ConfigError: with every problem of the three.
    """
    dataset, folder = dataset_of(config)
    problems, model = Problems(), None
    with problems:
        model = model_of(config, dataset, own)
    with problems:
        how = partition_of(config)
    problems.refuse()
    arrays = _loaded(dataset, folder, model, how, own)
    dataset, news = _as_read(dataset, folder, arrays, own)
    how = partition_of(config, arrays)
    model = model or model_of(config, dataset, own, arrays)
    assert model is not None  # the samples told
    out = held_out(config, arrays)
    with problems:
        objective, loss = objective_of(config, arrays, own)
        metrics = measured(config, objective, own)
    with problems:
        blueprint = blueprint_of(model, own)
    with problems:
        parts = _split(config, how, arrays, num_clients, out, own) if num_clients else []
    problems.refuse()
    copies, files = _copies(own, arrays, parts)
    seen = _seen(arrays, model, config.device)
    arrays = _as_judged(seen, objective, out, config.precision == "float64")
    blueprint, objective, cost, notes = _tried(blueprint, objective, metrics, arrays, parts, config)
    return Learning(
        resolved={
            "dataset": dataset.resolved(),
            "data_dir": folder,
            "model": model.resolved(),
            "loss": loss.resolved(),
            "partition": how.resolved(),
            **copies,
        },
        arrays=arrays,
        parts=parts,
        cost=cost,
        blueprint=blueprint,
        objective=objective,
        metrics=metrics,
        held_out=out,
        notes=(
            *own.notes,
            *notes,
            *news,
            *_ignored(config, how, own),
            *_unused(how, own, parts, arrays, out),
        ),
        entries=tuple(part.entry for part in (dataset, how) if part.entry),
        files=files,
    )


def _tried(
    blueprint: Blueprint,
    objective: Objective,
    metrics: tuple[Metric, ...],
    arrays: Arrays,
    parts: list[np.ndarray],
    config: RunConfig,
) -> tuple[Blueprint, Objective, Cost, tuple[str, ...]]:
    """What is a user's own is tried together; of ours the size of the model is known."""
    if not (blueprint.is_own or objective.is_own or metrics):
        return blueprint, objective, blueprint.cost(objective.outputs, arrays.input_shape), ()
    from p2pqg.recipe.trial import tried  # brings torch

    rows = parts or [np.arange(len(arrays.train_y))]
    return tried(blueprint, objective, metrics, arrays, rows, config)


def shards(config: RunConfig) -> tuple[Arrays, list[np.ndarray]]:
    """The samples of a resolved recipe, and for each client the indices of its own.

    Raises:
        ConfigError: the recipe is wrong, or its data are not to be had.
    """
    arrays = _samples(config)
    dataset, folder = dataset_of(config)
    if isinstance(dataset, OwnData) and (news := dataset.as_read(arrays, folder)[1]):
        raise DataError(news)
    assert config.clients is not None  # the recipe is resolved
    out = held_out(config, arrays)
    return arrays, _split(config, partition_of(config, arrays), arrays, config.clients, out)


def sizes_of(config: RunConfig) -> tuple[int, tuple[int, ...]]:
    """What a resolved recipe's model returns for a sample, and the shape of one, from its data.

    Raises:
        ConfigError: the recipe is wrong, or its data are not to be had.
    """
    arrays = _samples(config)
    return objective_of(config, arrays)[0].outputs, arrays.input_shape


def _samples(config: RunConfig) -> Arrays:
    """The samples of a resolved recipe."""
    dataset, folder = dataset_of(config)
    return _loaded(dataset, folder, model_of(config, dataset), partition_of(config))


def _ignored(config: RunConfig, how: Part, own: Own) -> list[str]:
    """A line on what is set and means nothing to this partition."""
    assert how.entry is not None
    given = own.get("partition") is not None
    if config.alpha is None or (how.entry.traits["uses_alpha"] and not given):
        return []
    called = "given as an object" if given else how.name
    return [f"alpha {plain_text(config.alpha)} is ignored: partition {called} makes no use of it"]


def _unused(
    how: Part, own: Own, parts: list[np.ndarray], arrays: Arrays, out: np.ndarray
) -> list[str]:
    """A line on training samples that a user's own partition gives to nobody."""
    assert how.entry is not None
    if not parts or not (own.get("partition") is not None or how.entry.traits.get("own")):
        return []
    total = len(arrays.train_y) - len(out)
    used = np.zeros(len(arrays.train_y), dtype=bool)
    used[np.concatenate(parts)] = True
    left = total - int(used.sum())
    return [f"partition: {left:,} of {total:,} training samples belong to no client"] * bool(left)


def _copies(
    own: Own, arrays: Arrays, parts: list[np.ndarray]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the recipe says of data and a split that were given as objects, and their files."""
    said: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    if own.get("dataset") is not None:
        said["dataset"], more = copy_of(arrays, Path(FOLDER))
        files |= more
    if own.get("partition") is not None and parts:
        said["partition"], more = copy_of_parts(parts, Path(FOLDER))
        files |= more
    return said, files


def _loaded(
    dataset: Part, folder: str | None, model: Part | None, how: Part, own: Own = NOTHING
) -> Arrays:
    reads = None
    if model is not None:
        assert model.entry is not None
        if "own" not in model.entry.traits:
            reads = tokenizer_of(model.name, model.params)
    beside = columns_of(how.name)
    if (given := own.get("dataset")) is not None:
        return read(given, test=own.get("test"), tokenizer=reads, columns=beside, held=True)
    return load(dataset.name, folder, reads, beside, **dataclasses.asdict(dataset.params))


def _as_read(
    dataset: Part, folder: str | None, arrays: Arrays, own: Own
) -> tuple[Part, tuple[str, ...]]:
    """The data set, bound to what is in it; and a line where a recipe says that it was another."""
    if not isinstance(dataset, OwnData) or own.get("dataset") is not None:
        return dataset.as_it_is(folder), ()
    dataset, news = dataset.as_read(arrays, folder)
    return dataset, (f"{news}; those of now are used",) if news else ()


def _seen(arrays: Arrays, model: Part, device: str) -> Arrays:
    """Samples as the clients' models take them: with what is frozen computed."""
    assert model.entry is not None
    if "own" in model.entry.traits:
        return arrays
    return encoded(arrays, encoder_of(model.name, model.params, device))


def held_out(config: RunConfig, arrays: Arrays) -> np.ndarray:
    """Indices of the validation samples, in order; keyed by the seed.

    Raises:
        ConfigError: they would be none, or all.
    """
    total = len(arrays.train_y)
    count = round(config.validation * total)
    if config.validation and not 0 < count < total:
        raise ConfigError(
            f"validation {config.validation:g} of {total} samples is {count} of them; "
            "it must leave some on both sides"
        )
    return np.sort(rng(config.seed, "validation").permutation(total)[:count])


def _as_judged(arrays: Arrays, objective: Objective, out: np.ndarray, exact: bool) -> Arrays:
    """Targets as the task has them; the validation samples at the end of the test set."""
    train_y, test_y = (
        objective.targets(y if objective.kind == "own" else _column_of(y), exact)
        for y in (arrays.train_y, arrays.test_y)
    )
    test_x = arrays.test_x
    if len(out):
        test_x = np.concatenate([test_x, arrays.train_x[out]])
        test_y = np.concatenate([test_y, train_y[out]])
    return dataclasses.replace(
        arrays, train_y=train_y, test_x=test_x, test_y=test_y, num_classes=objective.outputs
    )


def _column_of(targets: np.ndarray) -> np.ndarray:
    """A single number per sample needs no second dimension."""
    single = targets.dtype.kind == "f" and targets.ndim == 2 and targets.shape[1] == 1
    return targets[:, 0] if single else targets


def _split(
    config: RunConfig,
    how: Part,
    arrays: Arrays,
    num_clients: int,
    out: np.ndarray,
    own: Own = NOTHING,
) -> list[np.ndarray]:
    params = dataclasses.asdict(how.params)
    rows = np.setdiff1d(np.arange(len(arrays.train_y)), out) if len(out) else None
    if (given := own.get("partition")) is not None:
        return parts_of(given, arrays, num_clients, config.seed, rows)
    return split(how.name, arrays, num_clients, config.alpha, config.seed, rows, **params)
