"""The experiment of a run that goes on: built again of its saved recipe, and what shall differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError
from p2pqg.base.user_code import GIVEN
from p2pqg.network.link_spec import spelled_out
from p2pqg.recipe import keys, own_files
from p2pqg.recipe.own import TAKERS, Own, taken
from p2pqg.recipe.settings import ENDS, RunConfig, read_config, with_changes
from p2pqg.results.checkpoint import CHECKPOINTS, HEADER
from p2pqg.results.records import Run
from p2pqg.simulation.build import build
from p2pqg.simulation.experiment import Experiment


def built_again(
    saved: Mapping[str, Any],
    changes: Mapping[str, Any],
    folder: Path,
    tell: Callable[[str], None],
    replan: bool = False,
) -> Experiment:
    """The experiment of a recipe; the user's files are those that the folder has copies of."""
    saved = _with_lines_of_then(saved)
    config = _config(saved, changes, replan)
    home = home_of(folder)
    if home and (home / own_files.FOLDER).is_dir():
        folder = home  # checkpoints are pruned while the run goes on
    same = {key: value for key, value in saved.items() if changes.get(key) is None}
    copied = own_files.from_copies(same, folder, tell)
    own = _given_again(saved, changes)
    experiment = build(with_changes(config, copied), own)
    return dataclasses.replace(
        experiment,
        config=with_changes(experiment.config, {key: saved[key] for key in copied}),
        own_files={**experiment.own_files, **own_files.kept(folder)},
    )


def was_broken_off(home: Path) -> bool:
    """Whether the run in a directory was killed, or stopped before its first checkpoint."""
    if not (home / "summary.json").exists():
        return True
    run = Run(home)
    return bool(run.config.get("checkpoint_every")) and not run.finished and not run.failure


def home_of(path: Path) -> Path | None:
    """The directory of the run that a path is, or is a checkpoint of; None: of no run."""
    if not (path / HEADER).exists():
        return path
    checkpoint = path.resolve()
    return checkpoint.parents[1] if checkpoint.parent.name == CHECKPOINTS else None


def _config(saved: Mapping[str, Any], changes: Mapping[str, Any], replan: bool) -> RunConfig:
    given = {k: value for k, value in changes.items() if value is not None}
    given = {k: value for k, value in given.items() if not _is_given_again(k, saved, value)}
    fixed = [key for key in given if key not in keys.RESTART]
    if fixed:
        raise ConfigError.of(
            [
                f"{key} cannot change in the middle of a run; fork it, or start another"
                for key in fixed
            ]
        )
    values = dict(saved)
    if given.keys() & set(ENDS):
        values |= dict.fromkeys(ENDS)
        if not any(values.get(f"planned_{unit}") for unit in ("rounds", "epochs")):
            values |= {f"planned_{unit}": saved[unit] for unit in ("rounds", "epochs")}
    if replan:
        values |= {"planned_rounds": None, "planned_epochs": None}
    return read_config(values | given)


def _is_given_again(key: str, saved: Mapping[str, Any], value: Any) -> bool:
    """Whether a setting is an object that the run could not keep."""
    if key == "topology" and callable(value):
        return True
    return key in TAKERS and GIVEN in str(saved.get("lr_schedule" if key == "lr" else key))


def _given_again(saved: Mapping[str, Any], changes: Mapping[str, Any]) -> Own:
    """The objects that a run could not keep, as they are given anew."""
    again = {k: v for k, v in changes.items() if v is not None and _is_given_again(k, saved, v)}
    return taken(again)[1]


def _with_lines_of_then(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe as it was meant: before `per` was said, a class was a line to each neighbor."""
    network = saved.get("network")
    if not network or "links" not in network:
        return saved
    return {**saved, "network": {**network, "links": spelled_out(network["links"], "link")}}
