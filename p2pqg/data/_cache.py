"""What was decoded or tokenised once is kept as .npy files, while its source stays the same.

The cache (see `p2pqg.base.cache_dir`) holds downloads too, and may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from p2pqg.base.cache_dir import cache_dir
from p2pqg.base.errors import notice


class Part(NamedTuple):
    """One part of a data set.

    Attributes:
        x, y: samples and their labels, equally many.
        notes: what a reader should know of how they were read, a line each.
        content: of the files that they were decoded from, in digits; empty: it was not asked for.
    """

    x: np.ndarray
    y: np.ndarray
    notes: tuple[str, ...] = ()
    content: str = ""


def content_of_parts(*parts: Part) -> str:
    """What the files of all parts held, in digits; empty where it is not known of one."""
    each = dict.fromkeys(part.content for part in parts)
    return "-".join(each) if all(each) else ""


def remembered(name: str, key: Iterable[object], make: Callable[[], Part]) -> Part:
    """What `make` returns; from the cache if it is there.

    Args:
        name: for whoever looks into the folder.
        key: all that the part depends on, as text.
        make: called if there is nothing in the cache, or less than a whole.
    """
    text = "|".join(map(str, key)).encode("utf-8", "surrogateescape")  # of paths in any encoding
    digest = hashlib.blake2b(text, digest_size=8).hexdigest()
    stem = f"{name}-{digest}"
    stored = [cache_dir() / f"{stem}-{what}.npy" for what in ("samples", "labels")]
    said, told = (cache_dir() / f"{stem}-{what}" for what in ("notes.json", "content.txt"))
    try:
        # Copy on write: processes share the pages, and yet torch may have a writable array.
        samples, labels = (np.asarray(np.load(path, mmap_mode="c")) for path in stored)
        if len(samples) == len(labels):
            notes = tuple(json.loads(said.read_text(encoding="utf-8")))
            # Older versions did not ask for it, and their caches may be read only.
            content = told.read_text(encoding="utf-8") if told.exists() else ""
            return Part(samples, labels, notes, content)
    except (OSError, ValueError, EOFError):
        pass  # not there yet, or cut short: make it (again)
    made = make()
    try:
        _save(said, lambda file: file.write(json.dumps(made.notes).encode()))
        _save(told, lambda file: file.write(made.content.encode()))
        for path, array in zip(stored, made[:2], strict=True):
            _save(path, partial(np.save, arr=array))
    except OSError as error:
        why = error.strerror or error
        notice(f"{name} was not cached in {cache_dir()} ({why}); set P2PQG_CACHE")
    return made


def _save(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write all of the file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as unfinished:
        try:
            write(unfinished)
            unfinished.close()
            os.replace(unfinished.name, path)
        except BaseException:
            os.unlink(unfinished.name)
            raise
