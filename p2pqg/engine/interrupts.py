"""Ctrl-C at a time when it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

POLITE = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What asks a process to end: Ctrl-C, a polite kill, a terminal that is closed."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """What is inside runs to its end; a Ctrl-C or a polite kill comes after it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread anyway
        return
    handlers = {number: signal.getsignal(number) for number in POLITE}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    noted: list[tuple[Any, ...]] = []
    for number in ours:
        signal.signal(number, lambda *signal_and_frame: noted.append(signal_and_frame))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for signal_and_frame in noted[:1]:
            ours[signal_and_frame[0]](*signal_and_frame)
