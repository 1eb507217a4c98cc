"""What is learned from, and what learns: the samples of a recipe, their split, and its model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.base.config import Tries, plain
from p2pqg.base.errors import ConfigError
from p2pqg.data import DATASETS, PARTITIONS, Arrays, load, partition
from p2pqg.data import by_path as data_by_path
from p2pqg.models import MODELS, Cost, model_cost, tokenizer_of
from p2pqg.models import by_path as model_by_path
from p2pqg.recipe.settings import RunConfig, chosen


@dataclass(frozen=True)
class _Asked:
    """What a recipe asks for, with its parameters; nothing is loaded yet.

    Attributes:
        split: name of the partition; its parameters are None where they are wrong.
    """

    dataset: str
    dataset_params: Any
    data_dir: str | None
    model: str
    model_params: Any
    split: str
    split_params: Any | None

    @classmethod
    def by(cls, config: RunConfig, tries: Tries) -> _Asked | None:
        """None: it is wrong."""
        dataset, given = chosen(config.dataset, "digits")
        dataset, data_dir = data_by_path(dataset, config.data_dir)  # a folder is a data set
        if not tries.make(DATASETS.__getitem__, dataset):
            return None
        dataset_params = tries.read(DATASETS[dataset].params, given, "dataset")
        model, given = model_by_path(*chosen(config.model, DATASETS[dataset].traits["model"]))
        entry = tries.make(MODELS.__getitem__, model)
        model_params = tries.read(entry.params, given, "model") if entry else None
        split, given = chosen(config.partition, "iid" if config.alpha is None else "qg-dirichlet")
        entry = tries.make(PARTITIONS.__getitem__, split)
        split_params = tries.read(entry.params, given, "partition") if entry else None
        if dataset_params is None or model_params is None:
            return None
        return cls(dataset, dataset_params, data_dir, model, model_params, split, split_params)

    def arrays(self) -> Arrays:
        reads = tokenizer_of(self.model, self.model_params)
        params = dataclasses.asdict(self.dataset_params)
        return load(self.dataset, self.data_dir, reads, **params)

    def parts(
        self, arrays: Arrays, num_clients: int, alpha: float | None, seed: int
    ) -> list[np.ndarray]:
        params = dataclasses.asdict(self.split_params)
        return partition(self.split, arrays.train_y, num_clients, alpha=alpha, seed=seed, **params)

    def cost(self, arrays: Arrays) -> Cost:
        """ConfigError where the samples do not fit the model."""
        params = plain(self.model_params)
        return model_cost(self.model, arrays.num_classes, arrays.input_shape, **params)

    def resolved(self) -> dict[str, Any]:
        split = self.split_params and {"name": self.split, **plain(self.split_params)}
        return {
            "dataset": {"name": self.dataset, **plain(self.dataset_params)},
            "data_dir": self.data_dir,
            "model": {"name": self.model, **plain(self.model_params)},
            "partition": split,
        }


@dataclass(frozen=True)
class Learning:
    """What is learned from, and what learns; None: not to be had.

    Attributes:
        resolved: the keys of the recipe, every default filled in.
        parts: for each client, the indices of its training samples.
    """

    resolved: dict[str, Any]
    arrays: Arrays | None = None
    parts: list[np.ndarray] | None = None
    cost: Cost | None = None


def learning(config: RunConfig, tries: Tries, num_clients: int | None) -> Learning:
    """All of it, for so many clients (None: nobody knows); what is wrong is left with `tries`."""
    asked = _Asked.by(config, tries)
    arrays = asked and tries.make(asked.arrays)
    if arrays is None:
        return Learning({})
    cost, parts = tries.make(asked.cost, arrays), None
    if num_clients and asked.split_params is not None:
        parts = tries.make(asked.parts, arrays, num_clients, config.alpha, config.seed)
    return Learning(asked.resolved(), arrays, parts, cost)


def shards(config: RunConfig) -> tuple[Arrays, list[np.ndarray]]:
    """The samples of a resolved recipe, and the indices of every client's own.

    Raises:
        ConfigError: the recipe is wrong, or its data are not to be had.
    """
    tries = Tries()
    asked = _Asked.by(config, tries)
    if tries.problems:
        raise ConfigError.of(tries.problems)
    arrays = asked.arrays()
    return arrays, asked.parts(arrays, config.clients, config.alpha, config.seed)
