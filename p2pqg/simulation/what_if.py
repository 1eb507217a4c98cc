"""Rows and shards of clients that come back or join: plain data to plain data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.seeding import rng
from p2pqg.base.wording import counted
from p2pqg.data import Arrays
from p2pqg.data.own_split import check_numbered_as_given
from p2pqg.data.partition import only
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot, leaves
from p2pqg.engine.spec import Task
from p2pqg.network import Network
from p2pqg.simulation.experiment import Experiment


def shards_of_new(
    experiment: Experiment, count: int, shards: Sequence[Sequence[int]] | None
) -> list[np.ndarray]:
    """For each new client, the indices of its training samples: those given, or drawn.

    None of them are validation samples, which are left out of what is given, as of a partition.

    Raises:
        ConfigError: those given cannot be, see `checked_shards`.
    """
    total = len(experiment.arrays.train_y)
    free = np.setdiff1d(np.arange(total), experiment.held_out)
    if shards is None:
        parts, seed = experiment.parts, experiment.config.seed
        size = min(len(free), round(sum(map(len, parts)) / len(parts)))
        return [
            free[rng(seed, "added", len(parts) + k).choice(len(free), size, replace=False)]
            for k in range(count)
        ]
    return checked_shards(shards, count, experiment.arrays, experiment.held_out, experiment.task)


def checked_shards(
    shards: Any, count: int, samples: Arrays, held_out: np.ndarray, task: Task
) -> list[np.ndarray]:
    """For each new client, those of the indices given that are not held out.

    Args:
        shards: what is given.
        count: new clients.
        samples: of training, also those that are held out.
        held_out: the indices of the validation samples.
        task: says how many samples a shard must have where they are private.

    Raises:
        ConfigError: not one shard per client, indices that are none or there twice, none but
            held-out ones, or too few to be private; or test samples were drawn, so that indices
            are others.
    """
    total = len(samples.train_y)
    if isinstance(shards, str) or not isinstance(shards, Iterable):
        raise ConfigError(f"shards must be a list of indices for each new client, got {shards!r}")
    arrays = [np.asarray(shard) for shard in shards]
    if len(arrays) != count:
        raise ConfigError(f"shards must be one for each of {count} new clients, got {len(arrays)}")
    for k, shard in enumerate(arrays):
        if shard.ndim != 1 or shard.dtype.kind not in "iu" or not len(shard):
            raise ConfigError(f"shards[{k}] must be indices of training samples, 0 to {total - 1}")
        if shard.min() < 0 or shard.max() >= total:
            raise ConfigError(f"shards[{k}] must be indices of training samples, 0 to {total - 1}")
        values, times = np.unique(shard, return_counts=True)
        if times.max() > 1:  # a private one would be told of more often than the accounts say
            again = values[times > 1][0]
            raise ConfigError(f"shards[{k}] has sample {again} twice; leave it out once")
    arrays = [shard.astype(np.int64) for shard in arrays]
    check_numbered_as_given(samples, "shards", "leave shards out")
    if len(held_out):
        arrays = only(arrays, np.setdiff1d(np.arange(total), held_out), "shards")
    for k, shard in enumerate(arrays):
        if task.privacy.limit < math.inf and len(shard) < task.batch_size:
            raise ConfigError(
                f"shards[{k}] has {counted(len(shard), 'sample')}, batch_size is "
                f"{task.batch_size}: privacy needs shards of at least a batch; make it larger"
            )
    return arrays


def donors_of(network: Network, client: int, without: Iterable[int], repair: str) -> list[int]:
    """Whom a client hears in the network, apart from those; ConfigError if there is nobody."""
    found = sorted(set(network.neighbors(client)) - set(without))
    if not found:
        called = network.base.called(client)
        raise ConfigError(f"client {called} has no neighbor to take a model from; {repair}")
    return found


def grown(snapshot: Snapshot, n: int) -> Snapshot:
    """Rows for n clients; those of the new ones are yet to be filled in."""
    rows = {
        name: np.concatenate([a, np.zeros((n - len(a), *a.shape[1:]), dtype=a.dtype)])
        for name, a in snapshot.rows.items()
    }
    return dataclasses.replace(snapshot, rows=rows)


def with_models_of(snapshot: Snapshot, donors: dict[int, list[int]], rule: Rule) -> Snapshot:
    """Some clients begin anew, from the mean of their donors' models and statistics."""
    rows = {name: array.copy() for name, array in snapshot.rows.items()}
    x = rule.model(rule.state_of(snapshot.rows, snapshot.numbers)).numpy()
    for client, others in donors.items():
        rows["buffers"][client] = snapshot.rows["buffers"][others].mean(0)
        begin = rule.start(torch.from_numpy(x[others].mean(0, keepdims=True)))
        for name, value in leaves(begin).items():
            if name in rows:
                rows[name][client] = value[0].numpy()
        for name in rows:
            if name.startswith("past."):
                rows[name][client] = rows[name][others].mean(0)
    told = {client: others[0] for client, others in donors.items()}
    return with_what_is_shared(dataclasses.replace(snapshot, rows=rows), told, rule)


def with_what_is_shared(snapshot: Snapshot, told: Mapping[int, int], rule: Rule) -> Snapshot:
    """Some clients are told by another one what the algorithm keeps the same for all."""
    rows = dict(snapshot.rows)
    for name in (f"state.{field}" for field in rule.algorithm.traits["shared"]):
        if name in rows:  # not a number
            rows[name] = np.array(rows[name])
            personal = rule.personal if rows[name].ndim > 1 else None
            wide = personal is not None and rows[name].shape[-1] == len(personal.columns)
            for client, by in told.items():
                if personal is None or not wide:
                    rows[name][client] = rows[name][by]
                else:
                    common = ~personal.columns
                    rows[name][client, ..., common] = rows[name][by, ..., common]
    return dataclasses.replace(snapshot, rows=rows)
