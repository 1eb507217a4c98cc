"""Images in one folder per class: torchvision's ImageFolder, with or without train/ and test/."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.base.wording import counted

TEST = ("test", "validation", "valid", "val")
"""What the test part may be called; the first name that has folders of classes counts."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
LEFTOVERS = {
    "__MACOSX",
    "__pycache__",
    "@eaDir",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
}
"""What systems and programs leave in folders, beside what they hide by a dot."""


class Found(NamedTuple):
    """One part: paths of images, as bytes [samples], and int64 labels [samples]."""

    paths: np.ndarray
    labels: np.ndarray


class Folders(NamedTuple):
    """Both parts.

    Attributes:
        classes: their names, in the order of their numbers.
        notes: what was left out, a line each.
    """

    train: Found
    test: Found
    classes: tuple[str, ...]
    notes: tuple[str, ...]


class Classes(NamedTuple):
    """All images of a folder that has no parts.

    Attributes:
        classes: their names, in the order of their numbers.
        notes: what was left out, a line each.
    """

    all: Found
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def find_both(folder: Path, test: Sequence[str] = TEST) -> tuple[Path, Path] | None:
    """The folders of the training and of the test part; None if one is missing.

    Args:
        folder: with both of them.
        test: what the test part may be called.
    """
    found = [folder / name for name in test if (folder / name).is_dir()]
    if not (found and (folder / "train").is_dir()):
        return None
    of_classes = (one for one in found if any(entry.is_dir() for entry in _visible(one)))
    return folder / "train", next(of_classes, found[0])


def read_both(train: Path, test: Path) -> Folders:
    """Both parts; classes are numbered in the order of their names.

    Hidden files and folders are none of ours, and empty folders are no classes.

    Raises:
        DataError: no images, or a class in the test that training knows nothing of.
    """
    notes: list[str] = []
    known, asked = (_by_class(part, notes) for part in (train, test))
    for part, found in ((train, known), (test, asked)):
        if not any(found.values()):
            raise DataError(
                f"{part}: no images there; it needs a folder per class with "
                f"{', '.join(SUFFIXES)} files"
            )
    names = [name for name, paths in known.items() if paths]
    if extra := sorted(name for name, paths in asked.items() if paths and name not in names):
        raise DataError(f"{test}: class {extra[0]} is not in {train}; add it there")
    if untested := [name for name in names if not asked.get(name)]:
        which = ", ".join(untested[:3]) + (", ..." if len(untested) > 3 else "")
        notes.append(f"{test}: no images of {which}")
    return Folders(_found(known, names), _found(asked, names), _printable(names), tuple(notes))


def read_classes(folder: Path) -> Classes | None:
    """A folder per class and no parts; None if it is not that.

    Images must lie in at least two folders themselves: in others, classes may be a level deeper.
    One with train/, test/ or the like is half of something else.
    """
    notes: list[str] = []
    if any((folder / name).is_dir() for name in ("train", *TEST)):
        return None
    known = _by_class(folder, notes)
    names = [name for name, paths in known.items() if paths]
    direct = [n for n in names if any(os.path.dirname(p) == str(folder / n) for p in known[n])]
    if len(names) < 2 or direct != names:
        return None
    return Classes(_found(known, names), _printable(names), tuple(notes))


def _printable(names: list[str]) -> tuple[str, ...]:
    """Where the locale is not UTF-8, Python gives names that nobody can print."""
    return tuple(os.fsencode(name).decode("utf-8", "replace") for name in names)


def _found(by_class: dict[str, list[str]], names: list[str]) -> Found:
    paths = [by_class.get(name, []) for name in names]
    labels = np.repeat(np.arange(len(names)), [len(own) for own in paths])
    return Found(np.array([os.fsencode(path) for own in paths for path in own]), labels)


def _by_class(part: Path, notes: list[str]) -> dict[str, list[str]]:
    """Class -> its images, in order; what is no image is noted."""
    found: dict[str, list[str]] = {}
    unread: Counter[str] = Counter()
    for entry in _visible(part):
        if os.path.isdir(entry.path):  # also of a link, and of one to itself
            found[entry.name] = sorted(_images(entry.path, unread))
        else:
            unread["files beside the folders of the classes"] += 1
    if empty := [name for name, paths in found.items() if not paths]:
        which = ", ".join(empty[:3]) + (", ..." if len(empty) > 3 else "")
        notes.append(f"{part}: {counted(len(empty), 'folder')} without images: {which}")
    if unread:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in unread.most_common(5))
        notes.append(f"{part}: not read: {kinds}; what is read ends in {', '.join(SUFFIXES)}")
    return found


def _images(folder: str, unread: Counter[str]) -> Iterator[str]:
    """The images in a folder and in those below; counts, by kind, what is left out."""
    for entry in _visible(folder):
        suffix = os.path.splitext(entry.name)[1].lower()
        if entry.is_dir(follow_symlinks=False):
            yield from _images(entry.path, unread)
        elif os.path.isdir(entry.path):  # a link may lead back here
            unread["links to folders"] += 1
        elif suffix not in SUFFIXES:
            unread[suffix or "files without an ending"] += 1
        elif not _is_file(entry):  # a dangling link, or a pipe that would never end
            unread["that are no files"] += 1
        else:
            yield entry.path


def _visible(folder: str | Path) -> list[os.DirEntry[str]]:
    """What is in a folder and not hidden, in order."""
    try:
        with os.scandir(folder) as entries:
            shown = [e for e in entries if not e.name.startswith(".") and e.name not in LEFTOVERS]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(shown, key=lambda entry: entry.name)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one; only links need a look at the disk."""
    return os.path.isfile(entry.path) if entry.is_symlink() else entry.is_file()
