"""Anybody's images: folders of class folders, or Parquet files in Hugging Face's layout."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.data import _folders, _parquet
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._cache import Part, content_of_parts, remembered
from p2pqg.data._files import Content
from p2pqg.data._images import DECODER, read_images
from p2pqg.data._labels import Labels, check_called_alike, numbered
from p2pqg.data._leak import leaked
from p2pqg.data._pixels import content_of, in_color, pixels
from p2pqg.data._reading import held_out_of, told_of

LABELS = ("label", "labels", "fine_label")


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    side: Annotated[int, ">= 0"] = 0
    """Pixels that images are scaled to, the rest cut off; 0: all have one size, and keep it."""
    augmentation: Literal["none", "crop-flip"] = "none"
    """crop-flip: pad 4, random crop, random mirror."""
    test_share: Annotated[float, "(0, 1)"] = 0.2
    """Share held out of a folder that has folders of classes and no test/; in (0, 1)."""


@dataset("images", model="resnet20-gn", params=Params, source="yours: data_dir")
def images(params: Params, data_dir: Path | None) -> Arrays:
    """Your own: data_dir with a folder per class, or that in train/ and test/, or *.parquet."""
    if data_dir is None:
        raise DataError("dataset images needs data_dir, an existing folder")
    drawn = 0
    if files := _parquet.find_both(data_dir):
        train, test, labels, notes = _from_parquet(*files, params.side)
    elif folders := _folders.find_both(data_dir):
        train, test, labels, notes = _from_folders(*folders, params.side)
    elif classes := _folders.read_classes(data_dir):
        train, test, labels, notes = _from_classes(data_dir, classes, params)
        drawn = len(test.y)
    else:
        raise DataError(
            f"{data_dir}: needs train/ and test/ with a folder per class, or folders of classes "
            f"alone, with {', '.join(_folders.SUFFIXES)} files, or train.parquet and test.parquet"
        )
    if train.x.shape[1] != test.x.shape[1]:
        train, test = (part._replace(x=in_color(part.x)) for part in (train, test))
    half = (0.5,) * train.x.shape[1]
    return Arrays(
        train.x,
        labels.train,
        test.x,
        labels.test,
        num_classes=labels.num_classes,
        mean=half,
        std=half,
        augmentation=None if params.augmentation == "none" else params.augmentation,
        classes=labels.names,
        notes=(
            *notes,
            *labels.notes,
            *train.notes,
            *test.notes,
            *leaked(train.x, test.x, f"{data_dir}"),
        ),
        drawn=drawn,
        content=content_of_parts(train, test),
    )


class _Parts(NamedTuple):
    """Both parts, with labels of their own and as they are numbered together."""

    train: Part
    test: Part
    labels: Labels
    notes: tuple[str, ...] = ()


def _from_parquet(train: list[Path], test: list[Path], side: int) -> _Parts:
    first = read_images("images", train, LABELS, size=(side, side) if side else None, fit=side > 0)
    second = read_images("images", test, LABELS, size=first.x.shape[2:], fit=side > 0)
    names, of_test = (_parquet.class_names(files, LABELS) for files in (train, test))
    check_called_alike(second.y, of_test, dict(enumerate(names)), str(test[0]))
    labels = numbered(first.y, second.y, str(train[0].parent), names, test_what=str(test[0]))
    return _Parts(first, second, labels)


def _from_folders(train: Path, test: Path, side: int) -> _Parts:
    found = _folders.read_both(train, test)
    first = _part(train, found.train, (side, side) if side else None, side)
    second = _part(test, found.test, first.x.shape[2:], side)
    labels = Labels(first.y, second.y, found.classes)
    return _Parts(first, second, labels, found.notes)


def _from_classes(folder: Path, found: _folders.Classes, params: Params) -> _Parts:
    """A share of all images is the test part."""
    side = params.side
    whole = _part(folder, found.all, (side, side) if side else None, side)
    rest, held_out = held_out_of(len(whole.y), params.test_share, (), str(folder))
    train, test = (whole._replace(x=whole.x[at], y=whole.y[at]) for at in (rest, held_out))
    labels = Labels(train.y, test.y, found.classes)
    told = (*found.notes, told_of(held_out, rest, str(folder)))
    return _Parts(train, test._replace(notes=()), labels, told)


def _part(folder: Path, own: _folders.Found, size: tuple[int, int] | None, side: int) -> Part:
    """The images of a part, decoded once for all runs."""
    names = [os.fsdecode(path) for path in own.paths]
    # Those of a test also depend on which classes there are in training.
    labeled = zip(names, own.labels.tolist(), map(os.stat, names), strict=True)
    stats = [(name, label, stat.st_size, stat.st_mtime_ns) for name, label, stat in labeled]
    key = (DECODER, size, side, *stats)
    return remembered("images", key, lambda: _decoded(folder, names, own.labels, size, side))


def _decoded(
    folder: Path, names: list[str], labels: np.ndarray, size: tuple[int, int] | None, side: int
) -> Part:
    """The images of one part; those that are there twice in a class are noted."""
    first_with: dict[tuple[int, bytes], str] = {}
    copies: list[tuple[str, str]] = []

    def contents() -> Iterator[tuple[str, bytes]]:
        for name, label in zip(names, labels.tolist(), strict=True):
            content = content_of(name)
            key = label, hashlib.blake2b(content, digest_size=16).digest()
            if (other := first_with.setdefault(key, name)) != name:
                copies.append((name, other))
            yield name, content

    content = Content()
    decoded = pixels(content.of(contents()), len(names), str(folder), size=size, fit=side > 0)
    notes = decoded.notes
    if copies:
        copy, original = copies[0]
        there = f"{len(copies):,} of {len(names):,} images are in their class twice"
        notes = (*notes, f"{folder}: {there}, and count twice (the first is {copy}, as {original})")
    return Part(decoded.x, labels, notes, content.with_labels(labels))
