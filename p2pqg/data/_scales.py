"""Columns of features on one scale: by statistics of the training samples alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.memory import check_room

APART = 100.0
"""Deviations of two columns are so many times each other: it is told."""
LARGE = 20.0
"""Root mean square of numbers from which one learns badly: that, too. Photos have 120 in bytes."""
LOOKED_AT = 2**14
"""Rows by which that is seen, at most, from all over the samples."""
VALUES_LOOKED_AT = 2**24
"""As many values at most."""
ROWS_AT_ONCE = 2**14


def standardised(
    train_x: np.ndarray, test_x: np.ndarray, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Each column minus its mean over the training samples, by its deviation there.

    A column that does not vary there becomes 0 in the training samples; what test samples are away
    from it is not scaled.

    Args:
        train_x: [samples, features], floats; stays as it is.
        test_x: as train_x.
        what: the data are called in a message.

    Returns:
        both in float64.

    Raises:
        ConfigError: samples are images, texts or something else without columns.
    """
    if train_x.ndim != 2 or train_x.dtype.kind != "f":
        raise ConfigError(
            f"dataset.standardise is for columns of features; a sample of {what} has shape "
            f"{train_x.shape[1:]} ({train_x.dtype}): leave it out"
        )
    for x in (train_x, test_x):
        check_room(8 * x.size, f"{what}, standardised", "leave dataset.standardise out")
    mean = train_x.mean(0, dtype=np.float64)
    squares = sum((np.square(part - mean).sum(0) for part in _parts(train_x)), np.zeros(len(mean)))
    deviation = np.sqrt(squares / len(train_x))
    varies = train_x.min(0) < train_x.max(0)
    mean, deviation = np.where(varies, mean, train_x[0]), np.where(varies, deviation, 1.0)
    return _scaled(train_x, mean, deviation), _scaled(test_x, mean, deviation)


def _parts(x: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(x), ROWS_AT_ONCE):
        yield x[first : first + ROWS_AT_ONCE].astype(np.float64)


def _scaled(x: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    found = np.empty(x.shape)  # of float32, too: a run in float64 has columns without its rounding
    for first in range(0, len(x), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        found[rows] = (x[rows] - mean) / deviation
    return found


def scales_told(x: np.ndarray, names: Sequence[str], what: str) -> Iterator[str]:
    """A line where columns vary on scales far from each other, or all numbers are large.

    Args:
        x: [samples, ...]; what holds no floats is passed over.
        names: of the columns; others go by their number.
        what: the data are called.
    """
    if x.dtype.kind != "f":
        return
    some = _some(x)
    told = _of_columns(some, names) if x.ndim == 2 else _of_all(some)
    yield from (f"{what}: {one}" for one in told)


def targets_told(y: np.ndarray, what: str) -> Iterator[str]:
    """A line where the targets of a regression, [samples, outputs], are large."""
    if (size := float(_size(_some(y), None))) >= LARGE:
        yield (
            f"{what}: targets are large, {size:.2g} in root mean square, and what is learned from "
            f"such may diverge; divide them, by {10.0 ** np.round(np.log10(size)):g} or so"
        )


def _some(x: np.ndarray) -> np.ndarray:
    rows = max(1, min(LOOKED_AT, VALUES_LOOKED_AT // x[0].size))
    return x[:: -(-len(x) // rows)].astype(np.float64)


def _of_columns(some: np.ndarray, names: Sequence[str]) -> Iterator[str]:
    with np.errstate(over="ignore"):
        deviation = some.std(0)
    size = _size(some, 0)
    largest = int(size.argmax())  # it may be one that does not vary
    # Those of 0 and 1 say a kind, and are small where it is rare.
    columns = np.flatnonzero((deviation > 0) & ~np.isin(some, (0, 1)).all(0))

    def named(column: int) -> str:
        return names[column] if len(names) == some.shape[1] else f"{column}"

    trouble = ""
    if len(columns) and deviation[columns].max() >= APART * deviation[columns].min():
        low, high = (int(columns[at(deviation[columns])]) for at in (np.argmin, np.argmax))
        trouble = (
            f"columns of features vary on scales far apart, {named(low)} by {deviation[low]:.2g} "
            f"and {named(high)} by {deviation[high]:.2g}"
        )
    elif size[largest] >= LARGE:
        trouble = f"features are large, those of column {named(largest)} {size[largest]:.2g}"
    if trouble:
        yield (
            f"{trouble}; with dataset.standardise: true each has mean 0 and deviation 1 over the "
            "training samples"
        )


def _of_all(some: np.ndarray) -> Iterator[str]:
    if (size := float(_size(some, None))) >= LARGE:
        yield (
            f"its numbers are large, {size:.2g} in root mean square, and what is learned from such "
            "may diverge; divide them, X / 255 where they are bytes"
        )


def _size(some: np.ndarray, axis: int | None) -> np.ndarray:
    """The root mean square along an axis."""
    with np.errstate(over="ignore"):
        return np.asarray(np.sqrt(np.square(some).mean(axis)))
