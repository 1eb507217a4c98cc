"""From stored images to what a model sees: random crop and mirror, then normalisation.

Draws are keyed by (seed, client, step), like the batches; the pixels are moved on any device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from p2pqg.base.seeding import rng
from p2pqg.data._stream import CHUNK, Stream

PAD = 4
PLACES = 2 * PAD + 1
"""Where a crop may start, per axis."""


class AugmentDraws:
    """The random crops and mirrors of the clients that one block hosts."""

    def __init__(self, clients: Sequence[int], batch_size: int, seed: int) -> None:
        """Say for whom: [k] client numbers, samples per client and step, the run's seed."""
        self._shape = (len(clients), batch_size)
        self._codes = Stream(clients, CHUNK, np.uint8, codes_of(seed))

    def draw(self, first_step: int, num_steps: int) -> tuple[Tensor, Tensor]:
        """The draws for steps first_step .. first_step + num_steps - 1.

        Returns:
            offsets: int64 [num_steps, k, batch_size, 2], (row, column) in the padded image where
                the crop starts, 0 .. 2 PAD.
            flips: bool [num_steps, k, batch_size], whether the crop is mirrored left to right.
        """
        k, batch_size = self._shape
        codes = self._codes.read(first_step * batch_size, (first_step + num_steps) * batch_size)
        codes = codes.reshape(k, num_steps, batch_size).swapaxes(0, 1)
        return crops(codes)


def codes_of(seed: int) -> Callable[[int, int], np.ndarray]:
    """draw(client, chunk) -> numbers each of which holds row, column and mirror of a crop."""

    def draw(client: int, chunk: int) -> np.ndarray:
        codes = PLACES * PLACES * 2
        return rng(seed, "augment", client, chunk).integers(codes, size=CHUNK, dtype=np.uint8)

    return draw


def crops(codes: np.ndarray) -> tuple[Tensor, Tensor]:
    """Offsets [..., 2] and flips [...] that such numbers [...] hold, see `AugmentDraws.draw`."""
    places, flips = np.divmod(codes, 2)
    offsets = np.stack(np.divmod(places, PLACES), axis=-1).astype(np.int64)
    return torch.from_numpy(offsets), torch.from_numpy(flips.astype(bool))


def crop_flip(images: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
    """Pad with PAD black pixels on each side, crop to the old size, mirror some.

    As torchvision's RandomCrop(padding=4) and RandomHorizontalFlip on images that are not yet
    normalised: 0 is black.

    Args:
        images: [k, batch, channels, height, width], uint8 or float.
        offsets: int64 [k, batch, 2], (row, column), 0 .. 2 PAD.
        flips: bool [k, batch].

    Returns:
        As images.
    """
    height, width = images.shape[-2:]
    row, column = offsets.flatten(0, 1).unbind(1)
    plain, mirrored, down = _places(height, width, images.device)
    corner = torch.add(column, row, alpha=width + 2 * PAD)[:, None]  # [images, 1]
    top = corner + torch.where(flips.flatten()[:, None], mirrored, plain)  # [images, width]
    pixel = (top[:, None] + down).flatten(1)
    padded = functional.pad(images.flatten(0, 1), (PAD, PAD, PAD, PAD)).flatten(2)
    channels = padded.shape[1]
    return padded.gather(2, pixel[:, None].expand(-1, channels, -1)).view(images.shape)


@functools.cache
def _places(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Where pixels of a padded image are, counted from a crop's corner; kept for the next step.

    Returns:
        [width] of a crop's first row; the same mirrored; [height, 1] of its first column.
    """
    across = torch.arange(width, device=device)
    down = torch.arange(height, device=device) * (width + 2 * PAD)
    return across, across.flip(0), down[:, None]


def normalise(
    images: Tensor,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """(images / 255 - mean) / std per channel for uint8 images; features only change their type.

    Args:
        images: [..., channels, height, width] if uint8, else features of any shape.
        mean: per channel; None: 0.
        std: per channel; None: 1.
        dtype: of the result; bfloat16 is rounded once, at the end.

    Returns:
        As images, of type dtype.
    """
    if images.dtype != torch.uint8:
        return images.to(dtype)
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    scale, shift = _scale_and_shift(mean or (0.0,), std or (1.0,), exact, images.device)
    return torch.addcmul(shift, images.to(exact), scale).to(dtype)


@functools.cache
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """[channels, 1, 1] each; kept, since copying them to a GPU in every step would wait for it."""
    mean_column = torch.tensor(mean, dtype=torch.float64)[:, None, None]
    std_column = torch.tensor(std, dtype=torch.float64)[:, None, None]
    scale, shift = 1 / (255 * std_column), -mean_column / std_column
    return scale.to(device, dtype), shift.to(device, dtype)
