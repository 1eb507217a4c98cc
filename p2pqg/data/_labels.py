"""Labels as they come, of any numbers or texts -> 0 .. classes - 1, with the classes' names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2pqg.base.errors import DataError

HIDDEN = -1
"""What data sets write where a label is withheld, such as GLUE in its test parts."""

MISSING = ("", "?", "-", "na", "n/a", "nan", "none", "null", "missing")
"""What people write where they have no label; in small letters."""


@dataclass(frozen=True)
class Labels:
    """The labels of both parts.

    Attributes:
        train, test: int64 [samples], 0 .. num_classes - 1.
        names: of the classes, in the order of their numbers.
        notes: what a reader should know, a line each.
    """

    train: np.ndarray
    test: np.ndarray
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        return len(self.names)


def numbered(
    train: np.ndarray, test: np.ndarray, what: str, names: Sequence[str] = (), test_what: str = ""
) -> Labels:
    """Number the classes of both parts alike.

    Labels 0, 1, 2, ... stay what they are, a few missing ones included. Others, such as 1 .. 4,
    100000 .. 400000 or texts, are numbered in their order, and become the classes' names.

    Args:
        train: [samples], integers, truth values or texts.
        test: likewise.
        what: the data are called in a message.
        names: of classes 0, 1, 2, ..., where the data say them.
        test_what: the test part is called in a message; default: as `what`.

    Raises:
        DataError: labels of -1, more classes than names, or fewer than one sample.
    """
    if not (len(train) and len(test)):
        raise DataError(f"{what}: no samples in the {'test' if len(train) else 'training'} part")
    if train.dtype.kind in "OSU" or test.dtype.kind in "OSU":
        train, test = train.astype(str), test.astype(str)
    else:
        names = names or (("False", "True") if train.dtype.kind == "b" else ())
        if (most := max(int(part.max()) for part in (train, test))) > np.iinfo(np.int64).max:
            raise DataError(f"{what}: labels must be below 2**63, found {most}; make them texts")
        train, test = train.astype(np.int64), test.astype(np.int64)
        _check_hidden(train, test, what, test_what or what)
    found = np.unique(np.concatenate([train, test]))
    alone = [f"{what}: all labels are {found[0]}: of one class nothing can be learned"]
    notes = alone if len(found) == 1 else []
    if found.dtype.kind == "i" and found[0] >= 0:
        most = int(found[-1]) + 1
        if names and most > len(names):
            raise DataError(
                f"{what}: label {most - 1}, but there are names of {len(names)} classes only"
            )
        if names or (found[0] == 0 and most <= 2 * len(found)):
            names = tuple(names) or tuple(map(str, range(most)))
            if len(found) < len(names):
                notes = [f"{what}: {len(found)} of {len(names)} classes occur"]
            return Labels(train, test, names, (*notes, *_unknown(train, test, names, what)))
    if found.dtype.kind == "i" and len(found) > 1:
        notes = [
            f"{what}: labels are {_listed(found.tolist())}: numbered 0 .. {len(found) - 1} in that "
            f"order, {len(found)} classes"
        ]
    if found.dtype.kind == "U":
        notes += _odd(found.tolist(), what)
    train, test = (np.searchsorted(found, part).astype(np.int64) for part in (train, test))
    names = tuple(str(label) for label in found.tolist())
    return Labels(train, test, names, (*notes, *_unknown(train, test, names, what)))


def check_called_alike(
    labels: np.ndarray, names: Sequence[str], known: dict[int, str], what: str
) -> None:
    """Refuse labels that another part has under the same numbers and by other names.

    Such as those of folders of which one lacks a class, each numbered by itself.

    Args:
        labels: [samples] of a part.
        names: of its classes 0, 1, 2, ...; empty: not known.
        known: names of the parts before; this one's are added.
        what: the part is called in a message.

    Raises:
        DataError: one is called otherwise.
    """
    if not names or labels.ndim != 1 or labels.dtype.kind not in "iu":
        return
    for label in np.unique(labels).tolist():
        if not 0 <= label < len(names):
            continue
        if (other := known.setdefault(label, names[label])) != names[label]:
            raise DataError(
                f"{what}: label {label} is {names[label]!r}, and {other!r} in the samples before; "
                "number the classes alike in all parts"
            )


def _odd(labels: Sequence[str], what: str) -> list[str]:
    """Lines on texts that are classes here, and hardly are meant to be."""
    notes = [
        f"{what}: {label!r} is taken for a class; if it stands for no label, leave those rows out"
        for label in labels
        if label.strip().lower() in MISSING
    ]
    for label in labels:
        if label != label.strip() and label.strip() in labels:
            notes.append(f"{what}: {label!r} and {label.strip()!r} are two classes; spaces count")
    return notes


def _check_hidden(train: np.ndarray, test: np.ndarray, what: str, test_what: str) -> None:
    """Refuse labels below 0, apart from those of -1 and 1."""
    if {*np.unique(train)[:3].tolist(), *np.unique(test)[:3].tolist()} <= {-1, 1}:
        return
    if test.min() == HIDDEN and train.min() >= 0:
        raise DataError(
            f"{test_what}: labels of {HIDDEN} are hidden ones, nothing can be tested with them; "
            "take the validation part as the test part"
        )
    for part, called in ((train, what), (test, test_what)):
        if part.min() < 0:
            raise DataError(
                f"{called}: labels must be >= 0, found {part.min()} .. {part.max()}; leave out the "
                "samples without a label"
            )


def _unknown(
    train: np.ndarray, test: np.ndarray, names: Sequence[str], what: str
) -> tuple[str, ...]:
    """A line on classes that only the test knows."""
    only = np.setdiff1d(test, train)
    if not len(only):
        return ()
    return (f"{what}: no training sample is of class {_listed([names[i] for i in only])}",)


def _listed(values: Sequence[object]) -> str:
    """At most five of them."""
    texts = [str(value) for value in values]
    if len(texts) <= 5:
        return ", ".join(texts)
    return f"{', '.join(texts[:3])}, ..., {texts[-1]}"
