"""Many runs as one frame, be they run directories or exported.

A frame of runs has a row per run: its settings under dotted keys (see `p2pqg.base.dotted`), then
its results. It is made of run directories, or read from the small Parquet file that `export` makes
of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from p2pqg.base import yaml_text
from p2pqg.base.errors import ConfigError
from p2pqg.base.text import draft_of, user_path, write_text
from p2pqg.base.wording import plain_text
from p2pqg.results.alike import SAME_NUMBERS, check_one_setting, settings_of, with_defaults
from p2pqg.results.columns import measured
from p2pqg.results.run import Run
from p2pqg.results.search import EXPORTED, find_runs, runs_below

RECIPE = "recipe.yaml"
"""What `export` writes beside the runs: what repeats them."""

OUTCOME = (
    "test_accuracy",
    "validation_accuracy",
    "test_accuracy_std",
    "averaged_model_accuracy",
    "consensus_distance",
    "bytes_sent",
    "gradients",
    "wall_seconds",
)
"""Results of a run in a frame of runs, numbers all of them; its `failure` is a text or None."""

MEASURED = "measured."
"""Before the name of what a user's metrics measured in the end, which only some runs have."""

PRIVATE = ("out", "address", "data_dir", "profile", "path")
"""Settings that mean nothing on another machine."""


def runs_of(runs: Iterable[Run]) -> pd.DataFrame:
    """A row per run that finished or has a reason on record why it did not; others are left out."""
    runs = [run for run in runs if run.finished or run.failure is not None]
    runs = [run for run in runs if (run.path / "config.yaml").exists()]  # else: not even built
    if not runs:
        return pd.DataFrame()
    frame = settings_of(runs)
    for key in OUTCOME:
        frame[key] = [run.summary.get(key) if run.finished else None for run in runs]
    frame[list(OUTCOME)] = frame[list(OUTCOME)].astype(float)
    own = [_measured(run) for run in runs]
    for key in dict.fromkeys(key for one in own for key in one):
        frame[MEASURED + key] = pd.Series([one.get(key) for one in own], frame.index, dtype=float)
    frame["device"] = [run.summary.get("device") if run.finished else None for run in runs]
    frame["versions"] = [_versions(run) for run in runs]
    frame["path"] = [str(run.path) for run in runs]
    return frame.assign(failure=[run.failure for run in runs])


def _measured(run: Run) -> dict[str, Any]:
    """The last value of what a user's metrics measured."""
    if not run.finished:
        return {}
    if not run.config.get("metrics") and run.summary.get("test_accuracy") is not None:
        return {}  # none but of numbers, of which there always are
    return {key: run.summary.get(key) for key in measured(run.rounds)}


def _versions(run: Run) -> str | None:
    versions = run.summary.get("versions", {}) if run.finished else {}
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or None


def read_runs(paths: Iterable[str | Path]) -> pd.DataFrame:
    """The runs in or below the directories as one frame, run directories and exported ones alike.

    Raises:
        ConfigError: a directory has no run in it.
    """
    frames = []
    for path in map(user_path, paths):
        files = sorted(path.rglob(EXPORTED))
        frames += [with_defaults(pd.read_parquet(file)) for file in files]
        if not files or runs_below(path):
            frames.append(runs_of(find_runs([path])))
    frames = [frame for frame in frames if len(frame)]
    # Again, for what only some of them know.
    return with_defaults(pd.concat(frames, ignore_index=True)) if frames else pd.DataFrame()


def export(frame: pd.DataFrame, recipe: Mapping[str, Any], folder: str | Path) -> None:
    """Write runs as one small Parquet file, and the recipe that repeats them.

    A run that the frame has twice, from its directory and from an older export, is written once.

    Args:
        frame: from `read_runs`.
        recipe: its settings that mean nothing elsewhere are dropped.
        folder: made if need be.

    Raises:
        ConfigError: it cannot be written.
    """
    folder = user_path(folder)
    kept = frame.drop(columns=[key for key in PRIVATE if key in frame])
    for key in kept:  # a column of Parquet has one type: auto or 4 becomes auto or "4"
        kinds = {type(value) for value in kept[key].dropna()}
        if len(kinds) > 1 and not kinds <= {int, float}:
            kept[key] = kept[key].map(str, na_action="ignore")
    kept = kept[~kept.map(plain_text).duplicated()]
    plain = {key: value for key, value in recipe.items() if key not in PRIVATE}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft_of(folder / EXPORTED, hidden=True) as draft:
            kept.dropna(axis="columns", how="all").to_parquet(draft, index=False)
        text = yaml_text.dump(plain, default_flow_style=None)
        write_text(folder / RECIPE, text)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None


def recipe_of(paths: Iterable[str | Path]) -> dict[str, Any]:
    """The recipe of the sweep that the first of the directories belongs to; {} if of none."""
    for path in map(user_path, paths):
        for name in ("sweep.yaml", RECIPE):
            if (path / name).is_file():
                return yaml_text.parse((path / name).read_text(encoding="utf-8"))
    return {}


def one_a_seed(rows: pd.DataFrame, where: str, what: str, repair: str) -> pd.DataFrame:
    """The runs, if they are of one setting, and of which no two have a seed in common.

    Args:
        rows: runs.
        where: in a message, where they are asked for.
        what: in a message, what they have in common.
        repair: what to do about a setting in which they differ.

    Raises:
        ConfigError: they are not.
    """
    check_one_setting(rows, where, what, repair)
    if rows["seed"].duplicated().any():
        results = {*SAME_NUMBERS, *OUTCOME, "seed", "path", "versions", "device", "failure"}
        own = [key for key in rows if key not in results and not key.startswith(MEASURED)]
        other = [key for key in own if rows[key].map(plain_text).nunique() > 1]
        more = f"; they differ in {', '.join(other)}: {repair}" if other else ""
        raise ConfigError(f"{where}: several runs of a seed with {what}{more}")
    return rows
