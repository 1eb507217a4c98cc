"""What a drawing may be called: known before anything is computed, and without matplotlib."""

from __future__ import annotations

from pathlib import Path

from p2pqg.base.errors import ConfigError
from p2pqg.base.text import user_path

FORMATS = (".png", ".svg", ".pdf")


def drawing_path(path: str | Path) -> Path:
    """Where a drawing is to be written.

    Raises:
        ConfigError: another suffix.
    """
    path = user_path(path)
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"a drawing must end in {', '.join(FORMATS)}, got {path.name!r}")
    return path
