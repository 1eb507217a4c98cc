"""What one block's clients see: batches on the device, as a function of (seed, client, step)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.base.uploading import uploaded
from p2pqg.data.feeding import ENTRIES_AHEAD, STEPS_AHEAD
from p2pqg.data.feeding.augment import AugmentDraws, crop_flip, crops, normalise
from p2pqg.data.feeding.batches import Batches
from p2pqg.data.feeding.own_pace import OwnPace


@dataclass(frozen=True, kw_only=True)
class Looks:
    """How samples become inputs.

    Attributes:
        shape: of one input.
        mean, std, augmentation: see `Arrays`.
        batch_size: samples per client and step.
        seed: the run's.
        device, dtype: of inputs; images arrive as bytes, and whole numbers stay what they are.
    """

    shape: tuple[int, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    augmentation: str | None = None
    batch_size: int
    seed: int
    device: torch.device
    dtype: torch.dtype


class Feed:
    """Samples that are arrays: they move to the device once.

    Attributes:
        y: [samples] of all clients, one client after the other; test_y: [samples].
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        sizes: np.ndarray,
        test: tuple[np.ndarray, np.ndarray],
        clients: Sequence[int],
        looks: Looks,
    ) -> None:
        """Say whose batches they are.

        Args:
            x: the clients' samples, one client after the other.
            y: their labels.
            sizes: [k], samples of each client.
            test: samples and labels that all clients share.
            clients: [k], their numbers in the whole network.
            looks: how samples become inputs.
        """
        self.clients, self.looks = clients, looks
        self.x, self.test_x = self._stored(x), self._stored(test[0])
        self.y, self.test_y = (torch.from_numpy(labels).to(looks.device) for labels in (y, test[1]))
        self._batches = Batches(sizes, clients, looks.batch_size, looks.seed)
        self._offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)[:-1]]))[:, None]
        self._offsets_there = self._offsets.to(looks.device)
        self._draws = (
            AugmentDraws(clients, looks.batch_size, looks.seed) if looks.augmentation else None
        )
        size = len(clients) * looks.batch_size
        self.steps_ahead = max(1, min(STEPS_AHEAD, ENTRIES_AHEAD // size))
        self._ahead: dict[int, tuple[Tensor, Any]] = {}
        self._sizes = sizes
        self._own_pace: OwnPace | None = None

    def fork(self) -> Feed:
        """Another feed of the same samples, which nobody changes."""
        twin = copy.copy(self)
        twin._batches, twin._draws = copy.copy(self._batches), copy.copy(self._draws)
        twin._own_pace = None
        return twin

    def batch(self, step: int, part: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Inputs [k, batch, ...] and targets [k, batch] of some clients' batch number `step`."""
        # Only here: small numbers for many steps ahead are read in an eighth of the time.
        at = self._indices(step)[part] + self._offsets_there[part]
        return self._prepare(self._inputs(step, part, at)), rows_at(self.y, at)

    def batch_of(self, rows: np.ndarray, steps: np.ndarray) -> tuple[Tensor, Tensor]:
        """The batches of some clients, each at a step of its own."""
        at = self._own.samples(rows, steps)
        places = uploaded(torch.from_numpy(at), self.looks.device)
        inputs = self._prepare(self._inputs_of(rows, steps, at, places))
        return inputs, rows_at(self.y, places)

    def test(self, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs [samples, ...] and targets [samples] of a part of the test set."""
        return self._prepare(self.test_x[part]), self.test_y[part]

    def _stored(self, x: np.ndarray) -> Any:
        """Features take the run's precision; the bytes of images, and tokens, stay as they are."""
        tensor = torch.from_numpy(np.ascontiguousarray(x)).to(self.looks.device)
        return tensor.to(self.looks.dtype) if tensor.is_floating_point() else tensor

    def _inputs(self, step: int, part: slice, at: Tensor) -> Tensor:
        inputs = rows_at(self.x, at)
        if self._draws:
            first = step - step % self.steps_ahead
            offsets, flips = self._ahead[first][1]
            inputs = crop_flip(inputs, offsets[step - first][part], flips[step - first][part])
        return inputs

    @property
    def _own(self) -> OwnPace:
        if self._own_pace is None:
            looks = self.looks
            self._own_pace = OwnPace(
                self._sizes, self.clients, looks.batch_size, looks.seed, bool(looks.augmentation)
            )
        return self._own_pace

    def _inputs_of(
        self, rows: np.ndarray, steps: np.ndarray, at: np.ndarray, places: Tensor
    ) -> Tensor:
        """[rows, batch, ...]: samples `at`, which is `places` as an array, as they are seen."""
        inputs = rows_at(self.x, places)
        codes = self._own.codes(rows, steps)
        if codes is not None:
            inputs = crop_flip(inputs, *(uploaded(t, inputs.device) for t in crops(codes)))
        return inputs

    def _indices(self, step: int) -> Tensor:
        """[k, batch]: positions in the shards, of every client's batch number `step`."""
        first = step - step % self.steps_ahead
        if first not in self._ahead:
            index = uploaded(self._batches.indices(first, self.steps_ahead), self.looks.device)
            draws = self._draws.draw(first, self.steps_ahead) if self._draws else ()
            here = tuple(uploaded(t, self.looks.device) for t in draws)
            # The last ones stay: where a round has several steps, parts of the clients take turns.
            last = dict(list(self._ahead.items())[-1:])
            self._ahead = {**last, first: (index, here)}
        return self._ahead[first][0][step - first]

    def _prepare(self, inputs: Tensor) -> Tensor:
        if inputs.dtype != torch.uint8:
            return inputs
        return normalise(inputs, self.looks.mean, self.looks.std, self.looks.dtype)


def rows_at(samples: Tensor, at: Tensor) -> Tensor:
    """samples[at], for `at` of any shape; of images in a twentieth of the time."""
    return samples.index_select(0, at.reshape(-1)).view(*at.shape, *samples.shape[1:])
