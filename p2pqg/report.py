"""Finished runs: Parquet -> pandas, one run or many side by side. Never imports the engine.

How tables are set in Markdown and LaTeX is in `p2pqg.tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from p2pqg.errors import ConfigError
from p2pqg.records import Run


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Every run in or below the directories, in order of their paths.

    Raises:
        ConfigError: a directory has no run in it.
    """
    found: dict[Path, Run] = {}
    for path in map(Path, paths):
        files = [*path.rglob("summary.json"), *path.rglob("failed.json")]
        if not files:
            raise ConfigError(f"{path}: no run in or below it (no summary.json)")
        found |= {file.parent.resolve(): Run(file.parent) for file in files}
    return [found[path] for path in sorted(found)]


RESULTS = (
    "rounds",
    "test_accuracy",
    "test_accuracy_std",
    "averaged_model_accuracy",
    "consensus_distance",
    "bytes_sent",
    "wall_seconds",
)
SAME_NUMBERS = {"out", "name", "address", "device", "engine", "clients_per_actor", "data_dir"}
SAME_NUMBERS |= {"eval_every", "record_every", "clients"}
"""Settings that do not change what is learned (`clients` follows from the topology)."""


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted keys; `algorithm.name` is called `algorithm`."""
    settings: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            settings |= flat(value, f"{prefix}{key}.")
        elif key == "name" and prefix:
            settings[prefix[:-1]] = value
        else:
            settings[f"{prefix}{key}"] = str(value) if isinstance(value, list) else value
    return settings


def settings_of(runs: Iterable[Run]) -> pd.DataFrame:
    """One row per run, one column per setting; NaN where a run does not have that setting."""
    rows = []
    for run in runs:
        row = flat(run.config)
        row["topology"] = _network(row["topology"], row["clients"])
        rows.append(row)
    return pd.DataFrame(rows).drop(columns="name", errors="ignore")


def _network(topology: str, clients: int) -> str:
    """The topology's name with its number of clients: `ring` and 16 -> `ring16`."""
    bare = not any(character.isdigit() or character in ":/." for character in topology)
    return f"{topology}{clients}" if bare else topology


def compare(runs: list[Run]) -> pd.DataFrame:
    """Runs side by side: the settings in which they differ, then the results.

    Parameters of a part, such as algorithm.mu, are shown where runs with the same part differ.
    """
    settings = settings_of(runs)
    shown = [
        key
        for key in settings
        if key not in ("out", "address", "eval_every", "record_every")
        and _differs(settings, key, [key.partition(".")[0]] if "." in key else [])
    ]
    results = pd.DataFrame([{key: run.summary.get(key) for key in RESULTS} for run in runs])
    return pd.concat([settings[shown], results], axis=1).assign(run=[str(r.path) for r in runs])


def _differs(settings: pd.DataFrame, key: str, within: list[str]) -> bool:
    """Whether rows that agree in the columns `within` differ in `key`."""
    texts = settings[key].map(str)
    groups = [settings[name].map(str) for name in within if name in settings]
    if not groups:
        return texts.nunique() > 1
    return bool((texts.groupby(groups).nunique() > 1).any())


BLOCK = ["dataset", "model"]
COLUMN = ["topology", "partition", "alpha"]


def cells(runs: Iterable[Run]) -> pd.DataFrame:
    """Mean and standard deviation of the test accuracy over seeds, at the best learning rate.

    Settings that differ between runs of one cell become part of the method's name, so that nothing
    unlike is averaged. A learning rate at which a seed failed, or with fewer seeds than another,
    is not chosen. Runs that did not finish and have no reason on record are left out.

    Args:
        runs: in any order; where a run is there twice, the last counts.

    Returns:
        A row per dataset, model, method, topology, partition and alpha: lr, mean, std (sample,
        n - 1; NaN for one seed) as fractions, seeds. mean is NaN where every lr failed.
    """
    runs = [run for run in runs if run.finished or run.failure is not None]
    columns = [*BLOCK, "method", *COLUMN, "lr", "mean", "std", "seeds"]
    if not runs:
        return pd.DataFrame(columns=columns)
    frame = settings_of(runs)
    frame["test_accuracy"] = [
        run.summary["test_accuracy"] if run.finished else float("nan") for run in runs
    ]
    cell = ["algorithm", *BLOCK, *COLUMN]
    known = {*cell, *SAME_NUMBERS, "lr", "seed", "test_accuracy"}
    frame["method"] = _methods(frame, [key for key in frame if key not in known], cell)
    cell = [*BLOCK, "method", *COLUMN]
    frame["alpha"] = frame["alpha"].astype(float)
    frame = frame.drop_duplicates([*cell, "lr", "seed"], keep="last")
    rows = []
    for key, group in frame.groupby(cell, dropna=False):
        accuracy = group.groupby("lr")["test_accuracy"]
        found = pd.DataFrame({"std": accuracy.std(), "seeds": accuracy.size()})
        found["mean"] = accuracy.mean().where(accuracy.count() == found["seeds"])
        found = found[found["seeds"] == found["seeds"].max()]
        lr = found["mean"].idxmax() if found["mean"].notna().any() else float("nan")
        best = found.loc[lr].to_dict() if lr == lr else {"seeds": found["seeds"].max()}
        rows.append(dict(zip(cell, key, strict=True)) | {"lr": lr} | best)
    return pd.DataFrame(rows, columns=columns).astype({"seeds": int})


def _methods(frame: pd.DataFrame, keys: list[str], cell: list[str]) -> list[str]:
    """The algorithm, with those of the settings `keys` that differ within a cell."""
    names = frame["algorithm"].tolist()
    for key in keys:
        for algorithm in frame["algorithm"].unique():
            rows = frame["algorithm"] == algorithm
            if _differs(frame[rows], key, cell):
                for row in frame.index[rows]:
                    names[row] += f" {key.removeprefix('algorithm.')}={frame.at[row, key]}"
    return names
