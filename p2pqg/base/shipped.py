"""Files that come with p2pqg."""

from __future__ import annotations

from pathlib import Path


def shipped_folder(kind: str) -> Path:
    """`topologies` or `runs`: inside an installed package, or at the top of a checkout."""
    here = Path(__file__).parents[1]
    installed = here / "shipped" / kind
    return installed if installed.is_dir() else here.parent / kind
