"""Ctrl-C while the program is still being loaded, which is most of its first third of a second."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

OURS = ("p2pqg", "p2pqg.exe", "p2pqg-script.py", "-m", os.path.join("p2pqg", "__main__.py"))
"""How the program's name ends while it is loaded; the last two: `python -m p2pqg`."""


@contextmanager
def stopped_in_a_line() -> Iterator[None]:
    """Who stops it meanwhile gets the line and the exit code of later, not a traceback.

    Nothing has begun by then. Another program that loads us is left as it is.
    """
    is_ours = sys.argv and f"{os.sep}{sys.argv[0]}".endswith(tuple(f"{os.sep}{n}" for n in OURS))
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else's, or ignored, as of nohup
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    os.write(2, b"StoppedError: stopped\n")
    os._exit(1)
