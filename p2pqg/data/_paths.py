"""A folder, a file or a name on the hub is a data set too: what it is called, by what it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from p2pqg.base.text import user_path
from p2pqg.data import _parquet
from p2pqg.data._arrays import DATASETS
from p2pqg.data.texts import TEXTS

FILES = {".npz": "npz", ".csv": "table", ".tsv": "table", ".parquet": "table"}
"""Ending -> the data set that reads such a file."""
HUB = "hf:"


def named(
    name: str, data_dir: str | None, settings: Mapping[str, Any]
) -> tuple[str, str | None, dict[str, Any]]:
    """(name, data_dir, settings) of a data set that may be given as a folder, file or hub id.

    A registered name and `my_data.py:load` stay what they are, and what is none of these is left to
    be refused.
    """
    if name.startswith(HUB):
        return "hub", data_dir, {"path": name.removeprefix(HUB), **settings}
    kind = FILES.get(os.path.splitext(name)[1].lower())
    if kind and name not in DATASETS and not os.path.isdir(os.path.expanduser(name)):
        return kind, data_dir, {"path": _absolute(name, data_dir), **settings}
    return *by_path(name, data_dir), dict(settings)


def _absolute(name: str, data_dir: str | None) -> str:
    """The path of a file from anywhere; one that is in data_dir keeps its name."""
    path = os.path.expanduser(name)
    if data_dir and os.path.isfile(os.path.join(os.path.expanduser(data_dir), path)):
        return path
    return os.path.abspath(path)


def by_path(name: str, data_dir: str | None = None) -> tuple[str, str | None]:
    """(name, data_dir) of a data set that may be given as the path of a folder.

    A registered name stays what it is, and what is neither is left to be refused.
    """
    folder = user_path(name)
    if name in DATASETS or not os.path.isdir(folder):  # which bears any text
        return name, data_dir
    files = _parquet.find(folder, ("train",))
    holds_texts = files and set(TEXTS.text_columns) & set(_parquet.columns(files[0]))
    return ("texts" if holds_texts else "images"), str(folder.resolve())
