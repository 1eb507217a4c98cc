"""Data sets as Parquet files in Hugging Face's layout: a row per sample, with its label."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from p2pqg.base.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

T = TypeVar("T")

TEST = ("test", "validation", "valid", "val")
"""What the test part may be called; the first name that is present counts."""


def find(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files of one part, in order; empty if there are none.

    That is train.parquet, or train-00000-of-00012.parquet and so on, there or in its folder `data`.
    """
    for name in names:
        for pattern in ("{}.parquet", "{}-*.parquet", "data/{}.parquet", "data/{}-*.parquet"):
            if files := sorted(folder.glob(pattern.format(name))):
                return files
    return []


def find_both(folder: Path, test: Sequence[str] = TEST) -> tuple[list[Path], list[Path]] | None:
    """The files of the training and of the test part; None if there is neither.

    Args:
        folder: with all of them.
        test: what the test part may be called.

    Raises:
        DataError: one without the other.
    """
    train, test = find(folder, ("train",)), find(folder, test)
    if not train and not test:
        return None
    if not (train and test):
        missing = folder / ("test.parquet" if train else "train.parquet")
        raise DataError(f"{missing}: no such file; train.parquet and test.parquet belong together")
    return train, test


def read(
    file: Path, samples: Sequence[str], labels: Sequence[str], num_classes: int | None = None
) -> tuple[pa.ChunkedArray, np.ndarray]:
    """One file's samples and labels, by the names that their columns may have.

    Args:
        file: a Parquet file.
        samples: names of the column of samples; the first one present counts.
        labels: names of the column of labels, likewise.
        num_classes: labels must be less; None: any.

    Returns:
        the column of samples as it is, and int64 [rows], >= 0.

    Raises:
        DataError: broken, a column is missing, or labels that are none.
    """
    import pyarrow as pa

    parquet = _opened(file)
    columns = parquet.schema_arrow.names
    sample = next((name for name in samples if name in columns), None)
    label = next((name for name in labels if name in columns), None)
    if sample is None or label is None:
        raise DataError(
            f"{file}: needs a column {' or '.join(samples)} and a column "
            f"{' or '.join(labels)}, has {', '.join(columns) or 'none'}"
        )
    table = _reading(file, lambda: parquet.read(columns=[sample, label]))
    column = table[label]
    if not pa.types.is_integer(column.type) or column.null_count or len(column) == 0:
        raise DataError(
            f"{file}: column {label} must hold an integer in every row, it holds {len(column)} "
            f"rows of {column.type}, {column.null_count} of them null"
        )
    y = column.to_numpy().astype(np.int64)
    if y.min() < 0 or (num_classes and y.max() >= num_classes):
        most = num_classes - 1 if num_classes else "one less than the number of classes"
        raise DataError(f"{file}: labels must be 0 .. {most}, found {y.min()} .. {y.max()}")
    return table[sample], y


def columns(file: Path) -> list[str]:
    """The names of a file's columns; DataError if it is broken."""
    return _opened(file).schema_arrow.names


def class_names(file: Path, labels: Sequence[str]) -> list[str]:
    """The names of the classes, if the file says them as Hugging Face's do; empty otherwise."""
    about = (_opened(file).schema_arrow.metadata or {}).get(b"huggingface")
    features = json.loads(about)["info"]["features"] if about else {}
    return next((features[name].get("names", []) for name in labels if name in features), [])


def _opened(file: Path) -> pq.ParquetFile:
    import pyarrow.parquet as pq

    return _reading(file, lambda: pq.ParquetFile(file))


def _reading(file: Path, read: Callable[[], T]) -> T:
    """What `read` returns; DataError where the file is broken."""
    import pyarrow as pa

    try:
        return read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{file}: not a readable Parquet file ({reason}); fetch it again"
        ) from error
