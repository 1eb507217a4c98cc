"""The folder of a Ray of our own: only its owner may enter it, and it goes when that Ray is gone.

Ray opens its own folders to everybody on the machine, so they lie inside of one that is closed. The
token that Ray's ports ask for lies there too.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from p2pqg.base.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]

PREFIX = "p2pqg-"
LOCK = "lock"
"""A file in the folder, locked while the process lives that made it."""

LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes that the path of a socket may have."""

INSIDE = "/p2pqg-12345678/r/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store"
LONGEST_PLACE = LONGEST_SOCKET - len(INSIDE)
"""Bytes of the path in which such a folder may lie, so that Ray's sockets have room in it."""

SECONDS_TO_VANISH = 2.0
"""Processes of Ray that are about to end may write into the folder until then."""


class OwnFolder:
    """A temporary folder of mode 0700 for one Ray.

    Attributes:
        path: of the folder.
        ray: of the folder in it that Ray may do with as it likes.
        token: of the file with the token.
    """

    def __init__(self) -> None:
        """Make one, and sweep out those whose process was killed.

        Raises:
            ConfigError: there is no place for it.
        """
        self.path = _make()
        self.ray = self.path / "r"
        self.token = self.path / "token"
        self._lock = _locked_file(self.path)
        self.ray.mkdir()
        with os.fdopen(
            os.open(self.token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w"
        ) as file:
            file.write(secrets.token_hex(32))
        sweep(self.path.parent)

    def remove(self) -> None:
        """Take it away, once Ray has been shut down."""
        deadline = time.monotonic() + SECONDS_TO_VANISH
        while self.path.exists():
            shutil.rmtree(self.path, ignore_errors=True)
            if time.monotonic() > deadline:
                break  # the next start sweeps it out
            time.sleep(0.01)
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def places() -> Iterator[str]:
    """Where such a folder may lie, the best first."""
    for variable in ("RAY_TMPDIR", "TMPDIR"):
        if place := os.environ.get(variable):
            yield place
    with suppress(OSError):
        yield tempfile.gettempdir()
    yield from ("/tmp", "/var/tmp")
    if place := os.environ.get("XDG_RUNTIME_DIR"):
        yield place
    yield "/dev/shm"


def _make() -> Path:
    tried = dict.fromkeys(places())
    for place in tried:
        if os.name == "nt" or len(os.fsencode(os.path.abspath(place))) <= LONGEST_PLACE:
            with suppress(OSError):
                return Path(tempfile.mkdtemp(prefix=PREFIX, dir=os.path.abspath(place)))
    raise ConfigError(
        f"TMPDIR: Ray needs a folder that can be written and whose path has at most "
        f"{LONGEST_PLACE} bytes, for its sockets; none of {', '.join(tried)} is one. Set TMPDIR "
        "to such a folder, or use --engine local"
    )


def _locked_file(folder: Path) -> IO[str] | None:
    """The lock of a folder, taken before it is seen under its name; None: no locks here."""
    if fcntl is None:
        return None
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # a file system that knows no locks: nobody sweeps it
        file.close()
        return None
    (folder / ".lock").rename(folder / LOCK)
    return file


def sweep(place: Path) -> None:
    """Remove the folders there that were left behind by processes that were killed."""
    if fcntl is None:
        return
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            with (folder / LOCK).open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its maker lives
                shutil.rmtree(folder, ignore_errors=True)
