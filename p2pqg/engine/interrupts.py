"""Ctrl-C at a time when it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

POLITE = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What asks a process to end: Ctrl-C, a polite kill, a terminal that is closed."""


INSISTENT = 5
"""Who asks so often means at once, whatever is lost."""


@contextmanager
def uninterrupted(*, forget: bool = False) -> Iterator[None]:
    """What is inside runs to its end; a Ctrl-C or a polite kill comes after it.

    Args:
        forget: or not at all, as the end has come already.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread anyway
        return
    handlers = {number: signal.getsignal(number) for number in POLITE}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    noted: list[tuple[Any, ...]] = []

    def note(*signal_and_frame: Any) -> None:
        noted.append(signal_and_frame)
        if len(noted) >= INSISTENT:
            ours[signal_and_frame[0]](*signal_and_frame)

    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if noted and len(noted) < INSISTENT and not forget:
            ours[noted[0][0]](*noted[0])


@contextmanager
def to_the_end() -> Iterator[Callable[[], None]]:
    """Yields what to call when it has been stopped: nobody stops what then has to be done."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(uninterrupted(forget=True))
