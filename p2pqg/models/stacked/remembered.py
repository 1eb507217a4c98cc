"""What was found out about ways to compute is kept: a file per model, shape, card and versions.

Files are in the cache, and may be deleted at any time. One that cannot be read, or is about
something else, is as good as none; where nothing can be written, everybody finds out anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from p2pqg.base.alone import alone
from p2pqg.base.cache_dir import cache_dir
from p2pqg.base.text import json_text, read_json, write_text
from p2pqg.models.stacked.trying import Tried

FOLDER = "captured"

BEGAN, WORKED = "began", "worked"
"""How it went when a process began to use it; a process that dies then leaves "began"."""


class Remembered:
    """What is known of one key.

    Attributes:
        path: the file.
        tried: what came of each way; empty: nothing is known.
        use: `BEGAN`, `WORKED`, why it failed, or "": nobody has used it yet.
        notes: what was wrong with the file, a line each.
    """

    def __init__(self, key: Mapping[str, Any]) -> None:
        """`key`: plain data, all that the answer depends on."""
        self.key = dict(json.loads(json.dumps(key)))
        text = json.dumps(self.key, sort_keys=True).encode()
        name = hashlib.blake2b(text, digest_size=12).hexdigest()
        self.path = cache_dir() / FOLDER / f"{name}.json"
        self.tried: list[Tried] = []
        self.use = ""
        self.notes: list[str] = []
        self.read()

    def read(self) -> None:
        """What the file says by now."""
        try:
            said = read_json(self.path)
            if said["key"] != self.key:
                self._note(f"{self.path} is about something else and is ignored")
                return
            tried = [Tried(**one) for one in said["tried"]]
            if not all(isinstance(one.ms, float | int) for one in tried):
                raise ValueError("times are numbers")
            self.tried, self.use = tried, str(said["use"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._note(f"{self.path} cannot be read and is ignored")

    def write(self, tried: list[Tried] | None = None, use: str | None = None) -> None:
        """Put it on record, what was not given as it was."""
        self.tried = self.tried if tried is None else tried
        self.use = self.use if use is None else use
        content = {"key": self.key, "use": self.use, "tried": [t._asdict() for t in self.tried]}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json_text(content) + "\n")
        except OSError as error:
            self._note(f"{self.path} cannot be written ({error.strerror})")

    def _note(self, line: str) -> None:
        if line not in self.notes:
            self.notes.append(line)

    def alone(self) -> AbstractContextManager[None]:
        """No other process of this machine is inside; where files cannot be locked, some may be."""
        return alone(self.path.with_suffix(".lock"))
