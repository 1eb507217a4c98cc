"""Checkpoints on disk: a folder of JSON, safetensors and Parquet. Its only code is the user's own.

    round-000000300/
      checkpoint.json      format, counters and settings; checksums of the other files and its own
      state.safetensors    everything that is an array
      rounds.parquet, clients.parquet
      files/               the user's own, as they were when the run began (see own_files.py)

A checkpoint is written under another name and renamed when it is complete; a reader checks the sums
before it believes a byte.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.pieces import PIECE_BYTES, Array, Pieces, pieces_of
from p2pqg.base.records import Records
from p2pqg.base.text import read_json, user_path
from p2pqg.recipe.own_files import FOLDER
from p2pqg.results.parquet import read_records, write_parquet

FORMAT = 1
CHECKPOINTS = "checkpoints"
"""Folder of a run's directory."""
TYPES = {
    **{
        f"{kind}{bits}": f"{kind[0].upper()}{bits}"
        for kind in ("int", "uint")
        for bits in (8, 16, 32, 64)
    },
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
    "bool": "BOOL",
}
"""What safetensors calls the types of numpy."""
NAMES = {called: name for name, called in TYPES.items()}
HEADER, ARRAYS = "checkpoint.json", "state.safetensors"
KEPT = 2
"""How many automatic checkpoints of a run stay."""


@dataclass(frozen=True)
class Checkpoint:
    """What a folder holds.

    Attributes:
        header: JSON.
        arrays: name -> array; large ones are in pieces, which are read when they are wanted, even
            if the folder has been removed by then.
        tables: name -> rows, of which those that were not measured lack the key.
    """

    header: Mapping[str, Any]
    arrays: Mapping[str, Array]
    tables: Mapping[str, Records]


