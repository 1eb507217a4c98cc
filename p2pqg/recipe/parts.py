"""What is learned from, and what learns: the samples of a recipe, their split, and its model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base import config as machinery
from p2pqg.base.config import Problems, plain
from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import Entry, Registry
from p2pqg.base.seeding import rng
from p2pqg.base.text import user_path
from p2pqg.base.user_code import find_in_file, names_a_file
from p2pqg.base.wording import plain_text
from p2pqg.data import (
    DATASETS,
    PARTITIONS,
    Arrays,
    columns_of,
    kind_of,
    load,
    named,
    parts_of,
    read,
    split,
    usual_model,
)
from p2pqg.data._columns import CLIENT
from p2pqg.data._encoded import encoded
from p2pqg.data._stored import copy_of, copy_of_parts
from p2pqg.data.partition import COLUMN
from p2pqg.models import MODELS, Blueprint, Cost, encoder_of, tokenizer_of
from p2pqg.models import by_path as model_by_path
from p2pqg.models.judging import USUAL, Metric, Objective, find_loss, metrics_of
from p2pqg.models.judging import objective_of as objective_for
from p2pqg.recipe.own import NOTHING, Own, check_given
from p2pqg.recipe.own_files import FOLDER
from p2pqg.recipe.settings import RunConfig, chosen

LAYERS = "trained_layers"
"""Key of the models that are partly frozen, their frozen layers computed once."""


@dataclass(frozen=True)
class Part:
    """A registered part, or a user's own, and its parameters."""

    name: str
    params: Any
    entry: Entry | None = None

    @classmethod
    def of(cls, registry: Registry, name: str, given: dict[str, Any], key: str) -> Part:
        """What a recipe says under `key`.

        Raises:
            ConfigError: unknown, or its parameters are wrong.
        """
        return cls.made(registry.named(name), name, given, key)

    @classmethod
    def made(cls, entry: Entry, name: str, given: dict[str, Any], key: str) -> Part:
        """The same of an entry."""
        if LAYERS in given and LAYERS not in {f.name for f in dataclasses.fields(entry.params)}:
            raise ConfigError(
                f"{key}.{LAYERS} is for text classifiers of transformers; a model of your own "
                "freezes layers where it is made: layer.requires_grad_(False)"
            )
        return cls(name, machinery.made(entry.params, given, f"{key}."), entry)

    def as_it_is(self, folder: str | None) -> Part:
        """The same, bound to the content that its files have now, where it is read from some."""
        if not hasattr(self.params, "fixed"):
            return self
        fixed = self.params.fixed(user_path(folder) if folder else None)
        return dataclasses.replace(self, params=fixed)

    def resolved(self) -> dict[str, Any]:
        """As a recipe has it, every default filled in."""
        return {"name": self.name, **plain(self._values())}

    def _values(self) -> dict[str, Any]:
        return {f.name: getattr(self.params, f.name) for f in dataclasses.fields(self.params)}


def dataset_of(config: RunConfig) -> tuple[Part, str | None]:
    """The data set of a recipe, and the folder to look in first."""
    name, given = chosen(config.dataset, "digits")
    name, folder, given = named(name, config.data_dir, given)  # perhaps a file or a folder
    return Part.of(DATASETS, name, given, "dataset"), folder


@dataclass(frozen=True)
class OwnStart(Part):
    """A model that starts with weights of a file."""

    start: str | None = None

    def _values(self) -> dict[str, Any]:
        return {**super()._values(), "start": self.start}


def model_of(
    config: RunConfig, dataset: Part, own: Own = NOTHING, arrays: Arrays | None = None
) -> Part | None:
    """The model of a recipe; by default that of its data set.

    Args:
        config: the recipe.
        dataset: its data set.
        own: the user's objects.
        arrays: what is in the data set; None: nobody knows yet.

    Returns:
        None where what is in the data set decides, and nobody knows yet.
    """
    name, given = chosen(config.model, _usual_model(dataset, arrays) or "")
    return model_called(name, given, own) if name else None


def model_called(name: str, given: dict[str, Any], own: Own = NOTHING) -> Part:
    """The model of that name; given: its parameters, and perhaps a file of weights to start with.

    Raises:
        ConfigError: unknown, or its parameters are wrong.
    """
    start = given.pop("start", None)
    if (thing := own.get("model")) is not None:
        from p2pqg.models._own import entry_of

        part = Part.made(entry_of(thing, name), name, given, "model")
    elif names_a_file(name):
        from p2pqg.models._own import entry_of

        part = Part.made(find_in_file(MODELS, name, entry_of), name, given, "model")
    else:
        check_given(name, "model")
        name, given = model_by_path(name, given)
        part = Part.of(MODELS, name, given, "model")
    if start is None:
        return part
    return OwnStart(part.name, part.params, part.entry, str(start))


def _usual_model(dataset: Part, arrays: Arrays | None) -> str | None:
    assert dataset.entry is not None
    if not dataset.entry.traits.get("looks"):  # at its samples
        return str(dataset.entry.traits["model"])
    if arrays is not None:
        return usual_model(arrays)
    return "transformer" if getattr(dataset.params, "text", "") else None


