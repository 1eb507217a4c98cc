"""Which data set, split, model, loss and metrics a recipe names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base import config as machinery
from p2pqg.base.config import plain
from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import Entry, Registry
from p2pqg.base.text import user_path
from p2pqg.base.user_code import find_in_file, names_a_file
from p2pqg.data import (
    DATASETS,
    PARTITIONS,
    Arrays,
    kind_of,
    named,
    usual_model,
)
from p2pqg.data._columns import CLIENT
from p2pqg.data._files import refuse_content
from p2pqg.data._stored import digest
from p2pqg.data.partition import COLUMN
from p2pqg.models import MODELS, Blueprint
from p2pqg.models import by_path as model_by_path
from p2pqg.models.judging import USUAL, Metric, Objective, find_loss, metrics_of
from p2pqg.models.judging import objective_of as objective_for
from p2pqg.recipe.own import NOTHING, Own, check_given
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
        """The part that an entry and its settings make."""
        if LAYERS in given and LAYERS not in {f.name for f in dataclasses.fields(entry.params)}:
            raise ConfigError(
                f"{key}.{LAYERS} is for text classifiers of transformers; a model of your own "
                "freezes layers where it is made: layer.requires_grad_(False)"
            )
        return cls(name, machinery.made(entry.params, given, f"{key}."), entry)

    def as_it_is(self, folder: str | None) -> Part:
        """This part, bound to the content that its files have now, where it is read from some."""
        if not hasattr(self.params, "fixed"):
            return self
        fixed = self.params.fixed(user_path(folder) if folder else None)
        return dataclasses.replace(self, params=fixed)

    def resolved(self) -> dict[str, Any]:
        """The part as a recipe has it, every default filled in."""
        return {"name": self.name, **plain(self._values())}

    def _values(self) -> dict[str, Any]:
        return {f.name: getattr(self.params, f.name) for f in dataclasses.fields(self.params)}


CONTENT = "content"
"""Key of data that may become others while their name stays: digits for what is in them."""
NEWS = "gives other values than those that its recipe was written with (dataset.content)"
TOKENS = "-tokens"
"""At the end of digits that are of texts as a model reads them."""
OF_FILES = ("images", "texts")
"""Data sets whose settings name a folder of the user's."""


@dataclass(frozen=True)
class OwnData(Part):
    """Data of a user's whose settings cannot say what is in them: who has read them says it."""

    content: str = ""

    def _values(self) -> dict[str, Any]:
        return {**super()._values(), CONTENT: self.content}

    def as_read(self, arrays: Arrays, folder: str | None) -> tuple[OwnData, str]:
        """These data with their content; and a line where the recipe says another one.

        Other files are refused. What a function makes, or the hub has, may come to other digits on
        another machine.

        Raises:
            DataError: files are not what they were.
        """
        now = arrays.content if self.name in OF_FILES else _letters(arrays)
        is_other = self.content and now and now != self.content
        if is_other and self.name in OF_FILES:
            refuse_content(f"{folder}")
        told = f"dataset {self.name} {NEWS}" if is_other else ""
        return dataclasses.replace(self, content=now or self.content), told


def _letters(arrays: Arrays) -> str:
    """What tells samples apart, whoever asks for which columns."""
    if arrays.train_x.dtype.kind == "S":  # images that stay on disk: only their paths are here
        return ""
    return digest(dataclasses.replace(arrays, columns={})) + TOKENS * bool(arrays.tokenizer)


def is_of_files(dataset: str) -> bool:
    """Whether the content of such data is that of files, to the bit, and not what code makes.

    Those of a file that a run itself keeps are `given`.
    """
    ours = dataset in DATASETS and DATASETS[dataset].is_ours
    return dataset == "given" or (ours and dataset != "hub")


def dataset_of(config: RunConfig) -> tuple[Part, str | None]:
    """The data set of a recipe, and the folder to look in first."""
    name, given = chosen(config.dataset, "digits")
    name, folder, given = named(name, config.data_dir, given)  # perhaps a file or a folder
    entry = DATASETS.named(name)
    if not _may_change(entry):
        return Part.made(entry, name, given, "dataset"), folder
    content = given.pop(CONTENT, None) or ""
    part = Part.made(entry, name, given, "dataset")
    return OwnData(name, part.params, entry, str(content)), folder


def _may_change(entry: Entry) -> bool:
    """Whether data may become others, and their own settings do not say so."""
    theirs = not entry.is_ours or entry.name in (*OF_FILES, "hub")
    return theirs and CONTENT not in {field.name for field in dataclasses.fields(entry.params)}


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


def partition_of(config: RunConfig, arrays: Arrays | None = None) -> Part:
    """How a recipe splits its data; those that come client by client are split already."""
    usual = "iid" if config.alpha is None else "qg-dirichlet"
    if arrays is not None and CLIENT in arrays.columns and config.alpha is None:
        usual = f"{COLUMN}{CLIENT}"
    name, given = chosen(config.partition, usual)
    return Part.of(PARTITIONS, name, given, "partition")


def objective_of(config: RunConfig, arrays: Arrays, own: Own = NOTHING) -> tuple[Objective, Part]:
    """What models are trained for; by default what suits the targets."""
    kind = "own" if arrays.task == "own" else kind_of(arrays.train_y)
    name, given = chosen(config.loss, USUAL[kind])
    if own.get("loss") is None:
        check_given(name, "loss")
    entry = find_loss(own.get("loss"), name)
    objective = objective_for(entry, given, kind, arrays.train_y, arrays.num_classes)
    return objective, Part(name, objective.params, entry)


def measured(config: RunConfig, objective: Objective, own: Own) -> tuple[Metric, ...]:
    """What is measured beside accuracy and loss."""
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
