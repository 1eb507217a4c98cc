"""Images that stay in their files: threads decode the clients' batches, a step ahead of their use.

An actor opens no files but those of its own clients, and of the test set. Crops are torchvision's
RandomResizedCrop and mirror in training, and 224 of 256 pixels from the middle in the test.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.base.forked import OfProcess
from p2pqg.base.seeding import rng
from p2pqg.base.uploading import uploaded
from p2pqg.data._pixels import as_seen, content_of, opened
from p2pqg.data.feeding.feed import Feed

AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""A random crop: its share of the image's area, and its width over its height."""
TEST_SHARE = 224 / 256
"""Side of the crop that is tested over the shorter side of its image."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


class FileFeed(Feed):
    """Samples that are paths, as bytes; otherwise as `Feed`."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._threads = OfProcess(lambda: ThreadPoolExecutor(torch.get_num_threads(), "decode"))
        self._decoding = OfProcess(dict[int, list[list[Future[np.ndarray]]]])

    def fork(self) -> Feed:
        """Another feed of the same files."""
        twin = super().fork()
        assert isinstance(twin, FileFeed)
        twin._decoding = OfProcess(dict)
        return twin

    def test(self, part: slice) -> tuple[Tensor, Tensor]:
        """Inputs [samples, channels, height, width] and targets [samples] of the test set."""
        images = self._threads().map(self._decode, self.test_x[part])
        return self._prepare(self._tensor(list(images))), self.test_y[part]

    def _stored(self, x: np.ndarray) -> np.ndarray:
        return x

    def _inputs(self, step: int, part: slice, at: Tensor) -> Tensor:
        known = self._decoding()
        wanted = {s: known.get(s) or self._begin(s) for s in (step, step + 1)}
        known.clear()
        known.update(wanted)
        return self._tensor([[i.result() for i in own] for own in wanted[step][part]])

    def _begin(self, step: int) -> list[list[Future[np.ndarray]]]:
        """Images [k][batch], as soon as a thread has time."""
        first = step * self.looks.batch_size
        rows = (self._batches.indices(step, 1)[0] + self._offsets).tolist()
        return [
            [
                self._threads().submit(self._decode, self.x[row], client, first + position)
                for position, row in enumerate(own)
            ]
            for client, own in zip(self.clients, rows, strict=True)
        ]

    def _inputs_of(
        self, rows: np.ndarray, steps: np.ndarray, at: np.ndarray, places: Tensor
    ) -> Tensor:
        wanted = [
            [
                self._threads().submit(self._decode, self.x[sample], self.clients[row], position)
                for position, sample in enumerate(own, step * self.looks.batch_size)
            ]
            for row, step, own in zip(rows.tolist(), steps.tolist(), at.tolist(), strict=True)
        ]
        return self._tensor([[image.result() for image in own] for own in wanted])

    def _decode(self, path: bytes, *sample: int) -> np.ndarray:
        """One image; `sample` (client, position in its stream) is what its crop depends on."""
        if sample and self.looks.augmentation:
            return decode(path, self.looks.shape[1], rng(self.looks.seed, "augment", *sample))
        return decode(path, self.looks.shape[1])

    def _tensor(self, images: list[Any]) -> Tensor:
        return uploaded(torch.from_numpy(np.array(images)), self.looks.device)


def decode(path: bytes, side: int, random: np.random.Generator | None = None) -> np.ndarray:
    """An image file as uint8 [3, side, side]: a random crop or its mirror image, or the middle.

    Raises:
        DataError: Pillow cannot read it.
    """
    from PIL import Image

    name = os.fsdecode(path)
    content = content_of(name)
    image = as_seen(opened(content, name), content, name)[0].convert("RGB")
    box = random_box(*image.size, random) if random else middle_box(*image.size)
    image = image.resize((side, side), Image.Resampling.BILINEAR, box=box)
    if random and random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(image).transpose(2, 0, 1)


def middle_box(width: int, height: int) -> Box:
    """The square in the middle that the test looks at."""
    side = TEST_SHARE * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def random_box(width: int, height: int, random: np.random.Generator) -> Box:
    """A box of random area and shape that fits, or the largest one of a fair shape."""
    for _ in range(TRIES):
        area = width * height * random.uniform(*AREA)
        ratio = math.exp(random.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(random.integers(width - w + 1))
            top = int(random.integers(height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
