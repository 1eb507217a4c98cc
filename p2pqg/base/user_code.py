"""The user's own Python files, which recipes name: `my_file.py:my_part`."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.registry import Entry, NoParams, Registry
from p2pqg.base.text import user_path

if TYPE_CHECKING:
    from typing_extensions import Self

_BESIDE: dict[str, tuple[Path, bytes]] = {}
"""Modules that users' files imported from beside them: where each was, and its text then."""

LIBRARIES = ("site-packages", "dist-packages")

GIVEN = "given:"
"""What a recipe calls an object of Python that cannot be said in plain data."""


def names_a_file(name: str) -> bool:
    """Whether a name is FILE.py:PART, or a FILE.py that does not say which part."""
    return name.endswith(".py") or name.rpartition(":")[0].endswith(".py")


def find_in_file(
    registry: Registry, name: str, wrap: Callable[[Any, str], Entry] | None = None
) -> Entry:
    """The part of a user's file that a recipe, flag or keyword names.

    Args:
        registry: of the kind of part that is wanted.
        name: FILE.py:PART, where PART is a decorated function of that file, or the name it is
            registered under.
        wrap: makes a part of an undecorated function and `name`; None: it must be decorated.

    Raises:
        ConfigError: no such file or part; the file's own mistakes come with their line.
    """
    path, _, part = name.rpartition(":")
    kind, file = registry.kind, Path(path or name)
    module = load_file(file, kind)
    parts: list[Entry] = module.__dict__["__parts__"].get(kind, [])
    entries = {entry.build.__name__: entry for entry in parts}
    by_name = {entry.name: entry for entry in parts}
    # A function may be called as another one, as those are that a function makes.
    shown = [*entries, *(name for name, e in by_name.items() if e not in entries.values())]
    if not path:
        ask = " or ".join(f"{name}:{known}" for known in shown) or f"{name}:NAME"
        raise ConfigError(f"{kind} {name} must say which: {ask}")
    if part in entries or part in by_name:
        return entries.get(part) or by_name[part]
    found = getattr(module, part, None)
    if callable(found):
        if wrap:
            return wrap(found, name)
        raise ConfigError(
            f"{path}: {part} is not {_a(kind)} yet; write @{kind}(...) of p2pqg above it"
        )
    if part.isidentifier() and found is not None:
        repair = "; write a function that returns it" if wrap else ""
        raise ConfigError(f"{path}: {part} is of type {type(found).__name__}, no function{repair}")
    known = shown if wrap is None else _functions(module)
    raise ConfigError(f"{path} has no {kind} {part!r}{did_you_mean(part, known)}")


@dataclass(frozen=True)
class Chosen:
    """A registered part, or a user's function, with its parameters.

    Attributes:
        entry: registered, or made of the function.
        params: of the part.
        registry: of its kind.
    """

    entry: Entry
    params: Any
    registry: ClassVar[Registry]

    @classmethod
    def find(
        cls,
        given: Any,
        wrap: Callable[[Callable[..., Any], str], Entry],
        *,
        such_as: str,
        where: str,
    ) -> Self:
        """The part that a recipe or keyword names.

        Args:
            given: one; a registered name; a mapping of `name` and parameters; FILE.py:NAME, a
                function of that file; or a function itself.
            wrap: makes an entry of a user's function and its name.
            such_as: a name that there is, for messages.
            where: what stands before a parameter in messages; NAME is the part's.

        Raises:
            ConfigError: no such part, file or parameter.
        """
        from p2pqg.base.config import made  # brings YAML, which networks do without

        kind = cls.registry.kind
        if isinstance(given, cls):
            return given
        if callable(given):
            return cls(wrap(given, getattr(given, "__name__", kind)), NoParams())
        settings = dict(given) if isinstance(given, Mapping) else {"name": given}
        name = settings.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"{_a(kind)} must have a name, such as {such_as}, got {given!r}")
        of_file = names_a_file(name)
        entry = find_in_file(cls.registry, name, wrap) if of_file else cls.registry.named(name)
        return cls(entry, made(entry.params, settings, where.replace("NAME", name)))

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def kind(self) -> str:
        """What its function takes and gives, see where it is registered."""
        return self.entry.traits["kind"]

    def to_data(self) -> dict[str, Any]:
        """As a recipe would have it.

        Raises:
            ConfigError: it is a Python function, which cannot be saved.
        """
        if self.name not in self.registry and not names_a_file(self.name):
            raise ConfigError(
                f"{self.registry.kind} {self.name} is a Python function, which cannot be saved; "
                f"write it to a file and say how: my_file.py:{self.name}"
            )
        from p2pqg.base.config import plain  # brings YAML, which networks do without

        return {"name": self.name, **plain(self.params)}


