"""Finished runs: Parquet -> pandas, one run or many side by side. Never imports the engine.

A frame of runs has a row per run: its settings under dotted keys (see `p2pqg.base.dotted`), then
its results. It is made of run directories, or read from the small Parquet file that `export` makes
of them. How tables are set in Markdown and LaTeX is in `p2pqg.paper.tables`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from p2pqg.base import yaml_text
from p2pqg.base.dotted import flat
from p2pqg.base.errors import ConfigError
from p2pqg.base.text import read_json, user_path, without_folders_but_unlike, write_text
from p2pqg.base.wording import plain_text
from p2pqg.recipe.keys import CARE, WHERE
from p2pqg.recipe.own_files import FOLDER
from p2pqg.results.columns import measured
from p2pqg.results.directory import SEEDS
from p2pqg.results.run import Run


def find_runs(paths: Iterable[str | Path]) -> list[Run]:
    """Every run in or below the directories, in order of their paths.

    Raises:
        ConfigError: a directory has no run in it.
    """
    found: dict[Path, Run] = {}
    for path in map(user_path, paths):
        runs = _runs_below(path)
        if not runs:
            raise ConfigError(f"{path}: no run in or below it (no summary.json)")
        found |= runs
    return [found[path] for path in sorted(found)]


def with_runs(paths: Iterable[str | Path], tell: Callable[[str], None]) -> list[Path]:
    """Those of the paths that are runs, or have runs below them: sweeps, exported tables.

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
    found = [path for path in given if _runs_below(path) or (path / EXPORTED).is_file()]
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
        found |= _runs_below(path)
    return sum(not run.finished and run.failure is None for run in found.values())


def _runs_below(path: Path) -> dict[Path, Run]:
    files = [*path.rglob("summary.json"), *path.rglob("failed.json")]
    return {file.parent.resolve(): Run(file.parent) for file in files}


SAME_RESULTS = {"out", "name", "eval_every", "eval_first", "record_every", *CARE}
"""Settings that change nothing but what is on disk."""
SAME_NUMBERS = {*SAME_RESULTS, *WHERE}
"""Settings that do not change what is learned."""

OWN_FILES = "files."
"""Before the name of a file of the user's in a frame of runs, such as files.my_model.py: what is in
it, as a few letters. Code that was edited between two runs makes them unlike."""
KEPT = re.compile(r"(data|partition)-[0-9a-f]{16}\.safetensors")
"""Files of what was given as an object: the recipe says their content."""
LARGE = 2**20
"""Bytes of a file from which on only its size is looked at."""


class Configured(Protocol):
    """A run, or where one stands: whatever has a resolved recipe."""

    @property
    def config(self) -> dict[str, Any]: ...


def settings_of(runs: Iterable[Configured]) -> pd.DataFrame:
    """One row per run, one column per setting; NaN where a run does not have that setting."""
    rows = []
    for run in runs:
        row = flat(run.config)
        row["topology"] = _network(row["topology"], row["clients"])
        rows.append(row | _split_of_first_seed(run, row) | _own_files(run))
    return with_defaults(pd.DataFrame(rows).drop(columns="name", errors="ignore"))


def _place_of(one: Configured) -> Path | None:
    """The directory of a run, or of the run that stands somewhere; None: it is on no disk."""
    return getattr(getattr(one, "run", one), "path", None)


SPLIT = ("partition.path", "partition.content")
"""Settings that say how the samples of a run were split by an object of Python."""


def _split_of_first_seed(one: Configured, row: Mapping[str, Any]) -> dict[str, Any]:
    """Of runs that began together: a function draws a split for each seed, and is one setting."""
    path = _place_of(one)
    if path is None or SPLIT[1] not in row or not (path.parent / SEEDS).is_file():
        return {}
    seeds = (Run(path.parent / f"seed{seed}") for seed in read_json(path.parent / SEEDS)["seeds"])
    for run in seeds:
        if (run.path / "config.yaml").exists():
            first = flat(run.config)
            return {key: first.get(key) for key in SPLIT}
    return {}


def _own_files(one: Configured) -> dict[str, str]:
    """What a run on disk kept of the user's files, as texts that tell contents apart."""
    path = _place_of(one)
    if path is None or not (path / FOLDER).is_dir():
        return {}
    files = sorted(file for file in (path / FOLDER).iterdir() if file.is_file())
    told = (file for file in files if not KEPT.fullmatch(file.name))
    return {f"{OWN_FILES}{file.name}": _told_apart(file) for file in told}


def _told_apart(file: Path) -> str:
    size = file.stat().st_size
    if size >= LARGE:
        return f"{size} bytes"
    return hashlib.blake2b(file.read_bytes(), digest_size=4).hexdigest()


def with_defaults(frame: pd.DataFrame) -> pd.DataFrame:
    """The same runs: what a version of p2pqg did not know yet is at its default."""
    from p2pqg.base.config import plain
    from p2pqg.recipe.settings import RunConfig

    defaults = {key: value for key, value in flat(plain(RunConfig())).items() if value is not None}
    known = {key: frame[key].fillna(value) for key, value in defaults.items() if key in frame}
    return frame.assign(**{**defaults, **known})


