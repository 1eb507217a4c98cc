"""A run's rows as a table that grows: rounds.csv, or rounds.jsonl.

A process that was killed may leave half a line: a run that goes on writes its rows anew, and what
could not be written whole is cut off.
"""

from __future__ import annotations

import csv
import io
import os
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from p2pqg.base.text import json_text, write_text
from p2pqg.running.sink import Sink

if TYPE_CHECKING:
    from p2pqg.simulation.simulation import Simulation


class Table(Sink):
    """A file of lines; `header` and `line` are the format's own."""

    file: ClassVar[str]

    @abstractmethod
    def header(self, columns: list[str]) -> str:
        """The first line, if there is one."""

    @abstractmethod
    def line(self, row: dict[str, Any]) -> str:
        """The text of a row."""

    def open(self, simulation: Simulation, path: Path) -> int:
        """An empty table in the place of an old one; where that fails, with the first row."""
        self._path = path / self.file
        self._columns, self._rows = list(simulation.columns), list[dict[str, Any]]()
        self._size = -1
        with suppress(OSError):
            self._start(self._columns, [])
        return -1

    def _start(self, columns: list[str], rows: list[dict[str, Any]]) -> None:
        """Write it whole, all or nothing."""
        text = self.header(columns) + "".join(map(self.line, rows))
        write_text(self._path, text)
        self._columns, self._rows, self._size = columns, rows, len(text.encode())

    def write(self, row: dict[str, Any]) -> None:
        """A line more, on disk at once; all lines anew if there are other columns, or no file."""
        if list(row) != self._columns and self.header([]):
            columns = list(row)
            old = [{key: one.get(key) for key in columns} for one in self._rows]
            self._start(columns, [*old, row])
            return
        line = self.line(row).encode()
        try:
            if self._size < 0:
                raise FileNotFoundError
            with self._path.open("r+b") as file:
                file.truncate(self._size)
                file.seek(self._size)
                file.write(line)
        except FileNotFoundError:  # it could not be made, or somebody has deleted it since
            self._start(self._columns, [*self._rows, row])
            return
        except OSError:
            with suppress(OSError):  # perhaps nothing comes after it
                os.truncate(self._path, self._size)
            raise
        self._size += len(line)
        self._rows.append(row)

    def close(self) -> None:
        """Every row is on disk already."""


class Csv(Table):
    """rounds.csv: a line of names, then a line per row; an empty cell is no value."""

    name = "csv"
    leaves = file = "rounds.csv"

    def header(self, columns: list[str]) -> str:
        """The names of the columns."""
        return _cells(columns) if columns else "\n"

    def line(self, row: dict[str, Any]) -> str:
        """Numbers with all their digits."""
        return _cells(list(row.values()))


class JsonLines(Table):
    """rounds.jsonl: an object per row, strict JSON: null is no value, or one that is not finite."""

    name = "jsonl"
    leaves = file = "rounds.jsonl"

    def header(self, columns: list[str]) -> str:
        """None."""
        return ""

    def line(self, row: dict[str, Any]) -> str:
        """An object."""
        return json_text(row, indent=None) + "\n"


def _cells(values: list[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(values)
    return out.getvalue()
