"""Anybody's images: a folder of class folders, or Parquet files in Hugging Face's layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.data import _folders, _parquet
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._cache import remembered
from p2pqg.data._images import DECODER, IMAGE_COLUMNS, Part, encoded, read_images
from p2pqg.data._params import whole_number
from p2pqg.data._pixels import Shape, opened, pixels, shape_of

LABELS = ("label", "labels", "fine_label")


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    side: int = 0
    """Pixels that images are scaled to, the rest cut off; 0: all have one size, and keep it."""
    augmentation: Literal["none", "crop-flip"] = "none"
    """crop-flip: pad 4, random crop, random mirror."""

    def problems(self) -> Iterator[str]:
        """Every rule that is broken."""
        if not whole_number(self.side, 0):
            yield f"dataset.side must be a whole number >= 0, got {self.side!r}"
        if self.augmentation not in ("none", "crop-flip"):
            yield f"dataset.augmentation must be none or crop-flip, got {self.augmentation!r}"


@dataset("images", model="resnet20-gn", params=Params, source="yours: data_dir")
def images(params: Params, data_dir: Path | None) -> Arrays:
    """Your own: data_dir with train/ and test/ (a folder per class), or *.parquet."""
    if data_dir is None or not data_dir.is_dir():
        raise DataError(f"dataset images needs data_dir, an existing folder, got {data_dir}")
    if files := _parquet.find_both(data_dir):
        train, test, num_classes = _from_parquet(*files, params.side)
    elif folders := _folders.find_both(data_dir):
        train, test, num_classes = _from_folders(*folders, params.side)
    else:
        raise DataError(
            f"{data_dir}: needs train/ and test/ with a folder per class, or train.parquet and "
            "test.parquet"
        )
    half = (0.5,) * train[0].shape[1]
    augmentation = None if params.augmentation == "none" else params.augmentation
    return Arrays(
        *train, *test, num_classes=num_classes, mean=half, std=half, augmentation=augmentation
    )


def _shape(content: bytes | None, what: str, side: int) -> Shape:
    """What all images shall look like, after the first one."""
    channels, height, width = shape_of(opened(content, what))
    return (channels, side, side) if side else (channels, height, width)


def _from_parquet(train: list[Path], test: list[Path], side: int) -> tuple[Part, Part, int]:
    column, _ = _parquet.read(train[0], IMAGE_COLUMNS, LABELS)
    what, content = next(encoded(train[0], column))
    shape = _shape(content, what, side)
    first, second = (
        read_images("images", files, LABELS, shape, fit=side > 0) for files in (train, test)
    )
    most = max(first[1].max(), second[1].max()) + 1
    return first, second, max(int(most), len(_parquet.class_names(train[0], LABELS)))


def _from_folders(train: Path, test: Path, side: int) -> tuple[Part, Part, int]:
    *parts, num_classes = _folders.read_both(train, test)
    first = os.fsdecode(parts[0][0][0])
    shape = _shape(Path(first).read_bytes(), first, side)

    def part(paths: np.ndarray, labels: np.ndarray) -> Part:
        names = [os.fsdecode(path) for path in paths]
        stats = [(name, os.stat(name).st_size, os.stat(name).st_mtime_ns) for name in names]
        contents = ((name, Path(name).read_bytes()) for name in names)
        key = (DECODER, shape, side, *stats)
        return remembered("images", key, lambda: (pixels(contents, shape, side > 0), labels))

    return part(*parts[0]), part(*parts[1]), num_classes
