"""Which p2pqg this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "not installed"


def own_version() -> str:
    """Its version; `UNKNOWN` where it is used as it lies, without having been installed."""
    try:
        return version("p2pqg")
    except PackageNotFoundError:
        return UNKNOWN