def blueprint_of(part: Part, own: Own = NOTHING) -> Blueprint:
    """How the model is built; with the weights of its file, if it has one.

    Raises:
        ConfigError: that file cannot be read.
    """
    assert part.entry is not None
    # An object that is here has its weights itself.
    start = getattr(part, "start", None) if own.get("model") is None else None
    return Blueprint(part.entry, part.params, None if start is None else _weights(user_path(start)))


def _weights(file: Path) -> Mapping[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(file)
    except FileNotFoundError:
        raise ConfigError(f"model.start: {file}: no such file") from None
    except (OSError, SafetensorError, KeyError) as error:
        raise ConfigError(f"model.start: {file}: not safetensors of floats ({error})") from None


def sizes_of(config: RunConfig) -> tuple[int, tuple[int, ...]]:
    """What a resolved recipe's model returns for a sample, and the shape of one, from its data.

    Raises:
        ConfigError: the recipe is wrong, or its data are not to be had.
    """
    dataset, folder = dataset_of(config)
    arrays = _loaded(dataset, folder, model_of(config, dataset), partition_of(config))
    return objective_of(config, arrays)[0].outputs, arrays.input_shape


def partition_of(config: RunConfig, arrays: Arrays | None = None) -> Part:
    """How a recipe splits its data; those that come client by client are split already."""
    usual = "iid" if config.alpha is None else "qg-dirichlet"
    if arrays is not None and CLIENT in arrays.columns and config.alpha is None:
        usual = f"{COLUMN}{CLIENT}"
    name, given = chosen(config.partition, usual)
    return Part.of(PARTITIONS, name, given, "partition")


def objective_of(config: RunConfig, arrays: Arrays, own: Own = NOTHING) -> tuple[Objective, Part]:
    """What models are trained for; by default what suits the targets."""
    kind = kind_of(arrays.train_y)
    name, given = chosen(config.loss, USUAL[kind])
    if own.get("loss") is None:
        check_given(name, "loss")
    entry = find_loss(own.get("loss"), name)
    objective = objective_for(entry, given, kind, arrays.train_y, arrays.num_classes)
    return objective, Part(name, objective.params, entry)


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


def shards(config: RunConfig) -> tuple[Arrays, list[np.ndarray]]:
    """The samples of a resolved recipe, and for each client the indices of its own.

    Raises:
        ConfigError: the recipe is wrong, or its data are not to be had.
    """
    dataset, folder = dataset_of(config)
    arrays = _loaded(dataset, folder, model_of(config, dataset), partition_of(config))
    assert config.clients is not None  # the recipe is resolved
    out = held_out(config, arrays)
    return arrays, _split(config, partition_of(config, arrays), arrays, config.clients, out)


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
    dataset, how = dataset.as_it_is(folder), partition_of(config, arrays)
    model = model or model_of(config, dataset, own, arrays)
    assert model is not None  # the samples told
    out = held_out(config, arrays)
    with problems:
        objective, loss = objective_of(config, arrays, own)
        metrics = _metrics(config, objective, own)
    with problems:
        blueprint = blueprint_of(model, own)
    with problems:
        parts = _split(config, how, arrays, num_clients, out, own) if num_clients else []
    problems.refuse()
    copies, files = _copies(own, arrays, parts)
    seen = _seen(arrays, model, config.device)
    arrays = _as_judged(seen, objective, out, config.precision == "float64")
    notes: tuple[str, ...] = ()
    if blueprint.is_own or objective.is_own or metrics:
        from p2pqg.recipe.trial import tried  # brings torch

        rows = parts or [np.arange(len(arrays.train_y))]
        blueprint, cost, notes = tried(blueprint, objective, metrics, arrays, rows, config)
    else:
        cost = blueprint.cost(objective.outputs, arrays.input_shape)
    resolved = {
        "dataset": dataset.resolved(),
        "data_dir": folder,
        "model": model.resolved(),
        "loss": loss.resolved(),
        "partition": how.resolved(),
        **copies,
    }
    return Learning(
        resolved,
        arrays,
        parts,
        cost,
        blueprint,
        objective,
        metrics,
        out,
        (*own.notes, *notes, *_ignored(config, how, own), *_unused(how, own, parts, arrays, out)),
        tuple(part.entry for part in (dataset, how) if part.entry),
        files,
    )


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


def _metrics(config: RunConfig, objective: Objective, own: Own) -> tuple[Metric, ...]:
    given = config.metrics
    named = given if isinstance(given, dict) else {_column(name): name for name in given}
    objects = own.get("metrics") or {}
    for column, name in named.items():
        if column not in objects:
            check_given(name, f"metrics.{column}")
    return metrics_of(named, objects, objective)


def _column(name: str) -> str:
    """`my_metrics.py:auc` is the column auc.

    >>> _column("my_metrics.py:auc"), _column("top5")
    ('auc', 'top5')
    """
    return name.rpartition(":")[2].replace("-", "_")


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
        return read(given, test=own.get("test"), tokenizer=reads, columns=beside)
    return load(dataset.name, folder, reads, beside, **dataclasses.asdict(dataset.params))


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
        objective.targets(_column_of(y), exact) for y in (arrays.train_y, arrays.test_y)
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
