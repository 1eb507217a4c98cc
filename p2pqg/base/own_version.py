"""Which p2pqg this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

UNKNOWN = "not installed"


def own_version() -> str:
    """The version of p2pqg; `UNKNOWN` where it is used as it lies, and was never installed."""
    try:
        return version("p2pqg")
    except PackageNotFoundError:
        return UNKNOWN
