"""Rows <-> Parquet files that are whole at any time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base.records import Records, column_of
from p2pqg.base.text import draft_of

ROWS_AT_ONCE = 2**14
"""Rows that are dictionaries at a time while a file is read."""


def load_writer() -> None:
    """Import what the first write would: that takes as long as many writes."""
    import pyarrow.parquet  # noqa: F401


def write_parquet(path: Path, rows: Sequence[dict[str, Any]], columns: Mapping[str, str]) -> None:
    """Write rows under a temporary name, then rename; missing keys become null, others drop."""
    import pyarrow as pa

    def column(name: str, kind: str) -> pa.Array:
        """Made of its buffers: pa.array would import pandas, to ask whether it got a Series."""
        numbers, given = column_of(rows, name, kind)
        if kind == "bool":
            numbers = np.packbits(numbers, bitorder="little")
        buffers = [np.packbits(given, bitorder="little"), numbers]
        return pa.Array.from_buffers(
            pa.type_for_alias(kind), len(rows), [pa.py_buffer(buffer) for buffer in buffers]
        )

    arrays = [column(name, kind) for name, kind in columns.items()]
    _write(path, pa.Table.from_arrays(arrays, names=list(columns)))


def write_columns(path: Path, arrays: Mapping[str, np.ndarray], columns: Mapping[str, str]) -> None:
    """`write_parquet` for numbers that are in columns already: no row is made of them."""
    import pyarrow as pa

    def column(name: str, kind: str) -> pa.Array:
        numbers = np.ascontiguousarray(arrays.get(name, ()), dtype=kind)
        buffers = [None, pa.py_buffer(numbers)]
        return pa.Array.from_buffers(pa.type_for_alias(kind), len(numbers), buffers)

    found = [column(name, kind) for name, kind in columns.items()]
    _write(path, pa.Table.from_arrays(found, names=list(columns)))


def _write(path: Path, table: Any) -> None:
    import pyarrow.parquet as pq

    with draft_of(path) as draft:
        pq.write_table(table, draft)


def check_parquet(path: Path) -> None:
    """Whether it is such a file to its end.

    Raises:
        OSError, ValueError: it is none.
    """
    import pyarrow.parquet as pq

    pq.ParquetFile(path).close()


def read_records(path: Path) -> Records:
    """The rows of a file as `Records`: there may be many."""
    import pyarrow.parquet as pq

    found = Records()
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            for row in batch.to_pylist():
                found.append({name: value for name, value in row.items() if value is not None})
    return found


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of such a file as they were written: nulls are missing keys."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:  # pq.read_table would import pandas
        rows = file.read().to_pylist()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]
