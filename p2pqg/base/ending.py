"""A process that ends with the one that started it, also where that was killed."""

from __future__ import annotations

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
"""What Linux's prctl calls the signal that the kernel sends when the parent process ends."""


def end_with_the_parent() -> None:
    """From now on this process ends at once with its parent, whatever it computes; on Linux.

    To the kernel the parent is the *thread* that started it, which has to wait for it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
