"""Columns of features on one scale: by statistics of the training samples alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.memory import check_room

APART = 100.0
"""Deviations of two columns are so many times each other: it is told."""
LOOKED_AT = 2**14
"""Rows by which that is seen, from all over the samples."""
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


def scales_apart(x: np.ndarray, names: Sequence[str], what: str) -> Iterator[str]:
    """A line where columns of features vary on scales far from each other.

    Args:
        x: [samples, ...]; what has no columns of floats is passed over.
        names: of the columns; others go by their number.
        what: the data are called.
    """
    if x.ndim != 2 or x.dtype.kind != "f":
        return
    some = x[:: -(-len(x) // LOOKED_AT)].astype(np.float64)
    deviation = some.std(0)
    # Those of 0 and 1 say a kind, and are small where it is rare.
    columns = np.flatnonzero((deviation > 0) & ~np.isin(some, (0, 1)).all(0))
    if len(columns) < 2:
        return
    low, high = (int(columns[at(deviation[columns])]) for at in (np.argmin, np.argmax))
    if deviation[high] >= APART * deviation[low]:
        told = [names[i] if len(names) == x.shape[1] else f"{i}" for i in (low, high)]
        yield (
            f"{what}: columns of features vary on scales far apart, {told[0]} by "
            f"{deviation[low]:.2g} and {told[1]} by {deviation[high]:.2g}; with "
            "dataset.standardise: true each has mean 0 and deviation 1 over the training samples"
        )
