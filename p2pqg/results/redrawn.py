"""Networks that an older version drew otherwise under the same name."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from p2pqg.base.errors import P2pqgError
from p2pqg.base.text import read_json
from p2pqg.network.stored import fingerprint
from p2pqg.results.checkpoint import CHECKPOINTS, HEADER, newest
from p2pqg.topology import build

REDRAWN = ("base", "simple-base", "bipartite-exponential")
"""Networks whose W has changed since version 0.1.0."""


def drawn_otherwise(run: Path, topology: str) -> bool:
    """Whether a run had another network than this version builds by that name.

    Told by its checkpoints, of which one may be damaged, or later than a change of the network; of
    a run without any nobody can know, and the answer is no.

    Args:
        run: its directory.
        topology: the network's name.
    """
    if re.split(r"[\d:]", topology)[0] not in REDRAWN:
        return False
    for path in newest(run / CHECKPOINTS):
        with suppress(OSError, ValueError, LookupError, TypeError, P2pqgError):
            stored = read_json(path / HEADER)["network"]["topology"]
            if stored["fingerprint"] != _now(stored["name"]):
                return True
    return False


@lru_cache(maxsize=256)
def _now(topology: str) -> str:
    return fingerprint(build(topology))
