"""What time it is, for measuring: that a clock is set while a run goes on changes nothing."""

from __future__ import annotations

import time

_BEGAN = time.time() - time.monotonic()


def now() -> float:
    """Seconds since the epoch, by what the clock said when this process began; never goes back.

    Processes of one machine agree, unless its clock was set between their beginnings.
    """
    return _BEGAN + time.monotonic()
