"""Anybody's arrays: an .npz file with X and y, perhaps X_test and y_test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2pqg.base.errors import DataError, did_you_mean
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._files import check_content, file_digest, located
from p2pqg.data._npz import read_npz
from p2pqg.data._reading import Raw, Reading, Samples, arrays_from

NAMES = {
    "x": ("X", "x", "X_train", "x_train", "train_x", "images", "data", "features"),
    "y": ("y", "Y", "y_train", "Y_train", "train_y", "labels", "targets", "label", "target"),
    "x_test": ("X_test", "x_test", "test_x", "test_images", "test_data"),
    "y_test": ("y_test", "Y_test", "test_y", "test_labels", "test_targets"),
}
"""What the arrays may be called; the first name that is present counts."""


@dataclass(frozen=True, kw_only=True)
class Params(Reading):
    """What may be set."""

    path: str = ""
    """The file; in data_dir, or from the current folder."""
    x: str = ""
    """Name of the array of samples. Default: X, X_train, images or the like."""
    y: str = ""
    """Name of the array of labels or targets. Default: y, y_train, labels or the like."""
    x_test: str = ""
    """Name of the array of test samples. Default: X_test or the like; else a share is held out."""
    y_test: str = ""
    """Name of the array of test labels. Default: y_test or the like."""
    content: str = ""
    """Digest of the file when the run began: another one is refused. A run fills it in."""

    def fixed(self, data_dir: Path | None) -> Params:
        """These settings, tied to the file as it is now."""
        path = located(self.path, data_dir, "npz")
        return dataclasses.replace(self, content=file_digest(path))


@dataset("npz", params=Params, source="yours: FILE.npz", own=True)
def npz(
    params: Params, data_dir: Path | None, tokenizer: str | None, columns: tuple[str, ...]
) -> Arrays:
    """Your own arrays of an .npz file: X and y, X_test and y_test."""
    path = located(params.path, data_dir, "npz")
    check_content(params.content, path)
    arrays = read_npz(path)
    x, y, x_test, y_test = (_name(arrays, part, params, path.name) for part in NAMES)
    for name in columns:
        if name not in arrays:
            raise DataError(f"{path.name} has no array {name!r}{did_you_mean(name, arrays)}")
    beside = {name: arrays[name] for name in columns}
    train = Samples(arrays[x], arrays[y], beside, x, y)
    test = Samples(arrays[x_test], arrays[y_test], {}, x_test, y_test) if x_test else None
    return arrays_from(Raw(path.name, train, test), params, tokenizer)


def _name(arrays: Mapping[str, np.ndarray], part: str, params: Params, what: str) -> str:
    """What one of the four arrays is called; "" where there is no test part."""
    given = getattr(params, part)
    if given and given not in arrays:
        raise DataError(f"{what} has no array {given!r}{did_you_mean(given, arrays)}")
    name = given or next((name for name in NAMES[part] if name in arrays), "")
    if name or (part == "x_test"):
        return name
    if part == "y_test" and not _name(arrays, "x_test", params, what):
        return ""
    raise DataError(f"{what}: which array is {part}, of {', '.join(arrays)}? Set dataset.{part}")
