"""Finished runs: Parquet -> pandas, and tables over many of them. Never imports the engine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from p2pqg.errors import ConfigError


@dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes:
        path: its directory, see public columns in `p2pqg.records`.
    """

    path: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        return json.loads((self.path / "summary.json").read_text())

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """rounds.parquet: one row per recorded round."""
        return pd.read_parquet(self.path / "rounds.parquet")

    @cached_property
    def clients(self) -> pd.DataFrame:
        """clients.parquet: one row per evaluation and client."""
        return pd.read_parquet(self.path / "clients.parquet")


def load(path: str | Path) -> Run:
    """The run in a directory.

    Raises:
        ConfigError: there is none, or it has no summary yet.
    """
    path = Path(path)
    if not (path / "summary.json").exists():
        raise ConfigError(f"{path}: no finished run here (summary.json is missing)")
    return Run(path)
