"""What a user's own function can be given: its signature as a params class of a recipe."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from p2pqg.base.errors import ConfigError

PLAIN = (str, int, float, bool, type(None))
_KINDS = {"int": int, "float": float, "str": str, "bool": bool}


def params_of(function: Callable[..., Any], given: Iterable[str]) -> type:
    """A frozen data class with a field for each parameter that a recipe may set.

    Args:
        function: or a class.
        given: parameters that are filled in by us, and cannot be set.
    """
    fields: list[Any] = []
    for name, parameter in parameters(function).items():
        if name in given or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind = _kind(parameter.annotation)
        if parameter.default is parameter.empty:
            fields.append((name, kind))
        elif is_plain(parameter.default):
            default: Any = parameter.default
            if isinstance(default, list):
                default = tuple(default)
            fields.append((name, kind, dataclasses.field(default=default)))
    return dataclasses.make_dataclass(
        "Params", fields, frozen=True, kw_only=True, namespace={"__doc__": "What may be set."}
    )


def positional(
    function: Callable[..., Any], names: tuple[str, ...], what: str, *, every: bool = False
) -> dict[str, str]:
    """Which of a function's parameters stand for those of ours: ours -> its own name.

    Its parameters of our names are ours; where none is, the first that have no default, in order.

    Args:
        function: or a class.
        names: ours.
        what: it is, for messages.
        every: it is given all of ours: where some have their names, the others stand for the rest.

    Raises:
        ConfigError: it leaves no room for them.
    """
    all_of_them = parameters(function)
    found = {name: name for name in names if name in all_of_them}
    rest = [name for name in names if name not in found]
    if found and not (every and rest):
        return found
    bare = [
        name
        for name, p in all_of_them.items()
        if name not in found
        and p.default is p.empty
        and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if len(bare) != len(rest) and (bare or found):
        raise ConfigError(
            f"{what} must take ({', '.join(names)}) or nothing that has no default, got "
            f"({', '.join(all_of_them)})"
        )
    return found | dict(zip(rest, bare, strict=False))


def check_takes(
    function: Callable[..., Any],
    names: tuple[str, ...],
    what: str,
    error: type[ConfigError] = ConfigError,
) -> None:
    """Refuse a function that cannot be called with so many values.

    Args:
        function: or whatever is called.
        names: what it is called with.
        what: it is, for messages.
        error: what is raised where it cannot.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: nobody can tell
        return
    try:
        signature.bind(*names)
    except TypeError:
        takes = ", ".join(signature.parameters)
        raise error(f"{what} must take ({', '.join(names)}), got ({takes})") from None


def bare(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters that have no default."""
    return [name for name, p in parameters(function).items() if p.default is p.empty]


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Name -> parameter; none where nobody can tell."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # written in C
        return {}


def _kind(annotation: Any) -> Any:
    if isinstance(annotation, str):
        return _KINDS.get(annotation, Any)
    return annotation if annotation in _KINDS.values() else Any


def is_plain(value: Any) -> bool:
    """Whether a recipe, or code, can say a value: texts, numbers, nothing; lists of these."""
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return isinstance(value, PLAIN)
