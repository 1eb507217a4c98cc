"""What a run was given is kept beside its results, as safetensors: never as pickles.

A file is named after its content, so equal data have one name, wherever they are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.base.memory import check_room
from p2pqg.data._arrays import Arrays
from p2pqg.data._columns import Column
from p2pqg.data._inputs import check_finite, checked_lengths
from p2pqg.data._targets import TASKS

VERSION = 1
PARTS = ("train_x", "train_y", "test_x", "test_y")
COLUMN = "column:"
ABOUT = "p2pqg"


def copy_of(arrays: Arrays, folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Arrays as a run keeps them.

    Args:
        arrays: what was given.
        folder: in which the file will be.

    Returns:
        The recipe that reads them, what `dataset:` shall say; and name -> content of the file.

    Raises:
        DataError: they are paths of images, which stay where they are.
    """
    return _copy(folder, "data", _tensors_of(arrays), _about(arrays))


def copy_of_parts(
    parts: Sequence[np.ndarray], folder: Path
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A partition as a run keeps it: what `partition:` shall say, and the file, as of `copy_of`."""
    return _copy(folder, "partition", _of_parts(parts), {})


def digest(arrays: Arrays) -> str:
    """A name for the content: equal for equal data, whoever holds them."""
    return _digest(_tensors_of(arrays), _about(arrays))


def digest_of_parts(parts: Sequence[np.ndarray]) -> str:
    """As `digest`, of a partition."""
    return _digest(_of_parts(parts), {})


def fetch(path: Path, content: str = "") -> Arrays:
    """Arrays that a run kept.

    Args:
        path: of the file.
        content: their digest, where it is known.

    Raises:
        DataError: no such file, another file, damaged, or of other content.
    """
    tensors, about = _read(path)
    try:
        names = about["columns"]
        columns = {n: Column(tensors[f"{COLUMN}{n}"], tuple(own)) for n, own in names.items()}
        arrays = Arrays(
            train_x=tensors["train_x"],
            train_y=tensors["train_y"],
            test_x=tensors["test_x"],
            test_y=tensors["test_y"],
            num_classes=about["num_classes"],
            mean=_tuple(about["mean"]),
            std=_tuple(about["std"]),
            augmentation=about["augmentation"],
            task=about["task"],
            classes=tuple(about["classes"]),
            tokenizer=about["tokenizer"],
            columns=columns,
            notes=tuple(about["notes"]),
        )
        check(arrays, str(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a file of kept data ({error!r})") from error
    _check_content(path, content, lambda: digest(arrays))
    return arrays


def fetch_parts(path: Path, content: str = "") -> list[np.ndarray]:
    """The index arrays of a partition that a run kept.

    Raises:
        DataError: as `fetch`.
    """
    tensors, _ = _read(path)
    try:
        parts = np.split(tensors["indices"], np.cumsum(tensors["sizes"])[:-1])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a file of a kept partition ({error!r})") from error
    _check_content(path, content, lambda: digest_of_parts(parts))
    return parts


def _copy(
    folder: Path, kind: str, tensors: dict[str, np.ndarray], about: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What reads a file that is named after its content, and the file."""
    from safetensors.numpy import save

    content = _digest(tensors, about)
    name = f"{kind}-{content}.safetensors"
    recipe = {"name": "given", "path": str(folder / name), "content": content}
    return recipe, {name: save(tensors, {ABOUT: json.dumps({"version": VERSION, **about})})}


def _tensors_of(arrays: Arrays) -> dict[str, np.ndarray]:
    if arrays.train_x.dtype.kind == "S":
        raise DataError("images that stay on disk are not copied; name their folder instead")
    tensors = {name: np.ascontiguousarray(getattr(arrays, name)) for name in PARTS}
    columns = {f"{COLUMN}{name}": column.codes for name, column in arrays.columns.items()}
    return tensors | columns


def _of_parts(parts: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    sizes = np.array([len(part) for part in parts], dtype=np.int64)
    return {"indices": np.concatenate(parts).astype(np.int64), "sizes": sizes}


def _about(arrays: Arrays) -> dict[str, Any]:
    """All of them that is no array."""
    return {
        "num_classes": arrays.num_classes,
        "mean": arrays.mean,
        "std": arrays.std,
        "augmentation": arrays.augmentation,
        "task": arrays.task,
        "classes": arrays.classes,
        "tokenizer": arrays.tokenizer,
        "columns": {name: column.names for name, column in arrays.columns.items()},
        "notes": arrays.notes,
    }


def _digest(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> str:
    """16 hexadecimal digits for arrays and what is said of them, apart from the notes."""
    said = {key: value for key, value in about.items() if key != "notes"}
    found = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=8)
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(array.data.cast("B") if array.size else b"")
    return found.hexdigest()


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"{path}: no such file; it was kept with the run, or name the data anew")
    check_room(path.stat().st_size, str(path), "free some")
    try:
        with safe_open(path, "numpy") as stored:
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            about = json.loads((stored.metadata() or {}).get(ABOUT, "null"))
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: damaged, or no file of kept data ({error})") from error
    if not isinstance(about, dict):
        raise DataError(f"{path}: not a file of kept data; name the file it was made from")
    if about.get("version") != VERSION:
        raise DataError(f"{path} is of version {about.get('version')}; this p2pqg reads {VERSION}")
    return tensors, about


def check(arrays: Arrays, what: str) -> None:
    """What makes arrays usable, where they come from a user's own code or file.

    Raises:
        DataError: unequal lengths, NaN, labels outside, targets that do not go with the task.
    """
    for part in ("train", "test"):
        x, y = getattr(arrays, f"{part}_x"), getattr(arrays, f"{part}_y")
        checked_lengths(x, y, f"{what}: {part}_x", f"{part}_y")
        flat = arrays.task == "own" or (y.ndim == 1) == (arrays.task == "classes")
        if arrays.task not in TASKS or not flat:
            raise DataError(f"{what}: {part}_y does not go with task {arrays.task!r}")
        if arrays.task == "classes" and (y.min() < 0 or y.max() >= arrays.num_classes):
            found = f"{y.min()} .. {y.max()}"
            raise DataError(
                f"{what}: {part}_y must be 0 .. {arrays.num_classes - 1}, found {found}"
            )
        for values, name in ((x, "x"), (y, "y")):
            if values.dtype.kind == "f":
                check_finite(values, f"{what}: {part}_{name}")
    for name, column in arrays.columns.items():
        checked_lengths(arrays.train_x, column, f"{what}: train_x", f"column {name}")


def _check_content(path: Path, content: str, found: Any) -> None:
    if content and found() != content:
        raise DataError(
            f"{path} does not hold what it held when the run began; put the old file back, or "
            "begin another run, of a recipe that does not say its content"
        )


def _tuple(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
