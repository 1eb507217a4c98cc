"""Gaussian class blobs of any size: for jobs that test scale, and for tests."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from p2pqg.base.memory import check_room
from p2pqg.base.ranges import broken
from p2pqg.base.seeding import rng
from p2pqg.data._arrays import Arrays, dataset


@dataclass(frozen=True, kw_only=True)
class Params:
    samples: Annotated[int, ">= 1"] = 10_000
    test_samples: Annotated[int, ">= 0"] = 0
    """0: a fifth of the training samples, and at least one per class."""
    features: Annotated[int, ">= 1"] = 32
    """Numbers of a flat sample; with image_side they follow from it."""
    image_side: Annotated[int, ">= 0"] = 0
    """0: flat samples; s: images of 3 x s x s."""
    classes: Annotated[int, ">= 1"] = 10
    separation: Annotated[float, ">= 0"] = 3.0
    """Typical distance between two class centers, in standard deviations of a class; >= 0.
    0: nothing to learn; 10: hardly an error."""
    seed: Annotated[int, ">= 0"] = 0

    def problems(self) -> Iterator[str]:
        if self.samples < self.classes:
            yield broken(
                f"dataset.samples must be >= classes ({self.classes}), got {self.samples}",
                "samples",
                "classes",
            )


@dataset(
    "synthetic",
    model="mlp",
    params=Params,
    source="Gaussian class blobs, drawn here",
    files=False,
)
def synthetic(params: Params, data_dir: Path | None) -> Arrays:
    """Gaussian class blobs with balanced labels, unit variance and random centers."""
    side = params.image_side
    shape = (3, side, side) if side else (params.features,)
    num_test = params.test_samples or max(params.samples // 5, params.classes)
    # The training samples twice: their centers are added to them.
    numbers = (2 * params.samples + num_test + params.classes) * math.prod(shape)
    check_room(4 * numbers, "dataset synthetic", "set fewer samples or features")
    # Two centers of independent N(0, s^2) entries lie about s sqrt(2 features) apart.
    spread = params.separation / math.sqrt(2 * math.prod(shape))
    centers = rng(params.seed, "synthetic-centers").standard_normal((params.classes, *shape))
    centers = (spread * centers).astype(np.float32)

    def draw(num_samples: int, part: int) -> tuple[np.ndarray, np.ndarray]:
        random = rng(params.seed, "synthetic-samples", part)
        y = random.permutation(np.arange(num_samples) % params.classes)
        x = random.standard_normal((num_samples, *shape), dtype=np.float32)
        x += centers[y]
        return x, y

    train = draw(params.samples, 0)
    test = draw(num_test, 1)
    return Arrays(*train, *test, num_classes=params.classes)