def _network(topology: str, clients: int) -> str:
    """The topology's name with its number of clients: `ring` and 16 -> `ring16`."""
    bare = not any(character.isdigit() or character in ":/." for character in topology)
    return f"{topology}{clients}" if bare else topology


def differing(settings: pd.DataFrame) -> list[str]:
    """The columns of `settings_of` in which runs differ in a way that a reader wants to know.

    Parameters of a part, such as algorithm.mu, count where runs with the same part differ, and the
    number of clients where the topology's name does not tell it.
    """
    part = {key: key.partition(".")[0] for key in settings if "." in key} | {"clients": "topology"}
    return [
        key
        for key in settings
        if key not in SAME_RESULTS and _differs(settings, key, [part[key]] if key in part else [])
    ]


def _differs(settings: pd.DataFrame, key: str, within: list[str]) -> bool:
    """Whether rows that agree in the columns `within` differ in `key`."""
    if key.startswith(OWN_FILES):  # that some name no such file is another setting
        settings = settings[settings[key].notna()]
    texts = settings[key].map(plain_text)
    groups = [settings[name].map(plain_text) for name in within if name in settings]
    if not groups:
        return texts.nunique() > 1
    return bool((texts.groupby(groups).nunique() > 1).any())


C = TypeVar("C", bound=Configured)


def by_seed(runs: Sequence[C]) -> list[list[C]]:
    """Groups of runs that differ in their seed only, in the order of their first runs.

    Runs stay alone that have their seed in common with another of their setting.
    """
    settings = settings_of(runs)
    kept = [key for key in settings if key not in {*SAME_NUMBERS, "seed"}]
    groups: dict[tuple[str, ...], list[C]] = {}
    for one, row in zip(runs, settings[kept].to_dict("records"), strict=True):
        groups.setdefault(tuple(plain_text(value) for value in row.values()), []).append(one)
    found: list[list[C]] = []
    for group in groups.values():
        seeds = {str(one.config.get("seed")) for one in group}
        found += [group] if len(seeds) == len(group) else [[one] for one in group]
    return found


EXPORTED, RECIPE = "runs.parquet", "recipe.yaml"
"""What `export` writes."""

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
        if not files or _runs_below(path):
            frames.append(runs_of(find_runs([path])))
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def export(frame: pd.DataFrame, recipe: Mapping[str, Any], folder: str | Path) -> None:
    """Write runs as one small Parquet file, and the recipe that repeats them.

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
    plain = {key: value for key, value in recipe.items() if key not in PRIVATE}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        kept.dropna(axis="columns", how="all").to_parquet(folder / EXPORTED, index=False)
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


BLOCK = ["dataset", "model"]
COLUMN = ["topology", "partition", "alpha"]


def cells(runs: Iterable[Run] | pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of the test accuracy over seeds, at the rate with most `merit`.

    Settings that differ between runs of one cell become part of the method's name, so that nothing
    unlike is averaged. A learning rate at which a seed failed, or with fewer seeds than another,
    is not chosen. Runs that did not finish and have no reason on record are left out.

    Args:
        runs: in any order, or a frame of them; where a run is there twice, the last counts.

    Returns:
        A row per dataset, model, method, topology, partition and alpha, of files without the
        folders that lead to them, for tables are sent on:
            lr, mean, std (sample, n - 1; NaN for one seed; fractions), seeds: at the best rate;
                mean is NaN where every rate failed.
            rates, runs, failed: how many learning rates were tried, in how many runs, and how many
                of these failed.
            gradients, bytes: of a run at the best rate, each client's and sent by all; counted, so
                that no busy machine distorts them (NaN: not on record).
            epochs: of the recipe, NaN if its length is in rounds.
            measured: name -> (mean, std) of what a user's metrics measured, at the best rate.
            settings: of one of its runs, flat.
            paths: of the runs at the best rate, a list; [] where they are only exported.
    """
    frame = runs if isinstance(runs, pd.DataFrame) else runs_of(runs)
    found = ["lr", "mean", "std", "seeds", "rates", "runs", "failed"]
    more = ["gradients", "bytes", "epochs", "measured", "settings", "paths"]
    columns = [*BLOCK, "method", *COLUMN, *found, *more]
    if frame.empty:
        return pd.DataFrame(columns=columns)
    cell = ["algorithm", *BLOCK, *COLUMN]
    known = {*cell, *SAME_NUMBERS, *OUTCOME, "versions", "failure", "path", "lr", "seed"}
    frame = frame.reindex(columns=list(dict.fromkeys([*frame, *cell, "epochs", "failure"])))
    own = [key for key in frame if key not in known and not key.startswith(MEASURED)]
    method = _methods(frame, own, cell)
    frame = frame.assign(method=method, alpha=frame["alpha"].astype(float))
    cell = [*BLOCK, "method", *COLUMN]
    frame = frame.drop_duplicates([*cell, "lr", "seed"], keep="last")
    rows = [
        dict(zip(cell, key, strict=True)) | _best(group)
        for key, group in frame.groupby(cell, dropna=False)
    ]
    made = pd.DataFrame(rows, columns=columns)
    for key in (*BLOCK, "topology", "partition"):
        short = without_folders_but_unlike(made[key].dropna())
        made[key] = made[key].map(short, na_action="ignore")
    return made


