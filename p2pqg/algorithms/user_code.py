"""A user's own algorithm: registered here and now, or one of a file, `my_file.py:my_method`."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import ModuleType

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.registry import Entry

_BESIDE: dict[str, tuple[Path, bytes]] = {}
"""Modules that users' files imported from beside them: where each was, and its text then."""


def find_algorithm(name: str | Entry) -> Entry:
    """The algorithm that a recipe, flag or keyword names.

    Args:
        name: a registered name; or FILE.py:NAME, where NAME is a decorated function of that file
            or the name it is registered under.

    Raises:
        ConfigError: no such name or file, or it is not an algorithm; the file's own mistakes come
            with their line.
    """
    if isinstance(name, Entry):
        return name
    path, colon, method = name.rpartition(":")
    if not colon and not name.endswith(".py"):
        return _usable(ALGORITHMS[name])
    module = load_file(Path(path or name))
    entries: dict[str, Entry] = module.__dict__["__algorithms__"]
    if not path:
        ask = " or ".join(f"{name}:{known}" for known in entries) or f"{name}:NAME"
        raise ConfigError(f"algorithm {name} must say which: {ask}")
    by_name = {e.name: e for e in entries.values()}
    if method in entries or method in by_name:
        return _usable(entries.get(method) or by_name[method])
    if callable(getattr(module, method, None)):
        raise ConfigError(
            f"{path}: {method} is not an algorithm yet; write @algorithm(...) of p2pqg above it"
        )
    raise ConfigError(f"{path} has no algorithm {method!r}{did_you_mean(method, entries)}")


def _usable(entry: Entry) -> Entry:
    """The entry, if its params can be filled in."""
    fields = getattr(entry.params, "__dataclass_fields__", {})
    if "lr" not in fields or not dataclasses.is_dataclass(entry.params):
        raise ConfigError(
            f"algorithm {entry.name!r}: params must be a data class with a field lr (the step "
            f"size of the round), got {entry.params.__name__}"
        )
    return entry


def load_file(path: Path) -> ModuleType:
    """A Python file as a module under a name of its own; anew only where its text has changed.

    Its folder is where it finds its neighbors, as if it were run by hand.

    Raises:
        ConfigError: there is no such file, or running it failed; with the line.
    """
    file = path.expanduser().resolve()
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"algorithm {path}: {(error.strerror or 'no such file').lower()}"
        ) from None
    name = f"{path.stem}_{hashlib.blake2b(str(file).encode(), digest_size=4).hexdigest()}"
    known = sys.modules.get(name)
    anew = _forget_other_neighbors(file.parent)
    if known is not None and not anew and known.__dict__.get("__text__") == text:
        return known
    module = ModuleType(name)
    module.__file__ = str(file)
    module.__dict__["__text__"] = text
    sys.modules[name] = module  # data classes look their own module up
    before = set(sys.modules)
    try:
        with _folder_on_path(file.parent):
            # Compiled here: a cached .pyc may be older than an edit of the same second.
            exec(compile(text, str(file), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(_what_failed(error, path, file)) from error
    for neighbor in beside(module):
        if neighbor.__name__ not in before:
            place = Path(neighbor.__file__)
            _BESIDE[neighbor.__name__] = place, place.read_bytes()
    # Kept here, for another file may register the same name later.
    module.__dict__["__algorithms__"] = {
        e.build.__name__: e for e in ALGORITHMS.values() if e.build.__module__ == name
    }
    return module


def _forget_other_neighbors(folder: Path) -> bool:
    """Forget modules of files in this folder that were read elsewhere, or before they changed.

    Returns:
        Whether there were any: then whoever imported them has to be read again.
    """
    stale = [
        name
        for name, (file, text) in _BESIDE.items()
        if (own := folder / file.name).is_file() and (own, own.read_bytes()) != (file, text)
    ]
    for name in stale:
        del _BESIDE[name]
        sys.modules.pop(name, None)
    return bool(stale)


def beside(home: ModuleType) -> list[ModuleType]:
    """Modules from the same folder, itself too, of those imported; none of an installed package."""
    folder = Path(getattr(home, "__file__", None) or "").parent
    if "site-packages" in folder.parts or not folder.name:
        return []
    return [
        module
        for module in list(sys.modules.values())
        if (path := getattr(module, "__file__", None))
        and Path(path).parent == folder
        and module.__name__ != "__main__"
    ]


def neighbors(algorithm: Entry) -> list[Path]:
    """The file of an algorithm that came from one, and the files beside it that are imported."""
    home = sys.modules.get(algorithm.build.__module__)
    if home is None or "__algorithms__" not in home.__dict__:
        return []
    return [Path(module.__file__) for module in beside(home)]


@contextmanager
def _folder_on_path(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # it misses quick edits
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = writes


def _what_failed(error: Exception, path: Path, file: Path) -> str:
    lines = [line for frame, line in walk_tb(error.__traceback__) if _is_of(frame, file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines, said = [error.lineno], error.msg
    else:
        said = (str(error).strip().splitlines() or ["no message"])[0]
    place = f"{path} line {lines[-1]}" if lines else str(path)
    kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
    return f"{place}: {kind}{said}"


def _is_of(frame, file: Path) -> bool:
    return frame.f_code.co_filename == str(file)
