"""Where a user's own file is, and what is in it, told in 16 digits."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.text import user_path

BLOCK = 2**20


def located(path: str, data_dir: Path | None, kind: str) -> Path:
    """A file that a recipe names: in `data_dir` if it is there, else from the current folder.

    Raises:
        ConfigError: it names none.
        DataError: there is none.
    """
    if not path:
        raise ConfigError(f"dataset {kind} needs dataset.path, a file")
    given = user_path(path)
    for place in ([data_dir / given] if data_dir else []) + [given]:
        if os.path.isfile(place):
            return place
    why = "a folder, and no file" if os.path.isdir(given) else "no such file"
    raise DataError(f"{path if path.isprintable() else repr(path):.200}: {why}")


def file_digest(*paths: Path) -> str:
    """16 hexadecimal digits for the content of files."""
    found = hashlib.blake2b(digest_size=8)
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                found.update(block)
    return found.hexdigest()


class Content:
    """What is in many small files, as they pass by, and what they are filed under."""

    def __init__(self) -> None:
        self._found = hashlib.blake2b(digest_size=8)

    def of(self, files: Iterable[tuple[str, bytes | None]]) -> Iterator[tuple[str, bytes | None]]:
        """The same files, (name, content); their names do not count, their order does."""
        for name, content in files:
            self._found.update(hashlib.blake2b(content or b"", digest_size=16).digest())
            yield name, content

    def with_labels(self, labels: np.ndarray) -> str:
        """16 hexadecimal digits for all that passed by; labels [files]: integers or texts."""
        self._found.update("\n".join(map(str, labels.tolist())).encode())
        return self._found.hexdigest()


def check_content(expected: str, *paths: Path) -> None:
    """Refuse files that are not what they were; `expected` may be empty.

    Raises:
        DataError: their content is another one.
    """
    if expected and file_digest(*paths) != expected:
        refuse_content(" and ".join(map(str, paths)))


def refuse_content(what: str) -> NoReturn:
    """Refuse what is not what it was.

    Raises:
        DataError: always.
    """
    raise DataError(
        f"{what}: the content has changed since the run began; put the old file back, or begin "
        "another run, of a recipe without dataset.content"
    )