def merit(accuracies: Sequence[float]) -> float:
    """What a value of a tuned key is chosen by: the mean over seeds minus their deviation (n - 1).

    A value one step from where runs diverge is good with some seeds and bad with others; it is not
    chosen for the good ones. One seed has no deviation. A run without an accuracy: minus infinity.

    >>> merit([0.9]), merit([0.9, float("nan")]), round(merit([0.8, 0.9, 1.0]), 3)
    (0.9, -inf, 0.8)
    """
    known = pd.Series(accuracies, dtype=float)
    if known.empty or known.isna().any():
        return float("-inf")
    return float(known.mean() - (known.std() if len(known) > 1 else 0.0))


def tuned(group: pd.DataFrame) -> float:
    """The learning rate with the best merit of the runs of one cell; NaN where all failed.

    On the validation samples where all runs that finished held some out: then nothing is chosen by
    what it is judged by. A rate at which a seed failed, or with fewer seeds than another, is out.
    """
    return float(best_of(group, ["lr"]).get("lr", float("nan")))


def best_of(group: pd.DataFrame, keys: list[str]) -> dict[str, Any]:
    """The values of tuned keys with the best merit, as `tuned` chooses; {} where all failed."""
    finished = group[group["test_accuracy"].notna()]
    held_out = "validation_accuracy" in group and finished["validation_accuracy"].notna().all()
    tried = group.groupby(keys)
    merits = tried["validation_accuracy" if held_out else "test_accuracy"].apply(merit)
    merits = merits[tried.size() == tried.size().max()]
    if not (merits > float("-inf")).any():
        return {}
    best = merits.idxmax()
    return dict(zip(keys, best if len(keys) > 1 else [best], strict=True))


def one_a_seed(rows: pd.DataFrame, where: str, what: str, repair: str) -> pd.DataFrame:
    """The same runs, of which no two have a seed in common.

    Args:
        rows: runs.
        where: in a message, where they are asked for.
        what: in a message, what they have in common.
        repair: what to do about a setting in which they differ.

    Raises:
        ConfigError: two have.
    """
    if rows["seed"].duplicated().any():
        results = {*SAME_NUMBERS, *OUTCOME, "seed", "path", "versions", "failure"}
        other = [
            key for key in rows if key not in results and rows[key].map(plain_text).nunique() > 1
        ]
        more = f"; they differ in {', '.join(other)}: {repair}" if other else ""
        raise ConfigError(f"{where}: several runs of a seed with {what}{more}")
    return rows


def _best(group: pd.DataFrame) -> dict[str, Any]:
    """What `cells` says of the runs of one cell."""
    lr = tuned(group)
    chosen = group[group["lr"] == lr]
    own = chosen.filter(regex=f"^{re.escape(MEASURED)}").dropna(axis="columns", how="all")
    return {
        "lr": lr,
        "mean": chosen["test_accuracy"].mean(),
        "std": chosen["test_accuracy"].std(),
        "seeds": int(group.groupby("lr").size().max()),
        "rates": group["lr"].nunique(),
        "runs": len(group),
        "failed": int(group["test_accuracy"].isna().sum()),
        "gradients": chosen["gradients"].mean() if "gradients" in chosen else float("nan"),
        "bytes": chosen["bytes_sent"].mean(),
        "epochs": float(group["epochs"].iloc[0] or float("nan")),
        "measured": {
            key.removeprefix(MEASURED): (own[key].mean(skipna=False), own[key].std(skipna=False))
            for key in own
        },
        "settings": group.iloc[0].dropna().drop("path", errors="ignore").to_dict(),
        "paths": chosen["path"].dropna().tolist() if "path" in chosen else [],
    }


def _methods(frame: pd.DataFrame, keys: list[str], cell: list[str]) -> list[str]:
    """The algorithm, with those of the settings `keys` that differ within a cell."""
    short = without_folders_but_unlike(frame["algorithm"])
    names = [short[name] for name in frame["algorithm"]]
    for key in keys:
        called = without_folders_but_unlike(f"{value}" for value in frame[key])
        for algorithm in frame["algorithm"].unique():
            rows = (frame["algorithm"] == algorithm).to_numpy()
            if _differs(frame[rows], key, cell):
                for row in rows.nonzero()[0]:
                    names[row] += (
                        f" {key.removeprefix('algorithm.').removeprefix(OWN_FILES)}="
                        f"{called[f'{frame[key].iloc[row]}']}"
                    )
    return names