class FileRegistry(Registry):
    """A registry that finds parts in users' files, too: `my_file.py:my_part`.

    Attributes:
        wrap: makes a part of an undecorated function and its name; None: it must be decorated.
        unlisted: parts that are found by name and not counted among the others.
    """

    wrap: Callable[[Any, str], Entry] | None = None

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.unlisted: dict[str, Entry] = {}

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name; ConfigError if there is none."""
        if isinstance(name, str) and names_a_file(name):
            return find_in_file(self, name, self.wrap)
        if name in self.unlisted:
            return self.unlisted[name]
        return super().__getitem__(name)


def _a(noun: str) -> str:
    """The noun with its article.

    >>> _a("algorithm"), _a("dataset")
    ('an algorithm', 'a dataset')
    """
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _functions(module: ModuleType) -> list[str]:
    own = vars(module).items()
    return [n for n, f in own if callable(f) and getattr(f, "__module__", "") == module.__name__]


def load_file(path: Path, kind: str) -> ModuleType:
    """A Python file as a module under a name of its own; anew only where its text has changed.

    Its folder is where it finds its neighbors, as if it were run by hand. What it registers is kept
    in its `__parts__`: kind -> entries.

    Args:
        path: of the file.
        kind: what is looked for in it, for messages.

    Raises:
        ConfigError: there is no such file, or running it failed; with the line.
    """
    file = user_path(path).resolve()
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{kind} {path}: {(error.strerror or 'no such file').lower()}") from None
    name = f"{path.stem}_{hashlib.blake2b(str(file).encode(), digest_size=4).hexdigest()}"
    _keep_from_autoreload(name)
    known = sys.modules.get(name)
    anew = _forget_other_neighbors(file.parent)
    if known is not None and not anew and known.__dict__.get("__text__") == text:
        return known
    module = ModuleType(name)
    module.__file__, module.__package__ = str(file), ""
    module.__dict__["__text__"] = text
    sys.modules[name] = module  # data classes look their own module up
    others = _set_aside(file.parent)
    before = set(sys.modules)
    try:
        with _folder_on_path(file.parent):
            # Compiled here: a cached .pyc may be older than an edit of the same second.
            exec(compile(text, str(file), "exec"), module.__dict__)
    except BaseException as error:  # a script may end itself, a user interrupt it
        del sys.modules[name]
        sys.modules.update(others)
        if not isinstance(error, (Exception, SystemExit)):
            raise
        raise ConfigError(_what_failed(error, path, file)) from error
    for neighbor in beside(module):
        if (called := neighbor.__name__) not in before:
            place = Path(neighbor.__file__ or "")
            if called in others:  # theirs comes back, ours stays under a name of its own
                called = (
                    f"{called}_{hashlib.blake2b(str(place).encode(), digest_size=4).hexdigest()}"
                )
                sys.modules[called] = neighbor
            _BESIDE[called] = place, place.read_bytes()
    sys.modules.update(others)
    # Kept here, for another file may register the same name later.
    module.__dict__["__parts__"] = {
        registry.kind: [e for e in registry.values() if _is_in(module, e.build) and not e.is_ours]
        for registry in Registry.known
    }
    return module


def _is_in(module: ModuleType, build: Callable[..., Any]) -> bool:
    """Whether a registered function is the module's, or is imported there, of a package say."""
    mine = build.__module__ == module.__name__
    return mine or any(value is build for value in vars(module).values())


def _keep_from_autoreload(name: str) -> None:
    """A notebook's %autoreload leaves that module alone: what runs keeps the code it began with.

    It would not find a module of that name either; the next run reads the file again anyway.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    magics = getattr(getattr(shell, "magics_manager", None), "registry", {})
    reloader: Any = getattr(magics.get("AutoreloadMagics"), "_reloader", None)
    if hasattr(reloader, "mark_module_skipped"):
        reloader.mark_module_skipped(name)


def is_library(module: ModuleType) -> bool:
    """Whether a module is installed, so that its name is enough to find it again."""
    file = getattr(module, "__file__", None)
    package = module.__name__.partition(".")[0]
    if file is None or package in sys.stdlib_module_names or package == "p2pqg":
        return True
    return any(part in Path(file).parts for part in LIBRARIES)


def _set_aside(folder: Path) -> dict[str, ModuleType]:
    """Take out the modules that are called like files of this folder, and came from another one.

    A notebook may have imported the helper.py of today, where a run has its own copy of it.
    """
    found = {}
    for name, module in list(sys.modules.items()):
        own = folder / f"{name}.py"
        file = getattr(module, "__file__", None)
        if "." in name or file is None or is_library(module) or not own.is_file():
            continue
        if Path(file).resolve() != own:
            found[name] = sys.modules.pop(name)
    return found


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
        and folder.name in str(path)  # most are not: to split thousands of paths takes 0.1 s
        and Path(path).parent == folder
        and module.__name__ != "__main__"
    ]


def neighbors(part: Entry) -> list[Path]:
    """The file of a part that came from one, and the files beside it that are imported."""
    home = sys.modules.get(part.build.__module__)
    if home is None or "__parts__" not in home.__dict__:
        return []
    return [Path(module.__file__ or "") for module in beside(home)]


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


def _what_failed(error: BaseException, path: Path, file: Path) -> str:
    lines = [line for frame, line in walk_tb(error.__traceback__) if _is_of(frame, file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines, said = [error.lineno or 1], error.msg
    else:
        said = (str(error).strip().splitlines() or ["no message"])[0]
    if "no known parent package" in said:  # from .blocks import Block
        said += (
            f"; name the part by a file that imports it of its package, as in from "
            f"{file.parent.name}.{file.stem} import ..."
        )
    place = f"{path} line {lines[-1]}" if lines else str(path)
    kind = "" if isinstance(error, ConfigError) else f"{type(error).__name__}: "
    return f"{place}: {kind}{said}"


def _is_of(frame: FrameType, file: Path) -> bool:
    return frame.f_code.co_filename == str(file)
