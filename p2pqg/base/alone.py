"""One process of this machine at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other process of this machine is inside; where files cannot be locked, some may be.

    Args:
        path: a file that is locked, empty; it is made, and stays.
    """
    lock = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w", encoding="ascii")
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        pass
    try:
        yield
    finally:
        if lock is not None:
            lock.close()
