"""Arrays from .npz and .npy files that may come from anybody: no pickles, and no bombs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from p2pqg.base.errors import DataError
from p2pqg.base.memory import check_room

TOO_LARGE = "use fewer samples, or smaller numbers (float32, uint8)"


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Name -> array, of all arrays in the file.

    What the file says of their sizes is looked at first: a zip file of a megabyte can hold
    terabytes of zeros, and a header can claim anything.

    Raises:
        DataError: not such a file, Python objects in it, or more than there is memory for.
    """
    try:
        with zipfile.ZipFile(path) as stored:
            members = {
                info.filename.removesuffix(".npy"): info
                for info in stored.infolist()
                if info.filename.endswith(".npy")
            }
            check_room(sum(info.file_size for info in members.values()), f"{path}", TOO_LARGE)
            arrays = {}
            for name, info in members.items():
                with stored.open(info) as member:
                    arrays[name] = _read(member, info.file_size, f"{path}: {name}")
            return arrays
    except DataError:
        raise
    except Exception as error:  # a broken zip file raises a bit of everything
        raise DataError(f"{path}: not a readable .npz file ({_reason(error)})") from error


def _read(file: IO[bytes], size: int, what: str) -> np.ndarray:
    """One array, from a file of `size` bytes."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, in_columns, dtype = read(file)
    if dtype.hasobject:
        raise DataError(
            f"{what} holds Python objects, which are not read, for they can run code; "
            "save numbers or texts"
        )
    needed = int(np.prod([dtype.itemsize, *shape], dtype=object))
    content = file.read(needed) if needed <= size else b""
    if len(content) < needed:
        raise DataError(f"{what} says it has {needed:,} bytes, but the file has fewer")
    array = np.frombuffer(bytearray(content), dtype, count=int(np.prod(shape, dtype=object)))
    return array.reshape(shape, order="F" if in_columns else "C")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
