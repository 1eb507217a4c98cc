"""A stop while the program is still being loaded, most of its first third of a second."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OURS = ("p2pqg", "p2pqg.exe", "p2pqg-script.py", "-m", os.path.join("p2pqg", "__main__.py"))
"""How the program's name ends while it is loaded; the last two: `python -m p2pqg`."""


@contextmanager
def stopped_in_a_line() -> Iterator[None]:
    """Who stops it meanwhile gets the line and the exit code of later, not a traceback or silence.

    Nothing has begun by then. Another program that loads us is left as it is.
    """
    is_ours = sys.argv and f"{os.sep}{sys.argv[0]}".endswith(tuple(f"{os.sep}{n}" for n in OURS))
    usual = (signal.default_int_handler, signal.SIG_DFL)  # else ignored, as of nohup, or another's
    names = ("SIGINT", "SIGTERM", "SIGHUP") if is_ours else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {n: handler for n in numbers if (handler := signal.getsignal(n)) in usual}
    for number in before:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(*_: object) -> None:
    try:
        os.write(2, b"StoppedError: stopped\n")
    finally:  # perhaps the terminal has gone
        os._exit(1)
