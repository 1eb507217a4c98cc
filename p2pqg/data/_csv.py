"""CSV files -> tables: UTF-8, the first line names the columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2pqg.base.errors import DataError
from p2pqg.base.memory import check_room
from p2pqg.base.text import is_number

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS = ",;\t|"
GROWTH = 6
"""Memory that reading takes, over the size of the file, about: a number of two letters has eight
bytes, and both are there for a while."""
HEAD = 2**20
"""Bytes in which the first line must end."""


def read_csv(path: Path, delimiter: str = "", texts: Sequence[str] = ()) -> pa.Table:
    """A CSV file as a table; numbers, truth values and texts are told apart by column.

    Args:
        path: of the file.
        delimiter: between two cells; default: the most frequent one of `, ; tab |` in line 1.
        texts: columns that are texts whatever they look like.

    Raises:
        DataError: no such file, not UTF-8, too large, no names of columns, or ragged lines.
    """
    import pyarrow as pa
    from pyarrow import csv

    between = _delimiter(path, delimiter)
    try:
        with path.open("rb") as file:
            table = csv.read_csv(
                file,
                csv.ReadOptions(block_size=2**24),
                csv.ParseOptions(delimiter=between, newlines_in_values=True),
                csv.ConvertOptions(
                    strings_can_be_null=False, column_types=dict.fromkeys(texts, pa.string())
                ),
            )
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].removeprefix("CSV parse error: ")
        raise DataError(f"{path}: not a readable CSV file ({reason:.200})") from error
    if any(pa.types.is_binary(kind) for kind in table.schema.types) or not _is_utf8(table):
        raise DataError(f"{path}: not a readable CSV file (it is not UTF-8); save it as UTF-8")
    if "" in table.column_names:
        raise DataError(
            f"{path}: the first line must name the columns, number "
            f"{table.column_names.index('') + 1} has no name; pandas writes its index so: leave "
            "that out with to_csv(..., index=False), or name the column"
        )
    return table


def _delimiter(path: Path, delimiter: str) -> str:
    """What stands between two cells; the first line is looked at before the rest is read."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    check_room(GROWTH * path.stat().st_size, str(path), "use Parquet or .npz, or fewer rows")
    with path.open("rb") as file:
        line = file.readline(HEAD).decode("utf-8-sig", "replace").strip()
    if not line:
        raise DataError(f"{path}: the first line must name the columns, it is empty")
    chosen = delimiter or max(DELIMITERS, key=line.count)
    names = [name.strip().strip('"') for name in line.split(chosen)]
    if all(map(is_number, names)):
        raise DataError(f"{path}: the first line must name the columns, it holds {line:.60}")
    return chosen


def _is_utf8(table: pa.Table) -> bool:
    """Whether the names of the columns are; those of the cells are known by their type."""
    try:
        return all(isinstance(name, str) for name in table.column_names)
    except UnicodeDecodeError:
        return False
