"""Ctrl-C at a time when it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

POLITE = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""What asks a process to end: Ctrl-C, a polite kill, a terminal that is closed."""


INSISTENT = 5
"""Who asks so often means at once, whatever is lost."""


_noted: list[tuple[Any, ...]] = []
"""Signals, with their frames, that came while something ran to its end."""
_inside: list[Callable[[], None]] = []
"""What is told, from the outermost to the innermost, if somebody insists."""


@contextmanager
def uninterrupted(
    *, forget: bool = False, torn: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """What is inside runs to its end; a Ctrl-C or a polite kill comes after it.

    One inside another ends with that.

    Args:
        forget: or not at all, as the end has come already.
        torn: called where somebody insists, so that it does not run to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread anyway
        return
    before = len(_noted)
    with _keeping_quiet() if not _inside else nullcontext():
        _inside.append(torn)
        try:
            yield
        finally:
            _inside.pop()
            if forget:
                del _noted[before:]


@contextmanager
def _keeping_quiet() -> Iterator[None]:
    """The handlers only note what comes, until somebody insists; afterwards it is made up for."""
    handlers = {number: signal.getsignal(number) for number in POLITE}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}

    def note(*signal_and_frame: Any) -> None:
        _noted.append(signal_and_frame)
        if len(_noted) >= INSISTENT:
            try:
                ours[signal_and_frame[0]](*signal_and_frame)
            except BaseException:  # so it does end; a script's own handler may only note it
                for torn in _inside:
                    torn()
                raise

    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        noted = [*_noted]
        _noted.clear()
        if 0 < len(noted) < INSISTENT:
            ours[noted[0][0]](*noted[0])


@contextmanager
def to_the_end() -> Iterator[Callable[[], None]]:
    """Yields what to call when it has been stopped: nobody stops what then has to be done."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(uninterrupted(forget=True))
