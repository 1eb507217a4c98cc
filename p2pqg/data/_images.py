"""One loader for the well-known image data sets: Parquet, torchvision's own layout, or a download.

Where it looks, in this order: `data_dir`, `data_dir`/<name>, the cache.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base.cache_dir import cache_dir
from p2pqg.base.errors import DataError
from p2pqg.base.hub import may_download
from p2pqg.data import _parquet
from p2pqg.data._arrays import Arrays
from p2pqg.data._cache import Part, remembered
from p2pqg.data._files import Content
from p2pqg.data._pixels import Shape, pixels

IMAGE_COLUMNS = ("img", "image")
DECODER = "2"
"""Part of the cache key; raise it when the same file would be decoded to other arrays."""


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """What the loader must know about a data set.

    Attributes:
        shape: (channels, height, width); channels are 1 (gray) or 3 (RGB).
        torchvision: name of its class in torchvision.datasets.
        layout: the file or folder by which torchvision's layout is recognised.
        train_keyword: how that class is asked for the training (True) and the test (False) part.
        label_columns: names that the label has in Parquet files; the first one present counts.
    """

    name: str
    shape: Shape
    num_classes: int
    torchvision: str
    layout: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: str | None = None
    label_columns: tuple[str, ...] = ("label",)
    train_keyword: Mapping[bool, Mapping[str, Any]] = field(
        default_factory=lambda: {True: {"train": True}, False: {"train": False}}
    )


def load_images(spec: ImageSet, data_dir: Path | None) -> Arrays:
    """Find, read and check an image data set; see the top of this file for where.

    Raises:
        DataError: no such folder, a missing or broken file, wrong columns, or no network.
    """
    train, test = _find(spec, data_dir)
    return Arrays(
        train.x,
        train.y,
        test.x,
        test.y,
        num_classes=spec.num_classes,
        mean=spec.mean,
        std=spec.std,
        augmentation=spec.augmentation,
        notes=(*train.notes, *test.notes),
    )


def places(name: str, data_dir: Path | None) -> list[Path]:
    """Where a data set may be: `data_dir`, and the folder in it that is called as the data set."""
    if data_dir is None:
        return []
    names = dict.fromkeys([name, name.replace("-", "_")])
    return [data_dir, *(data_dir / name for name in names)]


def _find(spec: ImageSet, data_dir: Path | None) -> tuple[Part, Part]:
    given = places(spec.name, data_dir)
    downloads = cache_dir() / spec.name
    for folder in [*given, downloads]:
        if files := _parquet.find_both(folder):
            labels, (channels, height, width) = spec.label_columns, spec.shape
            train, test = (
                read_images(spec.name, f, labels, spec.num_classes, channels, (height, width))
                for f in files
            )
            return train, test
        if (folder / spec.layout).exists():
            return _torchvision(spec, folder)
    _download(spec, downloads, looked_in=given)
    return _torchvision(spec, downloads)


# ---- Parquet: one row per image, the image as PNG or JPEG bytes (Hugging Face's layout)


def read_images(
    name: str,
    files: Sequence[Path],
    labels: Sequence[str],
    num_classes: int | None = None,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    fit: bool = False,
) -> Part:
    """One part of a data set, decoded once and remembered while its files stay the same.

    Args:
        name: of the data set.
        files: Parquet files.
        labels: names that the column of labels may have.
        num_classes: labels must be less; None: any integers or texts.
        channels: see `pixels`; so are the others.
        size: (height, width).
        fit: scale and cut.

    Returns:
        uint8 [samples, channels, height, width] and [samples].

    Raises:
        DataError: a broken file, a missing column, or other images.
    """

    def make() -> Part:
        columns, all_labels = [], []
        for file in files:
            column, y = _parquet.read(file, IMAGE_COLUMNS, labels, num_classes)
            columns.append((file, column))
            all_labels.append(y)
        y = np.concatenate(all_labels)
        contents = chain.from_iterable(encoded(*column) for column in columns)
        what, content = f"{name} ({files[0].name})", Content()
        found = content.of(contents)
        decoded = pixels(found, len(y), what, channels=channels, size=size, fit=fit)
        return Part(decoded.x, y, decoded.notes, content.with_labels(y))

    stats = [(file.resolve(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    key = (DECODER, name, channels, size, fit, *stats)
    return remembered(f"{name}-{files[0].stem}", key, make)


def encoded(file: Path, column: Any) -> Iterator[tuple[str, bytes | None]]:
    """What each image of a column is called in a message, and its content.

    Raises:
        DataError: the column holds something else.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if not (pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)):
        raise DataError(
            f"{file}: the column of images must hold PNG or JPEG bytes, it holds {column.type}"
        )
    for row, content in enumerate(column):
        yield f"{file}: row {row}", content.as_py()


# ---- torchvision's own layout


def _torchvision(spec: ImageSet, folder: Path) -> tuple[Part, Part]:
    import torchvision

    build = getattr(torchvision.datasets, spec.torchvision)

    def part(train: bool) -> Part:
        stored = build(str(folder), **spec.train_keyword[train])
        x = np.asarray(stored.data)
        if x.ndim == 3:
            x = x[:, None]
        if x.shape[1:] != spec.shape:
            x = x.transpose(0, 3, 1, 2)  # torchvision keeps CIFAR with the channels last
        y = stored.targets if hasattr(stored, "targets") else stored.labels
        return Part(np.ascontiguousarray(x), np.asarray(y, dtype=np.int64))

    try:
        return part(True), part(False)
    except Exception as error:  # a broken pickle may raise anything
        raise DataError(
            f"{folder}: torchvision cannot read {spec.name} there ({error}); "
            f"remove {spec.layout} to download it again"
        ) from error


def _download(spec: ImageSet, folder: Path, looked_in: list[Path]) -> None:
    """Fetch both parts into `folder`: all of it or nothing."""
    try:
        if not may_download():
            raise ConnectionError("downloads are not allowed here")
        import torchvision

        build = getattr(torchvision.datasets, spec.torchvision)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
            for keywords in spec.train_keyword.values():
                build(unfinished, download=True, **keywords)
            folder.mkdir(exist_ok=True)
            for child in Path(unfinished).iterdir():
                os.replace(child, folder / child.name)
    except Exception as error:  # no network, a mirror that is gone, no space: nothing is left
        where = " and ".join(str(place) for place in looked_in)
        reason = " ".join(str(error).split())  # of several mirrors there are several lines
        raise DataError(
            f"{spec.name} is not in {where or 'the cache'} and could not be downloaded ({reason}); "
            f"point data_dir to a folder with train.parquet and test.parquet, or {spec.layout}"
        ) from error
