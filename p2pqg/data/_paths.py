"""A folder, a file or a name on the hub is a data set too: what it is called, by what it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from p2pqg.base.errors import ConfigError
from p2pqg.base.text import user_path
from p2pqg.base.user_code import names_a_file
from p2pqg.data import _parquet
from p2pqg.data._arrays import DATASETS
from p2pqg.data.saved import is_saved
from p2pqg.data.texts import TEXTS

FILES = {".npz": "npz", ".csv": "table", ".tsv": "table", ".parquet": "table"}
"""Ending -> the data set that reads such a file."""
UNREAD = (".npy", ".pt", ".pth", ".pkl", ".json", ".jsonl", ".xlsx", ".h5", ".arff", ".mat", ".txt")
"""Endings of files that people have."""
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
    if name not in DATASETS and is_saved(folder := user_path(name)):
        return "saved", data_dir, {"path": str(folder.resolve()), **settings}
    if not names_a_file(name):
        _check_is_read(name)
    return *by_path(name, data_dir), dict(settings)


def _check_is_read(name: str) -> None:
    """Refuse the path of a file that is not read.

    Raises:
        ConfigError: with what would be.
    """
    file, _, part = name.rpartition(":")
    path, ending = os.path.expanduser(name), os.path.splitext(name)[1]
    if os.path.splitext(file)[1].lower() in FILES:
        raise ConfigError(
            f"dataset {name}: the column of labels is set by dataset.label: {part}; the "
            f"data set is {file}"
        )
    if name not in DATASETS and (os.path.isfile(path) or ending.lower() in UNREAD):
        raise ConfigError(
            f"dataset {name}: files that are read end in {', '.join(FILES)}; a function in a file "
            "of yours reads any other one: my_data.py:load"
        )
    if os.sep in name and not os.path.isdir(path):
        hub = f"; on the hub it would be {HUB}{name}" if name.count("/") == 1 else ""
        raise ConfigError(f"dataset {name}: no such folder{hub}")


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
