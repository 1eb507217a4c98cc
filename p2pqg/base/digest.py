"""A few letters that tell objects of the user's apart which no file can keep: a lambda, say.

They are made of its code, and of what it uses, as far as that can be looked into: the functions it
calls, numbers, texts, arrays, lists and objects of them. Equal letters mean that nothing differs
that can be seen; a + after them, that not all of it can.
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import re
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base.user_code import GIVEN, is_library

MOST_PARTS, DEEPEST = 100_000, 50
"""What is larger is looked into so far."""
LETTERS = re.compile(r"#[0-9a-f]{8}(\+?)-(py\d+)")
"""After the name: the letters, whether there is more, and the Python that made them, for the bytes
of the same code differ between versions."""
CODE = (types.FunctionType, types.BuiltinFunctionType, type, types.ModuleType)
PLAIN = (str, int, float, complex, bool, type(None), type(Ellipsis))


def given_name(thing: Any, *, values: bool = True) -> str:
    """What a recipe calls an object that cannot be kept: `given:NAME#1a2b3c4d-py312`.

    Args:
        thing: any object.
        values: False: of what its code uses only code counts, for the rest changes as it is called.
    """
    name = getattr(thing, "__name__", type(thing).__name__)
    found = _Digest(values)
    found.add(thing)
    more = "+" if found.is_partial else ""
    version = "py{}{}".format(*sys.version_info[:2])
    return f"{GIVEN}{name}#{found.hash.hexdigest()}{more}-{version}"


def told_apart(thing: Any) -> str:
    """A thing's name and the letters that tell it apart, for a reader: `NAME#1a2b3c4d`."""
    return given_name(thing).removeprefix(GIVEN).rpartition("-")[0]


def bare(text: str) -> str:
    """A name, or a text with such names, without the letters.

    >>> bare("given:<lambda>#1a2b3c4d-py312"), bare("given:<lambda>")
    ('given:<lambda>', 'given:<lambda>')
    """
    return LETTERS.sub("", text) if GIVEN in text else text


def is_known(text: str) -> bool:
    """Whether letters tell all that can differ of the objects named in a text."""
    return all(more == "" for more, _ in LETTERS.findall(text)) and _maker(text) != ""


def comparable(texts: Sequence[str]) -> list[str]:
    """Texts to compare; without letters, where those of some cannot be compared with others'.

    Some have none, of a time before there were any, or are of another Python. Those that are known
    to be unlike stay so.

    >>> comparable(["given:f", "given:f#1a2b3c4d-py312"])
    ['given:f', 'given:f']
    >>> comparable(["given:f#00000000-py312", "given:f#1a2b3c4d-py312"])
    ['given:f#00000000-py312', 'given:f#1a2b3c4d-py312']
    """
    makers = {_maker(text) for text in texts}
    known = {(_maker(text), text) for text in texts}
    told_apart = len({(maker, bare(text)) for maker, text in known}) < len(known)
    return list(texts) if len(makers) == 1 or told_apart else list(map(bare, texts))


def _maker(text: str) -> str:
    """The Python that made all letters of a text; "": some names have none."""
    found = [python for _, python in LETTERS.findall(text)]
    return " ".join(sorted(set(found))) if len(found) == text.count(GIVEN) else ""


class _Digest:
    """A hash, and whether there was something that it could not look into."""

    def __init__(self, values: bool) -> None:
        self.hash = hashlib.blake2b(digest_size=4)
        self.is_partial = False
        self._values = values
        self._seen: dict[int, int] = {}
        self._alive: list[Any] = []  # or another object gets the id of one that was seen

    def add(self, thing: Any, depth: int = 0) -> None:
        """Take it in."""
        if isinstance(thing, bytes | memoryview):  # perhaps of gigabytes: as they are
            self._mark("bytes", str(len(thing)))
            self.hash.update(thing)
            return
        if isinstance(thing, PLAIN):
            # The digits of a number may be too many for Python.
            text = int.__format__(thing, "x") if isinstance(thing, int) else repr(thing)
            self._mark(type(thing).__name__, text)
            return
        if id(thing) in self._seen:
            self._mark("again", str(self._seen[id(thing)]))
            return
        if len(self._seen) >= MOST_PARTS or depth > DEEPEST:
            self.is_partial = True
            return
        self._seen[id(thing)] = len(self._seen)
        self._alive.append(thing)
        parts = self._parts(thing)
        if parts is None:
            self.is_partial = True
            return
        for part in parts:
            self.add(part, depth + 1)
        self._mark("end")

    def _mark(self, *words: str) -> None:
        for word in words:
            self.hash.update(f"{len(word)} {word}".encode(errors="surrogatepass"))

    def _parts(self, thing: Any) -> list[Any] | None:
        """What it is made of; None: that cannot be seen."""
        self._mark(type(thing).__qualname__)
        if isinstance(thing, types.CodeType):
            names = thing.co_names, thing.co_varnames, thing.co_freevars, thing.co_cellvars
            return [thing.co_code, thing.co_consts, *names]
        if isinstance(thing, types.ModuleType):
            self.is_partial |= not is_library(thing)  # the rest of what its text names
            return [thing.__name__, None if is_library(thing) else _text_of(thing)]
        if _is_of_a_library(thing):
            return [thing.__module__, thing.__qualname__]
        if isinstance(thing, types.FunctionType):
            return self._of_function(thing)
        if isinstance(thing, types.MethodType | types.BuiltinMethodType):
            return [thing.__qualname__, getattr(thing, "__func__", None), thing.__self__]
        if isinstance(thing, type):
            return [thing.__qualname__, thing.__bases__, _of_class(thing)]
        if isinstance(thing, property):
            return [thing.fget, thing.fset]
        if not self._values and not isinstance(thing, tuple | frozenset):
            self.is_partial = True
            return [type(thing)]
        return _of_object(thing)

    def _of_function(self, function: types.FunctionType) -> list[Any]:
        code = function.__code__
        used, stored = _names_in(code)
        found = {name: function.__globals__[name] for name in used if name in function.__globals__}
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # empty yet
                found[name] = cell.cell_contents
        own = {k: v for k, v in found.items() if type(v) is types.ModuleType and not is_library(v)}
        for name, module in own.items():
            if reached := _reached(module, _all_names(code)):
                del found[name]
                found |= reached
        left_out = [k for k, v in found.items() if k in stored or not (self._values or _is_code(v))]
        self.is_partial |= bool(left_out)
        for name in left_out:  # what it keeps count in
            del found[name]
        return [code, function.__defaults__, function.__kwdefaults__, *found, *found.values()]


