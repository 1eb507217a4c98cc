"""What is to be learned: classes, numbers (regression), or several labels at once (multilabel).

Or own: targets of any shape, such as a label for each pixel or word, for a loss of the user's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.data._inputs import check_finite
from p2pqg.data._labels import numbered
from p2pqg.data._scales import targets_told

TASKS = ("classes", "regression", "multilabel", "own")
FEW, MANY = 100, 20
"""Different whole numbers that floats may hold and yet be meant as classes; samples from which on
whole numbers that are mostly different are not taken for classes unasked."""


@dataclass(frozen=True)
class Targets:
    """The targets of both parts.

    Attributes:
        train: of classes int64 [samples]; of regression floats [samples, outputs]; of multilabel
            uint8 [samples, outputs], 0 or 1; of own int64 or floats [samples, ...].
        test: likewise.
        task: one of TASKS.
        outputs: of a model; of own what a function that builds one is told: labels that whole
            numbers tell apart, or numbers of a sample.
        names: of the outputs; empty where nobody knows them.
        notes: what should be known, a line each.
    """

    train: np.ndarray
    test: np.ndarray
    task: str
    outputs: int
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def targets(
    train: np.ndarray,
    test: np.ndarray,
    what: str,
    task: str = "auto",
    names: Sequence[str] = (),
) -> Targets:
    """Targets of both parts, of the kind that is asked for, or that they are.

    Whole numbers and texts are classes, floats are regression, a matrix of 0 and 1 is multilabel
    (but classes if each row has a single 1), another matrix of floats is regression, and what has
    more dimensions is own.

    Args:
        train: [samples] or [samples, outputs], numbers or texts; of own [samples, ...].
        test: likewise.
        what: the targets are called in a message.
        task: one of TASKS, or auto.
        names: of the classes or outputs, where they are known.

    Raises:
        DataError: they are not of that kind, or it is not clear what they are.
    """
    if task == "auto" and train.ndim > 2 and train.dtype.kind in "biuf":
        task = "own"
    if task != "own":
        train, test = _flat(train), _flat(test)
    if train.shape[1:] != test.shape[1:] or (task != "own" and train.ndim > 2):
        raise DataError(
            f"{what} must have a target, or a row of them, for each sample; its shapes are "
            f"{train.shape} and, in the test part, {test.shape}"
        )
    for part, name in ((train, what), (test, f"{what} of the test part")):
        if part.dtype.kind == "f":
            check_finite(part, name)
    task = kind_of(train, what) if task == "auto" else task
    make = {"classes": _classes, "regression": _numbers, "multilabel": _several, "own": _own}[task]
    return make(train, test, what, names)


def kind_of(y: np.ndarray, what: str) -> str:
    """Which of TASKS targets are, [samples] or [samples, outputs].

    Raises:
        DataError: they may be one or another; the message says how to choose.
    """
    ask = "say task: classes or task: regression"
    if y.ndim == 2:
        if _zero_one(y):
            return "classes" if (y.sum(axis=1) == 1).all() else "multilabel"
        if y.dtype.kind == "f":
            return "regression"
        raise DataError(
            f"{what} is a matrix of {y.dtype}: several labels at once are 0 or 1, regression takes "
            "floats; say task: regression, if it is one, or task: own for a loss of yours"
        )
    if y.dtype.kind in "bUT":
        return "classes"
    different = len(np.unique(y))
    if y.dtype.kind == "f":
        if different <= FEW and _whole(y):
            raise DataError(f"{what} holds {different} different whole numbers, as floats; {ask}")
        return "regression"
    if len(y) >= MANY and different > len(y) / 2:
        raise DataError(
            f"{what} holds {different:,} different whole numbers in {len(y):,} samples; {ask}"
        )
    return "classes"


def _flat(y: np.ndarray) -> np.ndarray:
    """A matrix of a single column is a row of targets."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _zero_one(y: np.ndarray) -> bool:
    return y.dtype.kind in "biuf" and bool(((y == 0) | (y == 1)).all())


def _whole(y: np.ndarray) -> bool:
    return bool((y == np.floor(y)).all())


def _classes(train: np.ndarray, test: np.ndarray, what: str, names: Sequence[str]) -> Targets:
    notes: tuple[str, ...] = ()
    if train.ndim == 2:
        for part in (train, test):
            if not (_zero_one(part) and (part.sum(axis=1) == 1).all()):
                raise DataError(f"{what}: a matrix of classes has a single 1 in each row, else 0")
        notes = (f"{what}: a single 1 in each row is taken for the class of the sample",)
        names = names or tuple(map(str, range(train.shape[1])))
        train, test = train.argmax(axis=1), test.argmax(axis=1)
    for part in (train, test):
        if part.dtype.kind == "f" and not _whole(part):
            found = part[part != np.floor(part)][0]
            raise DataError(f"{what}: classes are whole numbers or texts, found {found}")
    train, test = (p.astype(np.int64) if p.dtype.kind == "f" else p for p in (train, test))
    labels = numbered(train, test, what, names)
    return Targets(
        labels.train,
        labels.test,
        "classes",
        labels.num_classes,
        labels.names,
        (*notes, *labels.notes),
    )


def _numbers(train: np.ndarray, test: np.ndarray, what: str, names: Sequence[str]) -> Targets:
    if train.dtype.kind not in "biuf" or test.dtype.kind not in "biuf":
        raise DataError(f"{what}: regression takes numbers, found {train.dtype}")
    wide = train.dtype.kind != "f" or train.dtype.itemsize >= 8
    parts = (
        np.ascontiguousarray(part.reshape(len(part), -1), np.float64 if wide else np.float32)
        for part in (train, test)
    )
    first, second = parts
    notes = tuple(targets_told(first, what))
    return Targets(first, second, "regression", first.shape[1], tuple(names), notes)


def _own(train: np.ndarray, test: np.ndarray, what: str, names: Sequence[str]) -> Targets:
    if {train.dtype.kind, test.dtype.kind} - set("biuf"):
        raise DataError(f"{what}: task own takes numbers, found {train.dtype}; number the texts")
    if "f" in (train.dtype.kind, test.dtype.kind):
        wide = max(train.dtype.itemsize, test.dtype.itemsize) >= 8
        kind = np.dtype(np.float64 if wide else np.float32)
        outputs = int(np.prod(train.shape[1:]))
    else:
        kind, outputs = np.dtype(np.int64), max(1, int(train.max()), int(test.max())) + 1
    first, second = (np.ascontiguousarray(part, kind) for part in (train, test))
    return Targets(first, second, "own", outputs, tuple(names))


def _several(train: np.ndarray, test: np.ndarray, what: str, names: Sequence[str]) -> Targets:
    for part in (train, test):
        if not _zero_one(part):
            raise DataError(f"{what}: several labels at once are a matrix of 0 and 1")
    first, second = (part.reshape(len(part), -1).astype(np.uint8) for part in (train, test))
    return Targets(first, second, "multilabel", first.shape[1], tuple(names))
