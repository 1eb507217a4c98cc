"""CSV files of the simulated network: a header that names the columns, and a line per fact."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from p2pqg.base.errors import ConfigError, did_you_mean


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
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    lines = csv.reader(text.splitlines())
    header = [name.strip().lower() for name in next(lines, [])]
    for name in needed:
        if name not in header:
            raise ConfigError(f"{path}: line 1 must name a column {name}, got {','.join(header)!r}")
    for name in header:
        if name not in (*needed, *optional):
            known = did_you_mean(name, (*needed, *optional))
            raise ConfigError(f"{path}: line 1: unknown column {name!r}{known}")
        if header.count(name) > 1:
            raise ConfigError(f"{path}: line 1 names the column {name} twice; leave one out")
    for cells in lines:
        where = f"{path}: line {lines.line_num}"
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise ConfigError(f"{where} must have {len(header)} cells, got {len(cells)}")
        found = {
            name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()
        }
        for name in needed:
            if name not in found:
                raise ConfigError(f"{where}: {name} must not be empty; fill it in")
        yield where, found
