"""Images in a column of a table: files as bytes, perhaps with a path beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.data._pixels import content_of, pixels

if TYPE_CHECKING:
    import pyarrow as pa


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column of this type may be of files: bytes, alone or under `bytes`."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def only_one(table: pa.Table, others: Collection[str]) -> str:
    """The one column beside those that holds images, if there is just one; else ""."""
    found = [
        field.name
        for field in table.schema
        if field.name not in others and holds_images(field.type)
    ]
    return found[0] if len(found) == 1 else ""


def read(column: pa.ChunkedArray, side: int, what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The images of a column, [rows, channels, height, width], and what should be known of them.

    Args:
        column: files as bytes, alone or under `bytes`.
        side: pixels that they are scaled to, the rest cut off; 0: all have one size, and keep it.
        what: the column is called in a message.

    Raises:
        DataError: it holds something else, or images of several sizes.
    """
    if not holds_images(column.type):
        raise DataError(f"{what} must hold images as PNG or JPEG bytes, it holds {column.type}")
    found = pixels(
        _contents(column, what),
        len(column),
        what,
        size=(side, side) if side else None,
        fit=side > 0,
    )
    return found.x, found.notes


def _contents(column: pa.ChunkedArray, what: str) -> Iterator[tuple[str, bytes | None]]:
    for row, cell in enumerate(column):
        content = cell.as_py()
        yield f"{what}, row {row}", content.get("bytes") if isinstance(content, dict) else content


def with_files(table: pa.Table) -> pa.Table:
    """A table whose images are all bytes: those that are paths only are read.

    For tables that this process made; a stranger's must not choose what is read here.
    """
    import pyarrow as pa

    for position, column in enumerate(table.schema):
        if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
            cells = table[column.name].to_pylist()
            whole = [cell and (cell["bytes"] or _of_file(cell.get("path"))) for cell in cells]
            table = table.set_column(position, column.name, pa.array(whole, pa.binary()))
    return table


def _of_file(path: str | None) -> bytes | None:
    """What is in a file; None: there is neither a path nor anything else."""
    return content_of(path) if path else None
