"""Name -> builder and its params class: algorithms, topologies, datasets, models, partitions.

A part registers itself beside its code, so that adding or deleting it touches one file:

    MODELS = Registry("model")

    @MODELS.register("mlp", params=MlpParams, source="...")
    def mlp(...): ...
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from p2pqg.base.errors import ConfigError, did_you_mean

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class NoParams:
    """For parts that have nothing to set."""


@dataclass(frozen=True)
class Entry:
    """One registered part.

    Attributes:
        build: the decorated function.
        params: frozen data class of what may be set, with its defaults.
        summary: first line of the docstring.
        source: where it comes from, for `p2pqg list`.
        traits: whatever else the registering decorator said about it.
    """

    name: str
    build: Callable[..., Any]
    params: type = NoParams
    summary: str = ""
    source: str = ""
    traits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """It comes with p2pqg; others are the user's, of whom we know nothing."""
        return self.build.__module__.startswith("p2pqg.")


def import_parts(package: str, path: Iterable[str]) -> None:
    """Import the files of a package, so that the parts in them register themselves.

    Files whose names begin with an underscore, and folders, hold no parts.

    Args:
        package: its name, `__name__` in its `__init__.py`.
        path: its `__path__`.
    """
    for module in pkgutil.iter_modules(path):
        if not (module.name.startswith("_") or module.ispkg):
            importlib.import_module(f"{package}.{module.name}")


class Registry(Mapping[str, Entry]):
    """The known parts of one kind ("algorithm", "model", ...).

    Attributes:
        known: all registries there are.
    """

    known: ClassVar[list[Registry]] = []

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry] = {}
        self._files: dict[str, dict[Path, Entry]] = {}
        Registry.known.append(self)

    def register(
        self, name: str, *, params: type = NoParams, source: str = "", **traits: Any
    ) -> Callable[[F], F]:
        """Decorator: file the function under `name`.

        A user's part replaces a user's: a notebook's cell may run again. Of two in files that
        recipes name, neither has the name to itself: they go by `FILE.py:NAME`.

        Raises:
            ConfigError: p2pqg has a part of that name.
        """

        def registered(build: F) -> F:
            before = self._entries.get(name)
            if before and before.is_ours:
                raise ConfigError(f"{self.kind} {name!r} is there already; choose another name")
            summary = (inspect.getdoc(build) or "").partition("\n")[0]
            self._entries[name] = Entry(name, build, params, summary, source, traits)
            file = _file_of(build)
            others = self._files.get(name, {})
            self._files[name] = {**others, file: self._entries[name]} if file else {}
            return build

        return registered

    def named(self, name: str) -> Entry:
        """The entry that a user calls by its name; the original, where a run keeps a copy.

        Raises:
            ConfigError: there is none; or there are several, in files that recipes have named.
        """
        there = {file: e for file, e in self._files.get(name, {}).items() if file.is_file()}
        found = {file: e for file, e in there.items() if not _is_copy(file)} or there
        if len(found) > 1:
            which = " or ".join(f"{file}:{name}" for file in found)
            raise ConfigError(f"{self.kind} {name!r} is in {len(found)} files; say which: {which}")
        return next(iter(found.values()), None) or self[name]

    def __getitem__(self, name: str) -> Entry:
        """The entry called `name`; a ConfigError that names the nearest known ones otherwise."""
        try:
            return self._entries[name]
        except KeyError:
            raise ConfigError(
                f"unknown {self.kind} {name!r}{did_you_mean(str(name), self._entries)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


COPIES, BESIDE_COPIES = "files", ("config.yaml", "checkpoint.json")
"""The folder of a run, or of its checkpoint, that keeps the user's files, and how that is known."""


def _is_copy(file: Path) -> bool:
    """Whether a file is what a run keeps of another, and reads when it goes on."""
    home = file.parent.parent
    return file.parent.name == COPIES and any((home / name).is_file() for name in BESIDE_COPIES)


def _file_of(build: Callable[..., Any]) -> Path | None:
    """The user's file that a recipe named, of a part in one (see `base.user_code.load_file`)."""
    home = vars(sys.modules[build.__module__]) if build.__module__ in sys.modules else {}
    return Path(home["__file__"]) if "__text__" in home else None