def _names_in(code: types.CodeType) -> tuple[list[str], set[str]]:
    """Global names that code and the functions inside it read, and names from outside it sets."""
    used, stored = list[str](), set[str]()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            used.append(step.argval)
        elif step.opname in ("STORE_GLOBAL", "STORE_DEREF"):
            stored.add(step.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more, set_there = _names_in(inner)
            used, stored = used + more, stored | set_there
    return used, stored - {*code.co_cellvars}


def _all_names(code: types.CodeType) -> list[str]:
    """Names of globals and attributes, in code and in the functions inside it."""
    inner = [one for one in code.co_consts if isinstance(one, types.CodeType)]
    return list(dict.fromkeys([*code.co_names, *(n for one in inner for n in _all_names(one))]))


def _reached(
    module: types.ModuleType, names: Sequence[str], above: tuple[types.ModuleType, ...] = ()
) -> dict[str, Any]:
    """What code with these names can mean in a module of the user's, and in modules inside it."""
    found: dict[str, Any] = {}
    for name in names:
        if name not in vars(module):
            continue
        value = vars(module)[name]
        if not isinstance(value, types.ModuleType) or is_library(value):
            found[f"{module.__name__}.{name}"] = value
        elif value not in (module, *above):
            found |= _reached(value, names, (module, *above))
    return found


def _of_class(kind: type) -> list[Any]:
    """A class's methods and what its body sets, without what Python adds."""
    own = {k: v for k, v in vars(kind).items() if callable(v) or k[:2] != "__"}
    own.pop("_abc_impl", None)
    kept = {k: getattr(v, "__func__", v) for k, v in own.items() if not inspect.isdatadescriptor(v)}
    kept |= {k: v for k, v in own.items() if isinstance(v, property)}
    return [*kept, *kept.values()]


def _of_object(thing: Any) -> list[Any] | None:
    if type(thing) is dict:
        return [*thing, *thing.values()]
    if type(thing) in (list, tuple):
        return list(thing)
    if isinstance(thing, set | frozenset):
        return sorted(map(repr, thing)) if all(isinstance(one, PLAIN) for one in thing) else None
    if isinstance(thing, np.ndarray) and not thing.dtype.hasobject:
        return [str(thing.dtype), thing.shape, _content(thing)]
    torch = sys.modules.get("torch")
    with suppress(Exception):  # what cannot be pickled cannot be looked into
        if torch is not None and isinstance(thing, torch.Tensor):
            flat = thing.detach().cpu().reshape(-1).contiguous()
            return [str(thing.dtype), [*thing.shape], _content(flat.view(torch.uint8).numpy())]
        made = thing.__reduce_ex__(4)
        if not isinstance(made, str):
            return list(map(_listed, made))
        if not callable(thing):
            return [made]
        if hasattr(thing, "__wrapped__"):  # a function with a cache, of which that is but the name
            return [made, thing.__wrapped__]
    return None


def _content(array: np.ndarray) -> memoryview:
    """The bytes of an array, not copied where they lie in a row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _listed(part: Any) -> Any:
    """A part of what `__reduce_ex__` says; of an iterator what it yields."""
    return list(part) if isinstance(part, Iterator) else part


def _is_code(thing: Any) -> bool:
    return isinstance(thing, CODE)


def _is_of_a_library(thing: Any) -> bool:
    """Whether its name is enough to know what it is."""
    if not _is_code(thing) or "<locals>" in thing.__qualname__:
        return False
    if isinstance(thing, types.BuiltinFunctionType) and not _is_code(thing.__self__):
        return thing.__self__ is None
    home = sys.modules.get(getattr(thing, "__module__", None) or "builtins")
    return home is not None and home.__name__ != "__main__" and is_library(home)


def _text_of(module: types.ModuleType) -> str | None:
    with suppress(OSError, UnicodeDecodeError):
        return Path(module.__file__ or "").read_text("utf-8")
    return None
