"""Environment variables, and attributes of others, that are something else for a while."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Environment variables set, or unset, while inside."""
    before = {name: os.environ.get(name) for name in changes}
    _set(changes)
    try:
        yield
    finally:
        _set(before)


def _set(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def instead(owner: Any, **replacements: Any) -> Iterator[list[str]]:
    """While inside, other attributes in place of those that are there; yields their names."""
    kept = {name: getattr(owner, name) for name in replacements if hasattr(owner, name)}
    for name in kept:
        setattr(owner, name, replacements[name])
    try:
        yield list(kept)
    finally:
        for name, value in kept.items():
            setattr(owner, name, value)
