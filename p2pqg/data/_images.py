"""One loader for all image data sets: Parquet files, torchvision's own layout, or a download.

Where it looks, in this order: `data_dir`, `data_dir`/<name>, the cache. The cache is $P2PQG_CACHE,
or ~/.cache/p2pqg; it holds downloads and decoded Parquet images, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.data._arrays import Arrays
from p2pqg.errors import DataError

IMAGE_COLUMNS = ("img", "image")
DECODER = "1"
"""Part of the cache key; raise it when the same file would be decoded to other arrays."""

Part = tuple[np.ndarray, np.ndarray]
"""uint8 [samples, channels, height, width] and int64 [samples]."""


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
    shape: tuple[int, int, int]
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
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"data_dir must be an existing folder, got {str(data_dir)!r}")
    train, test = _find(spec, data_dir)
    return Arrays(
        *train,
        *test,
        num_classes=spec.num_classes,
        mean=spec.mean,
        std=spec.std,
        augmentation=spec.augmentation,
    )


def cache_dir() -> Path:
    """$P2PQG_CACHE, or ~/.cache/p2pqg."""
    return Path(os.environ.get("P2PQG_CACHE") or Path.home() / ".cache" / "p2pqg")


def _find(spec: ImageSet, data_dir: Path | None) -> tuple[Part, Part]:
    given = [] if data_dir is None else [data_dir, data_dir / spec.name]
    downloads = cache_dir() / spec.name
    for folder in [*given, downloads]:
        files = [folder / "train.parquet", folder / "test.parquet"]
        if any(file.exists() for file in files):
            train, test = (_cached(spec, file) for file in files)
            return train, test
        if (folder / spec.layout).exists():
            return _torchvision(spec, folder)
    _download(spec, downloads, looked_in=given)
    return _torchvision(spec, downloads)


# ---- Parquet: one row per image, the image as PNG or JPEG bytes (Hugging Face's layout)


def _cached(spec: ImageSet, file: Path) -> Part:
    """`_decode`, remembered in the cache as .npy files for as long as the file stays the same."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; train.parquet and test.parquet belong together")
    stat = file.stat()
    key = "|".join(map(str, (DECODER, spec.name, file.resolve(), stat.st_size, stat.st_mtime_ns)))
    stem = f"{spec.name}-{file.stem}-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"
    stored = [cache_dir() / f"{stem}-{what}.npy" for what in ("images", "labels")]
    try:
        # Copy on write: processes share the pages, and yet torch may have a writable array.
        images, labels = (np.asarray(np.load(path, mmap_mode="c")) for path in stored)
        if len(images) == len(labels):
            return images, labels
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or cut short: decode (again)
    part = _decode(spec, file)
    try:
        for path, array in zip(stored, part, strict=True):
            _save(path, array)
    except OSError as error:
        warnings.warn(
            f"decoded images were not cached in {cache_dir()} ({error}); set P2PQG_CACHE",
            stacklevel=2,
        )
    return part


def _save(path: Path, array: np.ndarray) -> None:
    """Write all of the file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as unfinished:
        try:
            np.save(unfinished, array)
            unfinished.close()
            os.replace(unfinished.name, path)
        except BaseException:
            os.unlink(unfinished.name)
            raise


def _decode(spec: ImageSet, file: Path) -> Part:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        parquet = pq.ParquetFile(file)
        columns = parquet.schema_arrow.names
        image = next((name for name in IMAGE_COLUMNS if name in columns), None)
        label = next((name for name in spec.label_columns if name in columns), None)
        if image is None or label is None:
            raise DataError(
                f"{file}: needs a column {' or '.join(IMAGE_COLUMNS)} and a column "
                f"{' or '.join(spec.label_columns)}, has {', '.join(columns) or 'none'}"
            )
        table = parquet.read(columns=[image, label])
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{file}: not a readable Parquet file ({reason}); fetch it again"
        ) from error

    pixels, labels = table[image], table[label]
    if pa.types.is_struct(pixels.type) and pixels.type.get_field_index("bytes") >= 0:
        pixels = pc.struct_field(pixels, "bytes")
    if not (pa.types.is_binary(pixels.type) or pa.types.is_large_binary(pixels.type)):
        raise DataError(
            f"{file}: column {image} must hold PNG or JPEG bytes, it holds {pixels.type}"
        )
    if not pa.types.is_integer(labels.type) or labels.null_count or len(labels) == 0:
        raise DataError(
            f"{file}: column {label} must hold an integer in every row, it holds {len(labels)} "
            f"rows of {labels.type}, {labels.null_count} of them null"
        )
    y = labels.to_numpy().astype(np.int64)
    if y.min() < 0 or y.max() >= spec.num_classes:
        raise DataError(
            f"{file}: labels of {spec.name} must be 0 .. {spec.num_classes - 1}, "
            f"found {y.min()} .. {y.max()}"
        )
    return _images(spec, file, pixels.to_pylist()), y


def _images(spec: ImageSet, file: Path, encoded: list[bytes | None]) -> np.ndarray:
    """PNG or JPEG bytes -> uint8 [samples, channels, height, width].

    One thread: at 32 x 32 pixels most of the time is Python's, and more threads were slower.
    """
    from PIL import Image

    channels, height, width = spec.shape
    mode = {1: "L", 3: "RGB"}[channels]
    images = np.empty((len(encoded), height, width, channels), dtype=np.uint8)
    for row, content in enumerate(encoded):
        try:
            image = Image.open(io.BytesIO(content or b""), formats=("PNG", "JPEG"))
            pixels = image.convert(mode).tobytes()
        except Exception as error:  # broken images make Pillow raise a bit of everything
            raise DataError(
                f"{file}: row {row} is not a PNG or JPEG image; fetch the file again"
            ) from error
        if image.size != (width, height):
            raise DataError(
                f"{file}: images of {spec.name} have {width} x {height} pixels, "
                f"row {row} has {image.size[0]} x {image.size[1]}"
            )
        images[row] = np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


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
        return np.ascontiguousarray(x), np.asarray(y, dtype=np.int64)

    try:
        return part(True), part(False)
    except Exception as error:  # a broken pickle may raise anything
        raise DataError(
            f"{folder}: torchvision cannot read {spec.name} there ({error}); "
            f"remove {spec.layout} to download it again"
        ) from error


def _download(spec: ImageSet, folder: Path, looked_in: list[Path]) -> None:
    """Fetch both parts into `folder`: all of it or nothing."""
    import torchvision

    build = getattr(torchvision.datasets, spec.torchvision)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
            for keywords in spec.train_keyword.values():
                build(unfinished, download=True, **keywords)
            folder.mkdir(exist_ok=True)
            for child in Path(unfinished).iterdir():
                os.replace(child, folder / child.name)
    except Exception as error:  # no network, a mirror that is gone, no space: nothing is left
        places = " and ".join(str(place) for place in looked_in)
        raise DataError(
            f"{spec.name} is not in {places or 'the cache'} and could not be downloaded ({error}); "
            f"point data_dir to a folder with train.parquet and test.parquet, or {spec.layout}"
        ) from error
