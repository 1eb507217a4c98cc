"""ImageNet at 32 x 32 pixels: Chrabaszcz, Loshchilov, Hutter, arXiv:1707.08819.

Read from the official batches, train_data_batch_1 .. 10 and val_data (pickles or .npz), or from
Parquet. Normalisation and augmentation are those of the QG paper's code.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.base.registry import NoParams
from p2pqg.data import _parquet
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._cache import Part, remembered
from p2pqg.data._images import places, read_images
from p2pqg.data._npz import read_npz

SHAPE, NUM_CLASSES = (3, 32, 32), 1000
HALF = (0.5, 0.5, 0.5)
REBUILD = {("numpy", n) for n in ("_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer")}
REBUILD.add(("_codecs", "encode"))

CORE = np.zeros(0).__reduce__()[0].__module__.removesuffix(".multiarray")
"""What this NumPy calls its inner package: numpy.core before version 2, numpy._core since."""


@dataset("imagenet32", model="resnet20-gn-x2", source="Chrabaszcz et al., 2017")
def imagenet32(params: NoParams, data_dir: Path | None) -> Arrays:
    """ImageNet at 32 x 32 pixels: 1.3 million small photos in 1,000 classes."""
    train, test = _find(data_dir)
    return Arrays(
        train.x,
        train.y,
        test.x,
        test.y,
        num_classes=NUM_CLASSES,
        mean=HALF,
        std=HALF,
        augmentation="crop-flip",
        notes=(*train.notes, *test.notes),
    )


def _find(data_dir: Path | None) -> tuple[Part, Part]:
    given = places("imagenet32", data_dir)
    for folder in given:
        # What Parquet mirrors call "test" has no labels.
        if files := _parquet.find_both(folder, test=("validation", "val", "test")):
            train, test = (
                read_images("imagenet32", f, ("label",), NUM_CLASSES, SHAPE[0], SHAPE[1:])
                for f in files
            )
            return train, test
        train_files = sorted(folder.glob("**/train_data_batch_*"), key=_number)
        test_files = sorted(folder.glob("**/val_data*"))
        if train_files and test_files:
            return _batches(train_files), _batches(test_files[:1])
    where = " and ".join(str(place) for place in given)
    raise DataError(
        f"imagenet32 is not in {where or 'the cache'} and cannot be downloaded without an account; "
        "point data_dir to a folder with train_data_batch_1 .. 10 and val_data, or with "
        "train.parquet and validation.parquet"
    )


def _number(file: Path) -> int:
    digits = file.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


def _batches(files: list[Path]) -> Part:
    """The official batches of one part, end to end; remembered while the files stay the same."""

    def make() -> Part:
        images, labels = zip(*map(_batch, files), strict=True)
        return Part(np.concatenate(images), np.concatenate(labels))

    stats = [(file.resolve(), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return remembered(f"imagenet32-{files[0].stem}", ("1", *stats), make)


def _batch(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """One file: rows of 3,072 bytes, red before green before blue, and labels 1 .. 1000."""
    try:
        if file.suffix == ".npz":
            stored = read_npz(file)
        else:
            with file.open("rb") as opened:
                stored = _Arrays(opened).load()
        images = np.asarray(stored["data"], dtype=np.uint8).reshape(-1, *SHAPE)
        labels = np.asarray(stored["labels"], dtype=np.int64) - 1
    except DataError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise DataError(f"{file}: not a batch of imagenet32 ({error}); fetch it again") from error
    if len(labels) != len(images) or labels.min() < 0 or labels.max() >= NUM_CLASSES:
        raise DataError(f"{file}: needs a label 1 .. {NUM_CLASSES} for each of its images")
    return images, labels


class _Arrays(pickle.Unpickler):
    """Reads arrays, lists and numbers, and runs nothing else that a pickle may ask for."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")  # written by Python 2

    def find_class(self, module: str, name: str) -> Any:
        """Only what arrays are rebuilt with."""
        module = module.replace("numpy.core", CORE).replace("numpy._core", CORE)
        if (module.partition(".")[0], name) in REBUILD:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set")
