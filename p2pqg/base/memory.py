"""How much memory there is, asked before it is taken."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.errors import DataError
from p2pqg.base.wording import human_bytes


def available_memory() -> int | None:
    """Bytes that new processes can have, as Linux tells it; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def check_room(needed: int, what: str, repair: str) -> None:
    """Refuse data that cannot fit, before any memory is taken for them.

    Args:
        needed: bytes.
        what: that needs them, for the message.
        repair: what to do about it.

    Raises:
        DataError: there is less memory.
    """
    there = available_memory()
    if there is not None and needed > there:
        raise DataError(
            f"{what} would take {human_bytes(needed)} of memory, {human_bytes(there)} are free; "
            f"{repair}"
        )
