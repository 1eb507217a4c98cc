"""How much memory there is, asked before it is taken."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.wording import human_bytes

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Where a container is told its limit, and what it has taken of it: version 2 and 1."""


def available_memory() -> int | None:
    """Bytes that new processes can have, as Linux tells it; None elsewhere.

    The least of what is free, of what a container may take, and of the process's own limit.
    """
    limits = []
    with suppress(OSError, ValueError, KeyError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        limits.append(int(fields["MemAvailable"].split()[0]) * 1024)
    for limit, taken in CGROUPS:
        with suppress(OSError, ValueError):  # "max": there is none
            limits.append(int(Path(limit).read_text("utf-8")) - int(Path(taken).read_text("utf-8")))
    with suppress(ImportError):  # Windows
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            limits.append(most)
    return max(0, min(limits)) if limits else None


def check_room(needed: int, what: str, repair: str, error: type[ConfigError] = DataError) -> None:
    """Refuse what cannot fit, before any memory is taken for it.

    Args:
        needed: bytes.
        what: that needs them, for the message.
        repair: what to do about it.
        error: to raise.

    Raises:
        DataError: there is less memory.
    """
    there = available_memory()
    if there is not None and needed > there:
        raise error(
            f"{what} would take {human_bytes(needed)} of memory, {human_bytes(there)} are free; "
            f"{repair}"
        )
