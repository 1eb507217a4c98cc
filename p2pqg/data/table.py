"""Anybody's table: a .csv, .tsv or .parquet file, a row per sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from p2pqg.data import _parquet
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._csv import read_csv
from p2pqg.data._files import check_content, file_digest, located
from p2pqg.data._objects import raw_of_tables
from p2pqg.data._reading import arrays_from
from p2pqg.data._tables import Columns, labels_in

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Params(Columns):
    """What may be set."""

    path: str = ""
    """The file of the training samples; in data_dir, or from the current folder."""
    test: str = ""
    """The file of the test samples. Default: a share of the others is held out."""
    delimiter: str = ""
    """Between two cells of CSV. Default: the most frequent one of , ; tab | in the first line."""
    content: str = ""
    """Digest of the files when the run began: others are refused. A run fills it in."""

    def problems(self) -> Iterator[str]:
        yield from super().problems()
        between = self.delimiter
        if between and not (len(between) == 1 and between.isascii() and between not in '\r\n"'):
            yield f"dataset.delimiter must be a single character of ASCII, got {between!r}"

    def files(self, data_dir: Path | None) -> list[Path]:
        """The files that are read."""
        return [
            located(p, data_dir, "table") for p in (self.path, self.test) if p or p is self.path
        ]

    def fixed(self, data_dir: Path | None) -> Params:
        """These settings, tied to the files as they are now."""
        return dataclasses.replace(self, content=file_digest(*self.files(data_dir)))


@dataset("table", params=Params, source="yours: FILE.csv or FILE.parquet", own=True)
def table(
    params: Params, data_dir: Path | None, tokenizer: str | None, columns: tuple[str, ...]
) -> Arrays:
    """Your own rows of a .csv, .tsv or .parquet file; name the column of the label."""
    files = params.files(data_dir)
    check_content(params.content, *files)
    what = files[0].name
    train, *test = (_read(file, params.delimiter) for file in files)
    if test and (texts := _texts_in_one(train, test[0], params, what)):
        train, *test = (_read(file, params.delimiter, texts) for file in files)
    raw = raw_of_tables(train, test[0] if test else None, params, columns, what)
    return arrays_from(raw, params, tokenizer)


def _read(file: Path, delimiter: str, texts: Sequence[str] = ()) -> pa.Table:
    if file.suffix.lower() == ".parquet":
        return _parquet.read_table(file)
    return read_csv(file, delimiter or ("\t" if file.suffix.lower() == ".tsv" else ""), texts)


def _texts_in_one(train: pa.Table, test: pa.Table, params: Params, what: str) -> list[str]:
    """Labels and kinds that one file has as texts, such as 01 and A7, and the other as numbers."""
    names = {*labels_in(train.column_names, params, what), *params.categories}
    return [
        name
        for name in sorted(names)
        if {train.column_names.count(name), test.column_names.count(name)} == {1}
        and len({_parquet.is_text(t.schema.field(name).type) for t in (train, test)}) == 2
    ]
