"""Runs in and below folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from p2pqg.base.errors import ConfigError
from p2pqg.base.text import user_path
from p2pqg.results.directory import FAILED, LOCK
from p2pqg.results.run import Run

EXPORTED = "runs.parquet"
"""What is there where runs were exported, see `p2pqg.results.run_frames.export`."""


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Every run in or below the directories, in order of their paths.

    Raises:
        ConfigError: a directory has no run in it.
    """
    found: dict[Path, Run] = {}
    for path in map(user_path, paths):
        runs = runs_below(path)
        if not runs:
            raise ConfigError(f"{path}: no run in or below it (no summary.json)")
        found |= runs
    return [found[path] for path in sorted(found)]


def with_runs(paths: Iterable[str | Path], tell: Callable[[str], None]) -> list[Path]:
    """The paths that are runs, or have runs below them: sweeps, exported tables.

    Args:
        paths: as `runs/out/*` may give them: reports, notes and empty folders too.
        tell: called with a line for each that is left out.

    Raises:
        ConfigError: a path is not there, or there is no run at all.
    """
    given = list(map(user_path, paths))
    for path in given:
        if not path.exists():
            raise ConfigError(f"{path}: no such run directory")
    found = [path for path in given if runs_below(path) or (path / EXPORTED).is_file()]
    if not found:
        told = ", ".join(map(str, given))
        raise ConfigError(f"{told}: no run in or below it (no summary.json)")
    for path in given:
        if path not in found:
            tell(f"skipped {path}: no run in it")
    return found


def num_unfinished(paths: Iterable[str | Path]) -> int:
    """How many runs in or below the directories neither finished nor failed."""
    found: dict[Path, Run] = {}
    for path in map(user_path, paths):
        found |= runs_below(path) | {begun.resolve(): Run(begun) for begun in begun_below(path)}
    return sum(not run.finished and run.failure is None for run in found.values())


def begun_below(path: Path, surely: bool = True) -> list[Path]:
    """Directories of runs that have no end on record: they still go, or were killed.

    `surely`: without those of which nobody knows whether they are of a run, as there is a
    config.yaml and no more.
    """
    folders = [file.parent for file in sorted(path.rglob("config.yaml"))]
    open_ended = [folder for folder in folders if not _has(folder, ENDED)]
    return [folder for folder in open_ended if _has(folder, BEGUN) or not surely]


BEGUN, ENDED = ("rounds.parquet", LOCK), ("summary.json", FAILED)


def _has(folder: Path, names: Iterable[str]) -> bool:
    return any((folder / name).exists() for name in names)


def runs_below(path: Path) -> dict[Path, Run]:
    files = [file for name in ENDED for file in path.rglob(name)]
    return {file.parent.resolve(): Run(file.parent) for file in files}
