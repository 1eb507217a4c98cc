"""Runs on disk -> where they stand, be they finished or not, and what a page calls them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from p2pqg.base.errors import ConfigError
from p2pqg.base.text import user_path, without_folders_but_unlike
from p2pqg.base.wording import plain_text
from p2pqg.page.seeds import Seeds
from p2pqg.results import alike
from p2pqg.results.alike import settings_of
from p2pqg.results.columns import measured
from p2pqg.results.comparison_text import set_apart
from p2pqg.results.run import Run
from p2pqg.results.schemas import (
    CLIENT_COLUMNS,
    LIAR_COLUMNS,
    ROUND_COLUMNS,
    STALENESS_COLUMNS,
    STEPS_COLUMNS,
    TIMING_COLUMNS,
)
from p2pqg.results.search import begun_below, find_runs
from p2pqg.results.standing import Standing

LONGEST_LABEL = 36
FILES = {
    "config": "config.yaml",
    "summary": "summary.json",
    "rounds": "rounds.parquet",
    "clients": "clients.parquet",
    "failure": "failed.json",
}
"""What `Run` calls them, and where they are."""


def gather(paths: Iterable[str | Path]) -> list[Standing]:
    """Every run in or below the directories, in the order in which they are named.

    Raises:
        ConfigError: no run there, a file that cannot be read, or nothing recorded.
    """
    shown = [read(run) for run in runs_in(paths)]
    if all(one.rounds.empty for one in shown):
        where = ", ".join(str(one.path) for one in shown)
        reason = next((f" ({one.failure})" for one in shown if one.failure), "")
        raise ConfigError(f"{where}: nothing was recorded{reason}")
    return shown


def runs_in(paths: Iterable[str | Path]) -> list[Run]:
    """Every run in or below the directories, also such as have only begun.

    Raises:
        ConfigError: no run there.
    """
    found: dict[Path, Run] = {}
    for path in map(user_path, paths):
        if not path.is_dir():
            raise ConfigError(f"{path}: no such run directory")
        going = begun_below(path, surely=False)
        try:
            runs = find_runs([path])
        except ConfigError:
            if not going:
                raise
            runs = []
        for run in [*runs, *map(Run, going)]:
            found.setdefault(run.path.resolve(), run)
    return list(found.values())


def read(run: Run) -> Standing:
    """What is on disk of a run by now.

    Raises:
        ConfigError: a file that cannot be read.
    """
    _content(run, "failure")
    config = _content(run, "config") or {}
    lacking = [key for key in ("topology", "clients", "algorithm") if not config.get(key)]
    if lacking:
        raise ConfigError(f"{run.path}/config.yaml is not that of a run: {lacking[0]} is missing")
    return Standing(
        config,
        _content(run, "summary") or {},
        _frame(run, "rounds", [*ROUND_COLUMNS, *LIAR_COLUMNS, *TIMING_COLUMNS, *STALENESS_COLUMNS]),
        _frame(run, "clients", [*CLIENT_COLUMNS, *STEPS_COLUMNS]),
        run,
    )


def _content(run: Run, name: str) -> Any:
    """What is in a file of the run; None where it is not there yet."""
    return getattr(run, name) if (run.path / FILES[name]).exists() else None


def _frame(run: Run, name: str, columns: list[str]) -> pd.DataFrame:
    """Rows with all the columns, as numbers; NaN where there is none, or no finite one."""
    frame = _content(run, name)
    if frame is None or frame.empty:
        return pd.DataFrame(columns=columns, dtype=float)
    try:
        more = measured(frame) if name == "rounds" else [k for k in frame if k not in columns]
        frame = frame.reindex(columns=[*columns, *more]).astype(float)
    except (ValueError, TypeError):
        raise ConfigError(f"{run.path / FILES[name]}: its columns must be numbers") from None
    if frame["round"].isna().any():
        raise ConfigError(f"{run.path / FILES[name]}: the column round is missing or has gaps")
    return frame.where(frame.abs() != float("inf"))


def differing(shown: Sequence[Standing]) -> pd.DataFrame:
    """The settings in which runs differ, as texts: a row per run, a column per setting."""
    settings = settings_of(shown)
    together = {"seed"} if any(isinstance(one, Seeds) for one in shown) else set()
    keys = [key for key in alike.differing(settings) if key not in together]
    return settings[keys].map(plain_text)


def labels(shown: Sequence[Standing]) -> list[str]:
    """A short name for every run: what sets it apart; its directory's name where nothing does."""
    if len(shown) == 1:
        return [shown[0].part("algorithm")]
    settings = differing(shown)
    homes = [(one.home if isinstance(one, Seeds) else one.path).absolute() for one in shown]
    places = without_folders_but_unlike(map(str, homes))
    names = []
    # By index: Pandas 2 has no records of a frame without columns.
    for home, row in zip(homes, settings.to_dict("index").values(), strict=True):
        name = ", ".join(set_apart(row))
        names.append(name if name and len(name) <= LONGEST_LABEL else places[str(home)])
    return [
        name if names.count(name) == 1 else f"{name} ({places[str(home)]})"
        for home, name in zip(homes, names, strict=True)
    ]
