"""Machinery only: mappings -> frozen data classes, with every problem reported at once.

Defaults, types and rules live with the data classes, next to the code that uses them: a field's
type says what it may be, its range too (`ranges.py`), and `problems()` yields one line for each
other rule that is broken.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from p2pqg.base import yaml_text
from p2pqg.base.errors import ConfigError, did_you_mean, readable
from p2pqg.base.ranges import broken_rules, keys_of, shown
from p2pqg.base.wording import shortened

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
MOST = 100
"""Letters of a value in a message; it may be an array."""


def read(cls: type[T], values: Mapping[str, Any], prefix: str = "") -> tuple[T | None, list[str]]:
    """Fill a frozen data class from a mapping.

    Args:
        cls: data class, perhaps with a method `problems()`, which yields a line for each rule that
            is broken: it begins with the key, or is `ranges.broken(line, *keys)`.
        values: key -> value as YAML or a flag gave it; "3" becomes 3 where an integer is wanted.
        prefix: where the mapping stands, e.g. "algorithm.".

    Returns:
        (the object, []) or (None, problems), a line each: key, rule, value.
    """
    hints, checks = _types(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}
    problems, taken = [], {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in known:
            hint = did_you_mean(name, known) if known else "; there is nothing to set"
            problems.append(f"unknown key {prefix}{key}{hint}")
            continue
        try:
            plainly = str(value) if isinstance(value, Path) else value
            found = checks[name].validate_python(plainly)
            if _counts_a_flag(value, found):
                raise TypeError  # `rounds: yes` is no number, though it would do as 1
            taken[name] = found
        except (ValidationError, TypeError):
            got = "a function" if callable(value) else shortened(written(value), MOST)
            problems.append(f"{prefix}{name} must be {describe_type(hints[name])}, got {got}")
    missing = [
        name
        for name, f in known.items()
        if name not in taken
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    given = {str(key).replace("-", "_") for key in values}
    problems += [f"{prefix}{name} is missing; set it" for name in missing if name not in given]
    if missing:
        return None, problems
    made = cls(**taken)  # where a value was refused, the default stands in, to try the others
    refused = given - {*taken}  # nobody gave the default that stands in: no word of it
    broken = broken_rules(made, prefix)
    problems += [line for line in broken if refused.isdisjoint(keys_of(line))]
    return (None, problems) if problems else (made, [])


def written(value: Any) -> str:
    """A value on one line."""
    try:
        return readable(" ".join(repr(value).split()))
    except ValueError:  # Python writes down no number of thousands of digits
        if isinstance(value, int):
            return shown(value)
        return f"a {type(value).__name__} that cannot be written down"


def _counts_a_flag(value: Any, found: Any) -> bool:
    """Whether true or false was taken for a number, perhaps one of a list."""
    if isinstance(value, (list, tuple)) and isinstance(found, (list, tuple)):
        return any(map(_counts_a_flag, value, found))
    return isinstance(value, (bool, np.bool_)) and type(found) in (int, float)


@functools.cache
def _types(cls: type) -> tuple[dict[str, Any], dict[str, TypeAdapter[Any]]]:
    """The types of a data class's fields, and what checks them; a sweep needs them often."""
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    return hints, {name: _check_of(hints[name]) for name in names}


def _check_of(hint: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(hint)
    except PydanticSchemaGenerationError:  # a class that it does not know, such as nn.Module
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def describe_type(hint: Any) -> str:
    """A type in plain words: `int | None` -> "an integer or nothing"."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(describe_type(a) for a in args)
    if origin is typing.Literal:
        return " or ".join(str(a) for a in args)
    if origin in (tuple, list):
        if args[0] is typing.Any:
            return "a list"
        return f"a list of {describe_type(args[0]).removeprefix('an ').removeprefix('a ')}s"
    named = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "a text",
        dict: "a mapping",
        type(None): "nothing",
    }
    return named.get(origin or hint, getattr(hint, "__name__", str(hint)))


@functools.cache
def sentences(cls: type) -> dict[str, str]:
    """Field of a data class, or of those it builds on -> what stands below it in the source."""
    found: dict[str, str] = {}
    for kind in reversed(cls.__mro__):
        if dataclasses.is_dataclass(kind):
            found |= _own_sentences(kind)
    return found


def _own_sentences(cls: type) -> dict[str, str]:
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(ast.literal_eval(below.value).split())
        for field, below in itertools.pairwise(body.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
    }


def made(cls: type[T], values: Mapping[str, Any], prefix: str = "", where: str = "") -> T:
    """`read`, for where a problem is an error.

    Raises:
        ConfigError: with every problem; `where` stands before them.
    """
    made, problems = read(cls, values, prefix)
    if made is None:
        raise ConfigError.of(problems, where)
    return made


class Problems:
    """Collects what is wrong with several things, so that all of it is told at once.

    >>> problems = Problems()
    >>> with problems:
    ...     raise ConfigError("lr must be > 0, got 0")
    >>> with problems:  # is tried all the same
    ...     raise ConfigError("unknown key momentun")
    >>> problems.lines
    ['lr must be > 0, got 0', 'unknown key momentun']
    """

    def __init__(self) -> None:
        self.errors: list[ConfigError] = []

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, ConfigError):
            return False
        self.errors.append(error)
        return True

    @property
    def lines(self) -> list[str]:
        return [line for error in self.errors for line in error.lines]

    def refuse(self) -> None:
        """Raise the one error that there is, or one for all of them."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise ConfigError.of(self.lines)


def load_yaml(path: Path) -> dict[str, Any]:
    """A recipe's mapping; ConfigError with the line where the file is not YAML."""
    try:
        content = yaml_text.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not valid YAML: bad characters; save it as UTF-8") from None
    except yaml_text.NotYaml as error:
        where = f" at line {error.line}" if error.line else ""
        raise ConfigError(f"{path}: not valid YAML{where}: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a mapping of keys to values, got {content!r:.60}")
    return content


def plain(value: Any) -> Any:
    """Data classes, tuples and paths as mappings, lists and texts, ready for YAML or JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
