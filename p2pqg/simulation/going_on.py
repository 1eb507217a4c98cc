"""The experiment of a run that goes on: built again of its saved recipe, and what shall differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.config import load_yaml
from p2pqg.base.digest import comparable
from p2pqg.base.dotted import flat
from p2pqg.base.errors import ConfigError
from p2pqg.base.user_code import GIVEN
from p2pqg.base.wording import plain_text
from p2pqg.network.link_spec import spelled_out
from p2pqg.recipe import keys, own_files
from p2pqg.recipe.ignored import has_fractions
from p2pqg.recipe.own import TAKERS, Own, kept_of_algorithm, taken
from p2pqg.recipe.parts import CONTENT, NEWS
from p2pqg.recipe.settings import ENDS, RunConfig, chosen, read_config, with_changes
from p2pqg.results.checkpoint import CHECKPOINTS, HEADER
from p2pqg.results.run import Run
from p2pqg.simulation.build import build
from p2pqg.simulation.experiment import Experiment


def built_again(
    saved: Mapping[str, Any],
    changes: Mapping[str, Any],
    folder: Path,
    tell: Callable[[str], None],
    replan: bool = False,
    planned_rounds: int | None = None,
) -> Experiment:
    """The experiment of a recipe; the user's files are those that the folder has copies of.

    `planned_rounds` is its length so far, where that is on record: of a run that ends by the clock
    or by steps no key says it.
    """
    saved = _with_lines_of_then(saved)
    config = _config(saved, changes, replan, planned_rounds)
    home = home_of(folder)
    if home and (home / own_files.FOLDER).is_dir():
        folder = home  # checkpoints are pruned while the run goes on
    same = {key: value for key, value in saved.items() if changes.get(key) is None}
    copied = own_files.from_copies(same, folder, tell)
    check_algorithm(saved, folder, tell)
    own = _given_again(saved, changes, tell)
    experiment = build(with_changes(config, copied), own)
    experiment = as_kept(experiment, {key: saved[key] for key in copied}, folder)
    # That a plan is not needed is no news to who only goes on: it is set for them, see below.
    told = [line for line in experiment.warnings if not line.startswith("planned_")]
    for line in [line for line in told if NEWS in line]:
        told.remove(line)
        tell(line)
    _tell_of_imported(experiment.own_files, folder, tell)
    kept = {**experiment.own_files, **own_files.kept(folder)}  # with what it began
    return dataclasses.replace(experiment, warnings=told, own_files=kept)


def as_kept(experiment: Experiment, names: Mapping[str, Any], folder: Path) -> Experiment:
    """An experiment of copies in a folder: its recipe has their first names, and it keeps them."""
    return dataclasses.replace(
        experiment,
        config=with_changes(experiment.config, names),
        own_files={**own_files.kept(folder), **experiment.own_files},
    )


LENGTH = (*ENDS, "planned_rounds", "planned_epochs")
"""Keys of a recipe that say how long a run is, and what its fractions are of."""


def as_last_begun(
    saved: Mapping[str, Any],
    home: Path,
    changes: Mapping[str, Any],
    tell: Callable[[str], None],
) -> tuple[Mapping[str, Any], bool]:
    """The recipe of a checkpoint, but as long as config.yaml of its run says.

    Who goes on with a run for longer may be killed before the first checkpoint since.

    Args:
        saved: the checkpoint's.
        home: the run's directory; other settings of its config.yaml do not count, which is told.
        changes: what the user asks for; a length there counts.
        tell: called with a line for what is not as in config.yaml.

    Returns:
        The recipe, and whether fractions are to be of its length from here on.
    """
    try:
        begun = load_yaml(home / "config.yaml")
    except ConfigError:  # it is only read here
        return saved, False
    before, now = flat(saved), flat(begun)
    free = {*keys.RESTART, *LENGTH, *changes}
    for key in before:
        if key == f"dataset.{CONTENT}":  # of data that code makes, that of when it last went on
            continue
        if key in now and key.partition(".")[0] not in free:
            there, here = plain_text(now[key]), plain_text(before[key])
            if there != here:
                tell(
                    f"config.yaml has {key} {there}, which cannot change in the middle of a run; "
                    f"it stays {here}"
                )
    length = {key: begun.get(key) for key in LENGTH}
    if any(changes.get(key) is not None for key in ENDS):
        return saved, False
    if not any(length[key] for key in ENDS) or all(length[k] == saved.get(k) for k in ENDS):
        return saved, False
    return {**saved, **length}, not (length["planned_rounds"] or length["planned_epochs"])


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


def check_it_may_be_one(path: Path) -> None:
    """Whether a folder without `checkpoints` may be a checkpoint.

    Raises:
        ConfigError: it is something else.
    """
    if not path.is_dir() or (path / HEADER).exists() or path.parent.name == CHECKPOINTS:
        return  # then its reader knows better what it lacks
    if (path / "config.yaml").exists():
        raise ConfigError(
            f"{path}: this run kept no checkpoint to go on from; run it again with "
            "checkpoint_every above 0"
        )
    if inside := sorted(path.glob("*/config.yaml")):
        raise ConfigError(
            f"{path} holds several runs; name one, such as {inside[0].parent}, or start their "
            "sweep again"
        )
    raise ConfigError(
        f"{path}: neither a run nor a checkpoint is here; if a run was killed before its first "
        "round, start it again"
    )


def _config(
    saved: Mapping[str, Any],
    changes: Mapping[str, Any],
    replan: bool,
    planned_rounds: int | None = None,
) -> RunConfig:
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
    if any(given[key] != saved.get(key) for key in ENDS if key in given):
        values |= dict.fromkeys(ENDS) | plan_of(saved, planned_rounds)
    if replan:
        values |= {"planned_rounds": None, "planned_epochs": None}
    return read_config(values | given)


def plan_of(saved: Mapping[str, Any], planned_rounds: int | None) -> dict[str, Any]:
    """Keys of a recipe that leave fractions where they are when the run becomes longer.

    Args:
        saved: the recipe so far.
        planned_rounds: its length, where that is known though it ends by the clock or by steps.
    """
    units = ("rounds", "epochs")
    if not any(saved.get(f"planned_{unit}") for unit in units):
        plan = {f"planned_{unit}": saved.get(unit) for unit in units}
        by_itself = not any(plan.values()) and has_fractions(read_config(saved))
        return plan | {"planned_rounds": planned_rounds} if by_itself else plan
    return {f"planned_{unit}": saved.get(f"planned_{unit}") for unit in units}


def _is_given_again(key: str, saved: Mapping[str, Any], value: Any) -> bool:
    """Whether a setting is an object that the run could not keep."""
    if key == "topology" and callable(value):
        return True
    return key in TAKERS and GIVEN in str(saved.get("lr_schedule" if key == "lr" else key))


def _given_again(
    saved: Mapping[str, Any], changes: Mapping[str, Any], tell: Callable[[str], None]
) -> Own:
    """The objects that a run could not keep, as they are given anew; it is told if they differ."""
    again = {k: v for k, v in changes.items() if v is not None and _is_given_again(k, saved, v)}
    settings, own = taken(again)
    before = flat(saved)
    for key, now in flat(settings).items():
        then = str(before.get(key))
        if GIVEN in then and len(set(comparable([then, str(now)]))) > 1:
            tell(
                f"{key} that was given again is not what the run began with: its code, or what it "
                "uses, is another"
            )
    return own


def check_algorithm(saved: Mapping[str, Any], folder: Path, tell: Callable[[str], None]) -> None:
    """Whether an algorithm that a script or notebook registered is there, and what it was.

    Raises:
        ConfigError: it is not, and its code could not be kept.
    """
    name = chosen(saved["algorithm"], "")[0]
    kept = own_files.kept(folder)
    if name not in ALGORITHMS:
        if own_files.OWN_ALGORITHM_LETTERS in kept:
            raise ConfigError(
                f"algorithm {name} was defined where a run cannot keep its code, inside a function "
                "say; define it again before you resume, in the same script or notebook"
            )
        return
    now, _ = kept_of_algorithm(name)
    if any(kept[file] != content for file, content in now.items() if file in kept):
        tell(
            f"algorithm {name} is not what the run began with: its code, or what it uses, is "
            "another; it goes on with that of now"
        )


def _tell_of_imported(now: Mapping[str, bytes], folder: Path, tell: Callable[[str], None]) -> None:
    """Say which modules of the user's packages are not what the run began with."""
    before, after = (
        own_files.letters_in(files.get(own_files.IMPORTED, b""))
        for files in (own_files.kept(folder), now)
    )
    edited = [path for path, letters in after.items() if before.get(path, letters) != letters]
    if edited:
        are, one = ("have", "those") if len(edited) > 1 else ("has", "that")
        tell(
            f"{' and '.join(edited[:3])}{' and more' * (len(edited) > 3)} {are} changed since the "
            f"run began, which keeps no code of packages; it goes on with {one} of now"
        )


def _with_lines_of_then(saved: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe as it was meant: before `per` was said, a class was a line to each neighbor."""
    network = saved.get("network")
    if not network or "links" not in network:
        return saved
    return {**saved, "network": {**network, "links": spelled_out(network["links"], "link")}}
