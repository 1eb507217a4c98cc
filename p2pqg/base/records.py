"""Rows of numbers that only become more: a list of dictionaries, in a fifth of its memory.

A long run has millions of them. Those on record are never changed; whoever asks for one gets a
dictionary of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, overload

import numpy as np

Row = dict[str, Any]

OF_TESTS = ("test_accuracy", "test_loss")
"""Columns of which a row of rounds.parquet has one where clients were evaluated: numbers have no
accuracy, and a loss of the user's may be no number."""
TOGETHER = 1024
"""Rows in a block."""

KINDS = {bool: np.dtype("bool"), int: np.dtype("int64"), float: np.dtype("float64")}


class _Column(NamedTuple):
    """A column of a block.

    Attributes:
        values: [rows], anything where there is none; there: bool [rows], None: everywhere.
    """

    values: np.ndarray
    there: np.ndarray | None


Block = dict[str, _Column]


class Records(Sequence[Row]):
    """Rows, of which all but the last few lie in columns.

    As of a list, `append`, `extend`, indices and slices; a copy costs little. One thread may add
    while others read: they see those that there were when they began.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._held: tuple[tuple[Block, ...], list[Row]] = (), []
        self.extend(rows)

    def copy(self) -> Records:
        """With the same rows; what is added to one of them the other one does not have."""
        twin, (blocks, last) = Records(), self._held
        twin._held = blocks, list(last)
        return twin

    def append(self, row: Row) -> None:
        """One more; the caller leaves it as it is."""
        blocks, last = self._held
        last.append(row)
        if len(last) == TOGETHER:
            self._held = (*blocks, _block(last)), []

    def extend(self, rows: Iterable[Row]) -> None:
        """Add rows at the end."""
        for row in rows:
            self.append(row)

    def __len__(self) -> int:
        blocks, last = self._held
        return len(blocks) * TOGETHER + len(last)

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> list[Row]: ...

    def __getitem__(self, at: int | slice) -> Row | list[Row]:
        blocks, last = self._held
        length = len(blocks) * TOGETHER + len(last)
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(length))]
        if not -length <= at < length:
            raise IndexError(f"row {at} of {length}")
        number, place = divmod(at % length, TOGETHER)
        if number == len(blocks):
            return dict(last[place])
        return {
            name: column.values[place : place + 1].tolist()[0]
            for name, column in blocks[number].items()
            if column.there is None or column.there[place]
        }

    def __iter__(self) -> Iterator[Row]:
        blocks, last = self._held
        length = len(last)
        for block in blocks:
            yield from _rows(block)
        yield from map(dict, islice(last, length))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (Records, list)):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Records: {len(self)} rows>"

    def column(self, name: str, kind: str | np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
        """One column of all rows.

        Returns:
            Its values, 0 where there is none; and where there is one, bool.
        """
        blocks, last = self._held
        last = last[:]
        values = np.zeros(len(blocks) * TOGETHER + len(last), dtype=kind)
        there = np.zeros(len(values), dtype=bool)
        for number, block in enumerate(blocks):
            if name in block:
                part = slice(number * TOGETHER, (number + 1) * TOGETHER)
                values[part], there[part] = _numbers(block[name], values.dtype)
        rest = len(blocks) * TOGETHER
        values[rest:], there[rest:] = column_of(last, name, values.dtype)
        return values, there

    def last_having(self, names: Sequence[str]) -> Row | None:
        """The last row that has one of these columns."""
        blocks, last = self._held
        for row in reversed(last[:]):
            if not row.keys().isdisjoint(names):
                return row
        for number in reversed(range(len(blocks))):
            columns = [column for name, column in blocks[number].items() if name in names]
            places = [
                TOGETHER - 1 if there is None else int(np.flatnonzero(there)[-1])
                for _, there in columns
            ]
            if places:
                return self[number * TOGETHER + max(places)]
        return None


def column_of(
    rows: Iterable[Mapping[str, Any]], name: str, kind: str | np.dtype[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """`Records.column` for any rows."""
    if isinstance(rows, Records):
        return rows.column(name, kind)
    values = [row.get(name) for row in rows]
    there = np.array([value is not None for value in values], dtype=bool)
    return np.array([0 if value is None else value for value in values], dtype=kind), there


def last_having(rows: Sequence[Mapping[str, Any]], *names: str) -> Mapping[str, Any] | None:
    """The last row that has one of these columns; None: none has.

    It may be long ago; of `Records` not every row since is made.
    """
    if isinstance(rows, Records):
        return rows.last_having(names)
    return next((row for row in reversed(rows) if not row.keys().isdisjoint(names)), None)


def _block(rows: Sequence[Row]) -> Block:
    """A list of rows in columns. What has no type of its own stays as it is."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {}
    for name in names:
        there = np.array([name in row for row in rows])
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value, here in zip(values, there, strict=True) if here}
        dtype = KINDS.get(kinds.pop(), np.dtype("O")) if len(kinds) == 1 else np.dtype("O")
        if dtype != "O":
            values = [value if here else 0 for value, here in zip(values, there, strict=True)]
        try:
            column = np.fromiter(values, dtype, len(values))  # of lists, too, one each
        except OverflowError:
            column = np.fromiter(values, "O", len(values))
        found[name] = _Column(column, None if there.all() else there)
    return found


def _rows(block: Block) -> Iterator[Row]:
    """The rows of a block."""
    columns = [column.values.tolist() for column in block.values()]
    if all(column.there is None for column in block.values()):
        for values in zip(*columns, strict=True):
            yield dict(zip(block, values, strict=True))
        return
    masks = [
        [True] * TOGETHER if column.there is None else column.there.tolist()
        for column in block.values()
    ]
    for values, there in zip(zip(*columns, strict=True), zip(*masks, strict=True), strict=True):
        yield {name: value for name, value, here in zip(block, values, there, strict=True) if here}


def _numbers(column: _Column, kind: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Values of a type, 0 where there is none, and where there is one."""
    values, there = column
    there = np.ones(len(values), dtype=bool) if there is None else there
    if values.dtype == "O":
        there = there & np.array([value is not None for value in values.tolist()])
        values = np.where(there, values, 0)
    return values.astype(kind), there