def write_checkpoint(
    path: Path,
    header: Mapping[str, Any],
    arrays: Mapping[str, Array],
    tables: Mapping[str, tuple[Sequence[dict[str, Any]], Mapping[str, str]]],
    own_files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a checkpoint; one that is there already is replaced when the new one is complete.

    Args:
        path: its folder.
        header: plain data.
        arrays: name -> array, perhaps in pieces.
        tables: name -> rows, and the types of their columns.
        own_files: name -> content.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    draft = path.with_name(f".{path.name}.draft-{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        _save_arrays(draft / ARRAYS, arrays)
        for name, (rows, columns) in tables.items():
            write_parquet(draft / f"{name}.parquet", rows, columns)
        for name, content in (own_files or {}).items():
            (draft / FOLDER).mkdir(exist_ok=True)
            (draft / FOLDER / name).write_bytes(content)
        files = {str(file.relative_to(draft)): _fingerprint(file) for file in _files(draft)}
        content = _spelled({"format": FORMAT, **header, "files": files})
        text = json.dumps({**content, "sum": _sum(content)}, indent=1, allow_nan=False)
        (draft / HEADER).write_text(text + "\n", encoding="utf-8")
        for file in _files(draft):
            _to_disk(file)
        replaced = path.with_name(f".{path.name}.replaced-{os.getpid()}")
        if path.exists():  # Ctrl-C came while it was removed
            shutil.rmtree(replaced, ignore_errors=True)
        with suppress(FileNotFoundError):
            os.replace(path, replaced)
        try:
            os.replace(draft, path)
        except BaseException:
            with suppress(OSError):
                os.replace(replaced, path)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        ConfigError: there is none, it is damaged, or another version's.
    """
    path = user_path(path)
    try:
        header = read_json(path / HEADER)
        if header["format"] != FORMAT:
            raise ConfigError(
                f"{path}: a checkpoint of format {header['format']}, this p2pqg reads {FORMAT}; "
                "use the version that wrote it"
            )
        if header.pop("sum") != _sum(header):
            raise ConfigError(f"{path}: damaged checkpoint: {HEADER} is not what was written")
        for name, expected in header["files"].items():
            if _fingerprint(path / name) != expected:
                raise ConfigError(f"{path}: damaged checkpoint: {name} is not what was written")
        tables = [name for name in header["files"] if name.endswith(".parquet")]
        return Checkpoint(
            header,
            _load_arrays(path / ARRAYS),
            {name.removesuffix(".parquet"): read_records(path / name) for name in tables},
        )
    except FileNotFoundError as error:
        missing = Path(error.filename).name if error.filename else HEADER
        raise ConfigError(f"{path}: no checkpoint here ({missing} is missing)") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: not a checkpoint of p2pqg ({error})") from None


def newest(folder: Path) -> Iterator[Path]:
    """The checkpoints in a folder, the newest first; drafts are none.

    One that was put aside for another to take its place counts where a kill came between the two.
    """
    found = {aside.name.split(".")[1]: aside for aside in folder.glob(".round-*.replaced-*")}
    found |= {path.name: path for path in _in_place(folder)}
    yield from (found[name] for name in sorted(found, reverse=True))


def prune(latest: Path) -> None:
    """Remove the checkpoints before the latest, all but a few, and drafts that a dead process left.

    What is newer than the latest could not be read: it may be another version's, and stays.
    """
    until = sorted(path for path in _in_place(latest.parent) if path.name <= latest.name)
    for old in [*until[:-KEPT], *latest.parent.glob(".round-*")]:
        shutil.rmtree(old, ignore_errors=True)


def _in_place(folder: Path) -> Iterator[Path]:
    return folder.glob("round-*")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _save_arrays(file: Path, arrays: Mapping[str, Array]) -> None:
    """A file of safetensors, written piece by piece: its library wants all of it in memory, twice.

    Its format: 8 bytes that say how long the header is; the header, JSON with the type, shape and
    place of each array; the arrays.
    """
    largest_first = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # aligned
    places, end = {}, 0
    for name in largest_first:
        array = arrays[name]
        begin, end = end, end + array.dtype.itemsize * math.prod(array.shape)
        kind = TYPES[array.dtype.name]
        places[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    header = json.dumps(places).encode()
    header += b" " * (-len(header) % 8)
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for name in largest_first:
            for piece in pieces_of(arrays[name]):
                stream.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)


class _Stored:
    """A file that stays open as long as somebody may want something of it."""

    def __init__(self, file: Path) -> None:
        self._stream = file.open("rb")
        self._turn = Lock()
        length = int.from_bytes(self._stream.read(8), "little")
        self.places: dict[str, Any] = json.loads(self._stream.read(length))
        self.places.pop("__metadata__", None)
        self._start = 8 + length

    def array(self, name: str) -> Array:
        """One of its arrays, in pieces if it is large."""
        place = self.places[name]
        dtype, shape = np.dtype(NAMES[place["dtype"]]), tuple(place["shape"])
        begin, end = place["data_offsets"]
        if end - begin <= PIECE_BYTES or not shape:
            return self._read(dtype, begin, end).reshape(shape)
        row = (end - begin) // shape[0]

        def fetch(first: int, last: int) -> np.ndarray:
            rows = self._read(dtype, begin + first * row, begin + last * row)
            return rows.reshape(-1, *shape[1:])

        return Pieces(shape, dtype, fetch)

    def _read(self, dtype: np.dtype[Any], begin: int, end: int) -> np.ndarray:
        with self._turn:
            self._stream.seek(self._start + begin)
            return np.fromfile(self._stream, dtype, (end - begin) // dtype.itemsize)

    def __del__(self) -> None:
        with suppress(AttributeError):  # it could not be opened
            self._stream.close()


def _load_arrays(file: Path) -> dict[str, Array]:
    """What `_save_arrays` wrote, or safetensors' own library."""
    stored = _Stored(file)
    return {name: stored.array(name) for name in stored.places}


def _spelled(value: Any) -> Any:
    """Plain data as strict JSON can hold it: infinity is a text, which reads as a number again."""
    if isinstance(value, Mapping):
        return {key: _spelled(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _sum(content: Mapping[str, Any]) -> str:
    """BLAKE2b of plain data: its text is the same again when it has been written and read."""
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def _fingerprint(file: Path) -> list[Any]:
    """Size in bytes, and BLAKE2b of the content."""
    with file.open("rb") as stream:
        digest = hashlib.blake2b(digest_size=16)
        while chunk := stream.read(2**22):
            digest.update(chunk)
        return [stream.tell(), digest.hexdigest()]


def _to_disk(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
