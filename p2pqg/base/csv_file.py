"""CSV files of people: a header that names the columns, and a line per fact."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from p2pqg.base.errors import ConfigError, did_you_mean

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""What is a number in a cell; Python also takes 1_0, and other digits than 0 to 9."""


def text_of(path: Path) -> str:
    """The text in a file, without the mark that some programs begin it with.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text. Save it as UTF-8.") from None


def lines_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The lines of a CSV file that are not empty, with where they stand: ("FILE: line N", cells).

    Raises:
        ConfigError: the file, or a line of it, cannot be read.
    """
    lines = csv.reader(io.StringIO(text_of(path), newline=""))
    while True:
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:  # a cell of 131,072 characters, mostly an open quotation mark
            raise ConfigError(f"{path}: line {lines.line_num}: {error}. Correct it.") from None
        if any(cell.strip() for cell in cells):
            yield f"{path}: line {lines.line_num}", [cell.strip() for cell in cells]


def rows(
    path: Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[str, dict[str, str]]]:
    """The lines of a CSV file, with where they stand; empty cells are left out.

    Args:
        path: UTF-8, with a header line.
        needed: columns it must have, with a value in every line.
        optional: columns it may have.

    Yields:
        ("FILE: line N", column -> cell).

    Raises:
        ConfigError: the file, a column or a cell is missing, or unknown.
    """
    lines = lines_of(path)
    header = _header(path, lines, needed, optional)
    for where, cells in lines:
        if len(cells) != len(header):
            raise ConfigError(
                f"{where} must have {len(header)} cells ({','.join(header)}), got {len(cells)}. "
                "Correct the line."
            )
        found = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
        for name in needed:
            if name not in found:
                raise ConfigError(f"{where}: {name} must not be empty. Fill it in.")
        yield where, found


def _header(
    path: Path,
    lines: Iterator[tuple[str, list[str]]],
    needed: Sequence[str],
    optional: Sequence[str],
) -> list[str]:
    """The names of the columns, in small letters, of the first line, which is taken."""
    _, names = next(lines, ("", []))
    header = [name.lower() for name in names]
    columns = ",".join([*needed, *(f"[{name}]" for name in optional)])
    if not header:
        raise ConfigError(f"{path}: is empty. Its first line must name the columns {columns}.")
    for name in header:
        if header.count(name) > 1:
            raise ConfigError(f"{path}: line 1 names the column {name} twice. Leave one out.")
    for name in needed:
        if name not in header:
            got = ",".join(header)
            raise ConfigError(
                f"{path}: line 1 must name the columns {columns}, separated by commas, got "
                f"{got!r:.60}. Correct the header."
            )
    for name in header:
        if name not in (*needed, *optional):
            known = did_you_mean(name, (*needed, *optional))
            raise ConfigError(f"{path}: line 1: unknown column {name!r:.60}{known}")
    return header
