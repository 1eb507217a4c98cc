"""Samples as a user has them, numpy, torch, pandas or lists -> arrays that a model can take."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.base.memory import check_room
from p2pqg.base.wording import counted

EXACT_IN_FLOAT32 = 2**24
"""Whole numbers up to here are float32 numbers, too."""
CHANNELS = (1, 3)
CHANNELS_OF_BYTES = (1, 2, 3, 4)
"""Bytes may have transparency, too."""
ROWS_AT_ONCE = 2**16


def array_of(value: Any, what: str, dimensions: int = 1) -> np.ndarray:
    """Numbers or texts, from whatever holds them.

    Args:
        value: an array of numpy, torch, scipy (also sparse) or pandas, or a list.
        what: it is called in a message.
        dimensions: it must have at least; 0: a single number will do.

    Raises:
        DataError: its rows are of different shapes, or it holds neither numbers nor texts.
    """
    if isinstance(value, list | tuple) and value and hasattr(value[0], "detach"):
        value = [array_of(one, what, 0) for one in value]
    if getattr(value, "is_meta", False):
        raise DataError(f"{what} has no values, being on torch's device meta")
    if hasattr(value, "detach"):  # torch
        value = value.detach().cpu()
        value = value.to_dense() if str(value.layout) != "torch.strided" else value
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    elif hasattr(value, "toarray"):  # scipy, sparse
        check_room(int(np.prod(value.shape)) * 8, f"{what}, no longer sparse", "use fewer columns")
        value = value.toarray()
    elif hasattr(value, "to_numpy"):  # pandas, polars
        value = value.to_numpy()
    if np.ma.is_masked(value):
        hidden = int(np.ma.count_masked(value))
        raise DataError(
            f"{what} has {counted(hidden, 'masked value')}, which a model would see; fill them, or "
            "leave the rows out"
        )
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{what} is no array: its rows are of different shapes") from error
    if array.dtype.kind == "O":
        array = _of_one_kind(array, what)
    if array.dtype.kind not in "biufUT" or array.ndim < dimensions:
        kinds = sorted({type(item).__name__ for item in array.ravel()[:1000]})
        held = " and ".join(kinds[:3]) or "nothing"
        raise DataError(f"{what} must hold numbers or texts, row by row; it holds {held}")
    return array


def _of_one_kind(array: np.ndarray, what: str) -> np.ndarray:
    """An array of objects as one of numbers or texts, if all of them are.

    Raises:
        DataError: some are missing.
    """
    items = array.ravel()
    empty = [index for index, item in enumerate(items) if item is None]
    if empty:
        row = empty[0] // max(1, array.size // len(array)) if array.ndim else 0
        raise DataError(
            f"{what} has {counted(len(empty), 'empty value')} (None, the first in row {row}, "
            "counted from 0); fill them, or leave the rows out"
        )
    if all(isinstance(item, str) for item in items):
        return array.astype(str)
    if items.size and all(isinstance(item, int | float | np.number) for item in items):
        return np.array(array.tolist())
    return array


def checked_lengths(x: Sized, y: Sized, x_name: str, y_name: str) -> None:
    """Refuse samples and targets that do not belong together.

    Raises:
        DataError: not equally many, or none.
    """
    if len(x) != len(y):
        raise DataError(
            f"{x_name} has {len(x):,} rows and {y_name} {len(y):,}; they must be equally many"
        )
    if not len(x):
        raise DataError(f"{x_name} has no rows")


def inputs(x: np.ndarray, what: str, tokens: bool = False) -> tuple[np.ndarray, tuple[str, ...]]:
    """What a model sees of numbers, row by row.

    Bytes in three or four dimensions are images, and stay bytes [samples, channels, height, width];
    channels may also come last. Other numbers become float32; float64 stays what it is, for a run
    in that precision. Whole numbers that are tokens become int32.

    Args:
        x: [samples, ...], finite numbers.
        what: it is called in a message.
        tokens: whole numbers are tokens, for a model that embeds them.

    Returns:
        the inputs, and what should be known of them, a line each.

    Raises:
        DataError: no numbers in a row, or tokens below 0.
    """
    if x.dtype.kind not in "biuf":
        raise DataError(f"{what} must hold numbers, it holds {x.dtype}")
    x = x[:, None] if x.ndim == 1 else x
    if not x[:1].size:
        raise DataError(f"{what} has no numbers in a row: its shape is {x.shape}")
    notes: tuple[str, ...] = ()
    if x.dtype == np.uint8 and x.ndim == 3:
        x = x[:, None]
    channels = CHANNELS_OF_BYTES if x.dtype == np.uint8 else CHANNELS
    if x.ndim == 4 and x.shape[1] not in channels and x.shape[3] in channels:
        x = x.transpose(0, 3, 1, 2)
        notes = (f"{what}: the last of its dimensions is taken for the channels of images",)
    elif x.ndim == 4 and x.shape[1] not in CHANNELS_OF_BYTES and x.shape[3] in CHANNELS_OF_BYTES:
        _, first, height, width = x.shape
        notes = (
            f"{what}: samples [{first}, {height}, {width}] are taken for images of {first} "
            f"channels; if the {width} are the channels, give np.moveaxis(X, -1, 1)",
        )
    if x.dtype == np.uint8 and x.ndim == 4:
        return np.ascontiguousarray(x), notes
    if tokens and x.dtype.kind in "iu":
        if x.min() < 0:
            raise DataError(f"{what}: tokens must be >= 0, found {x.min()}")
        return np.ascontiguousarray(x, dtype=np.int32), notes
    if x.dtype.kind == "f":
        wide = x.dtype.itemsize >= 8
    else:
        wide = x.dtype.kind != "b" and max(-int(x.min()), int(x.max())) > EXACT_IN_FLOAT32
    return np.ascontiguousarray(x, dtype=np.float64 if wide else np.float32), notes


def check_finite(x: np.ndarray, what: str) -> None:
    """Refuse NaN and infinities, and say where the first one is.

    Raises:
        DataError: there is one.
    """
    for first in range(0, len(x), ROWS_AT_ONCE):
        good = np.isfinite(x[first : first + ROWS_AT_ONCE])
        if good.all():
            continue
        row, *rest = (int(i) for i in np.argwhere(~good)[0])
        column = f", column {', '.join(map(str, rest))}" if rest else ""
        there = (first + row, *rest)
        value = "NaN" if np.isnan(x[there]) else "infinity"
        raise DataError(
            f"{what} has {value} in row {first + row}{column} (counted from 0); fill such gaps, or "
            "leave the rows out"
        )
