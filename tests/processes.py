"""Processes of this machine and the ports on which they listen, as Linux tells it."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

LISTENS = "0A"


def children(pid: int) -> list[int]:
    """All processes that a process has started, and those that these have started, itself first."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "stat").read_text().rpartition(")")[2].split()
            if words[0] != "Z":
                parents.setdefault(int(words[1]), []).append(int(entry.name))
    found = [pid]
    for process in found:
        found += parents.get(process, [])
    return found


class Listener(NamedTuple):
    """A TCP socket on which a process listens."""

    address: str
    port: int
    pid: int
    name: str


def listening(pids: list[int]) -> list[Listener]:
    """All TCP sockets on which these processes listen."""
    sockets = {}
    for pid in pids:
        with suppress(OSError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    sockets[os.readlink(link)] = pid, name
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            owner = sockets.get(f"socket:[{words[9]}]")
            if words[3] == LISTENS and owner:
                host, port = words[1].split(":")
                found.append(Listener(_address(host), int(port, 16), *owner))
    return sorted(found)


def _address(digits: str) -> str:
    """Of the kernel's table: words of four bytes in the machine's order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
