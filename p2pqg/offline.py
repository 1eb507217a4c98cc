"""Downloads can be forbidden: whoever only looks at results must not fetch a data set for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FORBIDDEN = ContextVar("downloads are forbidden", default=False)


@contextmanager
def no_downloads() -> Iterator[None]:
    """Inside, what is not on this machine is missing, and no network is asked."""
    before = _FORBIDDEN.set(True)
    try:
        yield
    finally:
        _FORBIDDEN.reset(before)


def may_download() -> bool:
    """Whether data and models may be fetched from the network."""
    return not _FORBIDDEN.get()
