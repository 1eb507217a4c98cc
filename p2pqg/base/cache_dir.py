"""Where p2pqg keeps what it may lose: downloads, decoded data, what was found out about a card."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """$P2PQG_CACHE, else p2pqg in $XDG_CACHE_HOME, else ~/.cache/p2pqg."""
    if own := os.environ.get("P2PQG_CACHE"):
        return Path(own)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "p2pqg"
