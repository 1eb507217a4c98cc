"""What is learned from, and what learns: the samples of a recipe, their split, and its model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.base import config as machinery
from p2pqg.base.config import Problems, plain
from p2pqg.base.registry import Registry
from p2pqg.data import DATASETS, PARTITIONS, Arrays, load, partition
from p2pqg.data import by_path as data_by_path
from p2pqg.models import MODELS, Cost, model_cost, tokenizer_of
from p2pqg.models import by_path as model_by_path
from p2pqg.recipe.settings import RunConfig, chosen


@dataclass(frozen=True)
class Part:
    """A registered part and its parameters."""

    name: str
    params: Any

    @classmethod
    def of(cls, registry: Registry, name: str, given: dict[str, Any], key: str) -> Part:
        """What a recipe says under `key`.

        Raises:
            ConfigError: unknown, or its parameters are wrong.
        """
        return cls(name, machinery.made(registry[name].params, given, f"{key}."))

    def resolved(self) -> dict[str, Any]:
        """As a recipe has it, every default filled in."""
        return {"name": self.name, **plain(self.params)}


def dataset_of(config: RunConfig) -> tuple[Part, str | None]:
    """The data set of a recipe, and the folder to look in first."""
    name, given = chosen(config.dataset, "digits")
    name, folder = data_by_path(name, config.data_dir)  # a folder is a data set
    return Part.of(DATASETS, name, given, "dataset"), folder


def model_of(config: RunConfig, dataset: str) -> Part:
    """The model of a recipe; by default that of its data set."""
    name, given = model_by_path(*chosen(config.model, DATASETS[dataset].traits["model"]))
    return Part.of(MODELS, name, given, "model")


def partition_of(config: RunConfig) -> Part:
    """How a recipe splits its data."""
    name, given = chosen(config.partition, "iid" if config.alpha is None else "qg-dirichlet")
    return Part.of(PARTITIONS, name, given, "partition")


@dataclass(frozen=True)
class Learning:
    """What is learned from, and what learns.

    Attributes:
        resolved: the keys of the recipe, every default filled in.
        parts: for each client, the indices of its training samples.
    """

    resolved: dict[str, Any]
    arrays: Arrays
    parts: list[np.ndarray]
    cost: Cost


def shards(config: RunConfig) -> tuple[Arrays, list[np.ndarray]]:
    """The samples of a resolved recipe, and for each client the indices of its own.

    Raises:
        ConfigError: the recipe is wrong, or its data are not to be had.
    """
    dataset, folder = dataset_of(config)
    arrays = _loaded(dataset, folder, model_of(config, dataset.name))
    assert config.clients is not None  # the recipe is resolved
    return arrays, _split(config, partition_of(config), arrays, config.clients)


def learning(config: RunConfig, num_clients: int | None) -> Learning:
    """The samples of a recipe, their split over so many clients, and the size of its model.

    Args:
        config: perhaps not resolved yet.
        num_clients: None: nobody knows, and nothing is split.

    Raises:
        ConfigError: with every problem of the three.
    """
    dataset, folder = dataset_of(config)
    problems = Problems()
    with problems:
        model = model_of(config, dataset.name)
    with problems:
        split = partition_of(config)
    problems.refuse()
    arrays = _loaded(dataset, folder, model)
    with problems:
        params = plain(model.params)
        cost = model_cost(model.name, arrays.num_classes, arrays.input_shape, **params)
    with problems:
        parts = _split(config, split, arrays, num_clients) if num_clients else []
    problems.refuse()
    resolved = {
        "dataset": dataset.resolved(),
        "data_dir": folder,
        "model": model.resolved(),
        "partition": split.resolved(),
    }
    return Learning(resolved, arrays, parts, cost)


def _loaded(dataset: Part, folder: str | None, model: Part) -> Arrays:
    reads = tokenizer_of(model.name, model.params)
    return load(dataset.name, folder, reads, **dataclasses.asdict(dataset.params))


def _split(config: RunConfig, split: Part, arrays: Arrays, num_clients: int) -> list[np.ndarray]:
    params = dataclasses.asdict(split.params)
    how = {"alpha": config.alpha, "seed": config.seed, **params}
    return partition(split.name, arrays.train_y, num_clients, **how)
