"""What k clients learn from: their shards, samplers and models; gradients and evaluation.

Knows nothing of networks. The parameters belong to the algorithm (and come in as rows); the
batch-norm statistics, which never travel, belong here.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import Tensor

from p2pqg.base.seeding import rng
from p2pqg.data.feeding.feed import STEPS_AHEAD, Feed, Looks
from p2pqg.data.feeding.file_feed import FileFeed
from p2pqg.engine.spec import Shards, Task
from p2pqg.models import build_model
from p2pqg.models.stacked.stacked import Stacked

INPUT_BYTES = 2**26
CLIENTS_AT_ONCE = 256
"""Inputs of so many bytes, and of so many clients, are prepared at once."""

EVALUATION_SAMPLES = 512
"""Test samples per forward pass of one client."""


class Losses:
    """Rows [k] in one tensor, one after the other.

    Small tensors of their own would outlive their rounds, scattered among the large ones, and the
    heap would grow: by 90 MB in 500 rounds of 32 small models.
    """

    def __init__(self, num_clients: int, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.empty(STEPS_AHEAD, num_clients, dtype=dtype, device=device)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def next_row(self) -> Tensor:
        """[k], to be written to."""
        if self._length == len(self._rows):
            self._rows = torch.cat([self._rows, torch.empty_like(self._rows)])
        self._length += 1
        return self._rows[self._length - 1]

    def take(self) -> np.ndarray:
        """[rows, k], float64; they are forgotten here."""
        rows = self._rows[: self._length].to(torch.float64, copy=True)
        self._length = 0
        return rows.cpu().numpy()


class Learner:
    """k clients' data and models.

    Attributes:
        buffers: [k, buffers], each client's own batch-norm statistics.
        losses: the clients' losses, of each gradient drawn and not yet taken.
    """

    def __init__(
        self,
        task: Task,
        clients: range,
        shards: Shards,
        test: tuple[np.ndarray, np.ndarray],
        device: torch.device,
    ) -> None:
        self.task = task
        self.clients = clients
        self.device = device
        model = build_model(
            task.model, task.num_classes, task.input_shape, seed=task.seed, **task.model_params
        )
        self.stacked = Stacked(model, device=device, precision=task.precision)
        self.dtype = self.stacked.dtype
        looks = Looks(
            shape=tuple(task.input_shape),
            mean=task.mean,
            std=task.std,
            augmentation=task.augmentation,
            batch_size=task.batch_size,
            seed=task.seed,
            device=device,
            dtype=self.dtype,
        )
        kind = FileFeed if shards.x.dtype.kind == "S" else Feed
        self.feed = kind(shards.x, shards.y, shards.sizes, test, clients, looks)
        self.buffers = self.stacked.initial_buffers().repeat(len(clients), 1)
        self.losses = Losses(len(clients), self.dtype, device)

    @property
    def test_y(self) -> Tensor:
        """[samples]: labels of the test set."""
        return self.feed.test_y

    def fork(self) -> Learner:
        """Another learner on the same samples, which nobody changes; with statistics of its own."""
        twin = copy.copy(self)
        twin.feed = self.feed.fork()
        twin.buffers = self.buffers.clone()
        twin.losses = Losses(len(self.buffers), self.dtype, self.device)
        return twin

    def initial(self) -> Tensor:
        """[k, params]: all clients start from the same model."""
        return self.stacked.initial_row().repeat(len(self.buffers), 1)

    def gradient(self, x: Tensor, step: int, again: bool = False) -> Tensor:
        """Each client's gradient on its batch number `step`, weight decay included.

        Of a batch that is used `again` neither losses nor statistics are kept.
        """
        buffers = self.buffers
        g = self._gradient(x, step, self._scratch(len(x)) if again else self.losses.next_row())
        if again:
            self.buffers = buffers
        return g

    def _scratch(self, k: int) -> Tensor:
        """[k]: losses that nobody reads."""
        return torch.empty(k, dtype=self.dtype, device=self.device)

    def _gradient(self, x: Tensor, step: int, losses: Tensor) -> Tensor:
        """A part of the clients after the other, if they are many; fills losses [k]."""
        k, sample = len(x), math.prod(self.task.input_shape) * self.dtype.itemsize
        at_once = min(CLIENTS_AT_ONCE, max(1, INPUT_BYTES // (self.task.batch_size * sample)))
        if at_once >= k:
            return self._of_part(x, slice(None), step, losses)
        g = torch.empty_like(x)  # a part at a time stays in the cache, and bounds the memory
        for part in (slice(i, i + at_once) for i in range(0, k, at_once)):
            g[part] = self._of_part(x[part], part, step, losses)
        return g

    def _of_part(self, x: Tensor, part: slice, step: int, losses: Tensor) -> Tensor:
        """Gradients of a part of the clients; notes their losses and statistics."""
        inputs, targets = self.feed.batch(step, part)
        keys = self._keys(step, part)
        losses[part], g, buffers = self.stacked.gradients(
            x, self.buffers[part], inputs, targets, keys
        )
        if self.stacked.num_buffers:
            self.buffers = buffers if part == slice(None) else self._with(part, buffers)
        return g.add_(x, alpha=self.task.weight_decay) if self.task.weight_decay else g

    def _keys(self, step: int, part: slice) -> list[int] | None:
        """What dropout depends on: the seed, the client and the step, and nothing else."""
        if not self.stacked.random:
            return None
        clients = self.clients[part]
        return [
            int(rng(self.task.seed, "dropout", client, step).integers(2**63)) for client in clients
        ]

    def _with(self, part: slice, buffers: Tensor) -> Tensor:
        """All statistics, those of a part replaced; never in place, others may hold the old."""
        changed = self.buffers.clone()
        changed[part] = buffers
        return changed

    def evaluate(
        self, x: Tensor, buffers: Tensor, samples: slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Correct answers and summed loss of every row's model on the test samples, both [rows]."""
        start, stop, _ = samples.indices(len(self.test_y))
        correct = torch.zeros(len(x), dtype=torch.float64, device=self.device)
        loss = torch.zeros_like(correct)
        for first in range(start, stop, EVALUATION_SAMPLES):
            inputs, targets = self.feed.test(slice(first, min(first + EVALUATION_SAMPLES, stop)))
            hits, mean_loss = self.stacked.evaluate(x, buffers, inputs, targets)
            correct += hits
            loss += mean_loss.double() * len(targets)
        return correct, loss
