"""A folder is a data set too: what it is called, from what is in it."""

from __future__ import annotations

import os
from pathlib import Path

from p2pqg.data import _parquet
from p2pqg.data._arrays import DATASETS
from p2pqg.data.texts import TEXTS


def by_path(name: str, data_dir: str | None = None) -> tuple[str, str | None]:
    """(name, data_dir) of a data set that may be given as the path of a folder.

    A registered name stays what it is, and what is neither is left to be refused.
    """
    folder = Path(os.path.expanduser(name))
    if name in DATASETS or not os.path.isdir(folder):  # which bears any text
        return name, data_dir
    files = _parquet.find(folder, ("train",))
    holds_texts = files and set(TEXTS.text_columns) & set(_parquet.columns(files[0]))
    return ("texts" if holds_texts else "images"), str(folder.resolve())
