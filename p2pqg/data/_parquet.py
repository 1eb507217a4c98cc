"""Data sets as Parquet files in Hugging Face's layout: a row per sample, with its label."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.base.memory import check_room

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

T = TypeVar("T")

BATCH_ROWS = 4096
"""Rows that are read at a time."""

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
    first, second = find(folder, ("train",)), find(folder, test)
    if not first and not second:
        return None
    if not (first and second):
        missing = folder / ("test.parquet" if first else "train.parquet")
        raise DataError(f"{missing}: no such file; train.parquet and test.parquet belong together")
    return first, second


def read(
    file: Path, samples: Sequence[str], labels: Sequence[str], num_classes: int | None = None
) -> tuple[pa.ChunkedArray, np.ndarray]:
    """One file's samples and labels, by the names that their columns may have.

    Args:
        file: a Parquet file.
        samples: names of the column of samples; the first one present counts.
        labels: names of the column of labels, likewise.
        num_classes: labels must be integers, 0 .. num_classes - 1; None: any integers or texts.

    Returns:
        the column of samples as it is; and int64 [rows], or texts [rows].

    Raises:
        DataError: broken, too large, a column is missing, or labels that are none.
    """
    columns = opened(file).schema_arrow.names
    sample = next((name for name in samples if name in columns), None)
    label = next((name for name in labels if name in columns), None)
    if sample is None or label is None:
        raise DataError(
            f"{file}: needs a column {' or '.join(samples)} and a column "
            f"{' or '.join(labels)}, has {', '.join(columns) or 'none'}"
        )
    table = read_table(file, [sample, label])
    y = _labels(file, label, table[label], "an integer" if num_classes else "an integer or a text")
    if num_classes and (y.dtype.kind != "i" or y.min() < 0 or y.max() >= num_classes):
        hidden = "; -1 hides labels: test with the validation part" if y.min() == -1 else ""
        raise DataError(
            f"{file}: labels must be 0 .. {num_classes - 1}, found {y.min()} .. {y.max()}{hidden}"
        )
    return table[sample], y


def _labels(file: Path, label: str, column: pa.ChunkedArray, wanted: str) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    texts = is_text(column.type) and "text" in wanted
    if not (pa.types.is_integer(column.type) or texts) or column.null_count or len(column) == 0:
        raise DataError(
            f"{file}: column {label} must hold {wanted} in every row, it holds {len(column)} "
            f"rows of {column.type}, {column.null_count} of them null"
        )
    return np.array(column.to_pylist()) if texts else column.to_numpy().astype(np.int64)


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts."""
    import pyarrow as pa

    views = str(kind) == "string_view"  # which is newer than the oldest Arrow that is read with
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or views


def is_list(kind: pa.DataType) -> bool:
    """Whether the cells of a column of this type are lists."""
    import pyarrow as pa

    lists = ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    asked = (getattr(pa.types, f"is_{name}", None) for name in lists)  # of views: newer Arrows
    return any(is_one and is_one(kind) for is_one in asked)


def read_table(file: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Columns of a file; all of them by default.

    A file of a few bytes may hold columns of any size, for it stores what is repeated only once;
    so their size is looked at while they are read.

    Raises:
        DataError: broken, or too large.
    """
    import pyarrow as pa

    parquet = opened(file)
    schema = parquet.schema_arrow
    columns = schema.names if columns is None else list(columns)
    schema = pa.schema([schema.field(name) for name in columns], metadata=schema.metadata)

    def read_all() -> pa.Table:
        batches, size = [], 0
        for batch in parquet.iter_batches(BATCH_ROWS, columns=columns):
            size += batch.nbytes
            check_room(batch.nbytes, f"{file}: {size:,} bytes and more", "use fewer rows")
            batches.append(batch)
        return pa.Table.from_batches(batches, schema)

    return _reading(file, read_all)


def columns(file: Path) -> list[str]:
    """The names of a file's columns; DataError if it is broken."""
    return opened(file).schema_arrow.names


def class_names(files: Sequence[Path], labels: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, if the files of a part say them as Hugging Face's do; else empty.

    Raises:
        DataError: a class is called otherwise in another file.
    """
    known, by = tuple[str, ...](), files[0]
    for file in files:
        names = names_in(opened(file).schema_arrow.metadata, labels)
        for label, (name, other) in enumerate(zip(names, known, strict=False)):
            if name != other:
                raise DataError(
                    f"{file}: label {label} is {name!r}, and {other!r} in {by.name}; number "
                    "the classes alike in all files"
                )
        if len(names) > len(known):
            known, by = names, file
    return known


def names_in(metadata: Mapping[bytes, bytes] | None, labels: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, from the metadata of a table."""
    try:
        about = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    except ValueError:
        return ()
    # Some writers leave `info` out, and null stands for "not known" on every level.
    features = _entry(_entry(about, "info"), "features") or _entry(about, "features")
    for name in labels:
        names = _entry(_entry(features, name), "names")
        if isinstance(names, list) and all(isinstance(text, str) for text in names):
            return tuple(names)
    return ()


def _entry(value: Any, key: str) -> Any:
    """value[key]; None if there is none."""
    return value.get(key) if isinstance(value, dict) else None


def opened(file: Path) -> pq.ParquetFile:
    """The file, of which little is read yet; DataError if it is broken."""
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
