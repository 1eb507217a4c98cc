"""Images in one folder per class: torchvision's ImageFolder, train/ and test/ or val/ beside it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from p2pqg.base.errors import DataError

TEST = ("val", "test", "validation", "valid")
SUFFIXES = (".jpg", ".jpeg", ".png")

Paths = tuple[np.ndarray, np.ndarray]
"""Paths of images, as bytes [samples], and int64 labels [samples]."""


def find_both(folder: Path) -> tuple[Path, Path] | None:
    """The folders of the training and of the test part; None if one is missing."""
    test = next((folder / name for name in TEST if (folder / name).is_dir()), None)
    return (folder / "train", test) if test and (folder / "train").is_dir() else None


def read_both(train: Path, test: Path) -> tuple[Paths, Paths, int]:
    """Both parts, and the number of classes; classes are numbered in the order of their names.

    Raises:
        DataError: no images, or a class in the test that training knows nothing of.
    """
    names = _classes(train)
    if extra := set(_classes(test)) - set(names):
        raise DataError(f"{test}: class {min(extra)} is not in {train}; add it there")
    return _read(train, names), _read(test, names), len(names)


def _classes(part: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(part) if entry.is_dir())


def _read(part: Path, names: list[str]) -> Paths:
    paths, labels = [], []
    for label, name in enumerate(names):
        found = [
            os.path.join(folder, file)
            for folder, _, files in os.walk(part / name)
            for file in files
            if file.lower().endswith(SUFFIXES)
        ]
        paths += sorted(found)
        labels += [label] * len(found)
    if not paths:
        raise DataError(
            f"{part}: no images there; it needs a folder per class with {', '.join(SUFFIXES)} files"
        )
    return np.array([os.fsencode(path) for path in paths]), np.array(labels, dtype=np.int64)
