"""Text as our files have it: UTF-8 whatever the locale, strict JSON; YAML is in `yaml_text.py`."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk that is full."""


def user_path(text: str | Path) -> Path:
    """A path as people write it, ~ being their home.

    Nobody who reads or writes files is left to think of ~: Arrow does by itself, Python does not.

    >>> user_path("~/runs") == Path.home() / "runs", user_path("~nobody-at-all/x").parts[0]
    (True, '~nobody-at-all')

    Raises:
        ConfigError: it is no path at all.
    """
    if not isinstance(text, str | os.PathLike):
        raise ConfigError(f"a path must be a text or a Path, got {text!r:.60}")
    return Path(os.path.expanduser(text))


def typed(path: str | Path) -> str:
    """A path as it is typed in a shell: quoted where it has blanks, and never like an option.

    >>> typed("runs/out/first"), typed(Path("My runs") / "first"), typed("-runs/first")
    ('runs/out/first', "'My runs/first'", './-runs/first')
    """
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def folder_name(words: str) -> str:
    """A name for a file or folder that every system can bear.

    >>> folder_name("base25:k=2-qg-dsgdm-n")
    'base25_k_2-qg-dsgdm-n'
    """
    return re.sub(r"[^\w.+-]", "_", words)


def without_folders(value: Any) -> Any:
    """Settings that may be told elsewhere: of absolute paths they have only the last part.

    >>> without_folders({"data_dir": "/home/ada/photos", "model": "/home/ada/m.py:net", "lr": 0.1})
    {'data_dir': 'photos', 'model': 'm.py:net', 'lr': 0.1}
    >>> without_folders(["runs/mine.csv", "~/mine.csv", "/"])
    ['runs/mine.csv', 'mine.csv', '/']
    """
    if isinstance(value, Mapping):
        return {key: without_folders(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(part) for part in value]
    if isinstance(value, str) and (os.path.isabs(value) or value.startswith("~")):
        return Path(value).name or value
    return value


def without_folders_but_unlike(values: Iterable[Any]) -> dict[Any, Any]:
    """Value -> what it is called elsewhere: of absolute paths as few last parts as tell them apart.

    >>> without_folders_but_unlike(["/home/ada/a/net.csv", "/home/ada/b/net.csv", "ring16"])
    {'/home/ada/a/net.csv': 'a/net.csv', '/home/ada/b/net.csv': 'b/net.csv', 'ring16': 'ring16'}
    """
    names = list(dict.fromkeys(values))
    short = {name: without_folders(name) for name in names}
    for kept in range(2, max((len(Path(str(name)).parts) for name in names), default=0) + 1):
        if len(set(short.values())) == len(names):
            break
        for name in names:
            if without_folders(name) != name:
                short[name] = "/".join(Path(name).parts[-kept:]).replace("//", "/")
    return short


def is_number(text: str) -> bool:
    """Whether a text is a number, nan and inf included."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def json_text(content: Any, indent: int | None = 2) -> str:
    """Strict JSON, which knows no infinity: what is not finite becomes null.

    >>> json_text({"loss": float("inf"), "rounds": 3}, indent=None)
    '{"loss": null, "rounds": 3}'
    """
    return json.dumps(_finite(content), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """What a JSON file says."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a killed process leaves no half of a file."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes that is whole at any time."""
    with draft_of(path) as draft:
        draft.write_bytes(content)


@contextmanager
def draft_of(path: Path, *, hidden: bool = False) -> Iterator[Path]:
    """A temporary name beside a file, for what is written inside; renamed when it is whole.

    Nothing is left of what fails, and what was there before stays.

    Args:
        path: of the file.
        hidden: under a name that nobody else has, for folders that are not ours.
    """
    named = path.with_name(f".{path.name}.{os.getpid()}")
    draft = named if hidden else path.with_suffix(".tmp")
    try:
        yield draft
        os.replace(draft, path)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(draft)):
            raise _plainly(error, path) from error
        raise


def _plainly(error: OSError, path: Path) -> OSError:
    """The same error, of the file, in the system's words: Arrow has long ones, or no number."""
    if error.errno is None:
        return OSError(errno.EIO, str(error), str(path))
    return OSError(error.errno, os.strerror(error.errno), str(path))
