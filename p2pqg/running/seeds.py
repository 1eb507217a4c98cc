"""The same simulation for several seeds: a directory with a run for each."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

from p2pqg.base.digest import bare
from p2pqg.base.errors import ConfigError, DivergedError, P2pqgError, RunError
from p2pqg.base.text import folder_name, read_json, without_folders
from p2pqg.recipe import own_files
from p2pqg.recipe.own import TAKERS, Own
from p2pqg.recipe.settings import ENDS, RunConfig, chosen, read_settings
from p2pqg.results import seeds as results
from p2pqg.results.checkpoint import CHECKPOINTS, HEADER, newest
from p2pqg.results.directory import SEEDS, RunDirectory, any_begun, being_written
from p2pqg.results.run import Run
from p2pqg.results.seeds import Runs
from p2pqg.running.crew import Crew, stopped_by_hand
from p2pqg.simulation.going_on import check_algorithm, plan_of

One = Callable[..., Any]
"""Knows how to begin one run, or how to go on with it."""

Ended = Iterator[tuple[int, P2pqgError | None]]
"""Seeds as they end, and why if it was not well."""


def run_seeds(seeds: Sequence[int], settings: Mapping[str, Any], begin: One, crew: Crew) -> Runs:
    """One run for each seed, in a directory of `out`.

    A seed that diverges does not keep the others from running.

    Args:
        seeds: from `seeds_of`.
        settings: of all of them.
        begin: called with what was read of the settings of each, and with an observer.
        crew: does it.

    Raises:
        ConfigError: the settings are wrong; nothing was started.
        DivergedError: of at least one seed, after the others have run.
        RunError: stopped, or lost its actors: what is done is kept, and `resume` does the rest.
    """
    config, own = read_settings({**settings, "seed": seeds[0]})
    method, _ = chosen(config.algorithm, "qg-dsgdm-n")
    stem = folder_name(f"{without_folders(bare(config.topology))}-{method}-seeds")
    out, name = config.out, config.name
    directory = RunDirectory(out, name) if name else RunDirectory.fresh(out, stem)
    with directory:
        directory.reserve()
        path = directory.path
        results.write(path, seeds, {})

        plans = {
            seed: dataclasses.replace(config, seed=seed, out=str(path), name=f"seed{seed}")
            for seed in seeds
        }
        todo = {seed: partial(begin, plan, own) for seed, plan in plans.items()}
        try:
            return _carried_out(path, crew.each(todo, path, plans[seeds[0]], own))
        except Exception:
            if not any_begun(path):  # then there is nothing to resume
                (path / SEEDS).unlink()
                directory.discard()
            raise


def resume_seeds(
    path: Path,
    changes: Mapping[str, Any],
    begin_one: One,
    resume_one: One,
    crew: Crew,
    replan: bool = False,
) -> Runs:
    """Finish what is missing: go on with runs that were stopped, and begin those that did not.

    Args:
        path: the directory of all seeds.
        changes: as of `p2pqg.resume`; with another length finished runs go on, too.
        begin_one: as of `run_seeds`, for a seed that has yet to begin.
        resume_one: called with the directory of one that goes on, the changes and an observer.
        crew: does it.
        replan: as of `p2pqg.resume`, of seeds that have yet to begin.

    Raises:
        ConfigError: nothing is left to do, or none of the seeds had begun.
        RunError: as of `run_seeds`.
    """
    if where := [key for key in ("out", "name") if changes.get(key)]:
        raise ConfigError(f"{path} has runs of several seeds, which stay there; leave {where[0]}")
    directory = RunDirectory.reopen(path)
    with directory:
        directory.reserve()
        runs = Runs(path)
        changes = {key: value for key, value in changes.items() if value is not None}
        length = {key: changes[key] for key in ENDS if key in changes}
        config, own, kept = _as_begun(runs, changes, length, crew, replan)

        def begin(seed: int) -> Callable[..., Run]:
            mine = runs.of_seed(seed)
            if being_written(mine.path):
                raise ConfigError(f"{mine.path} is being written by another process; wait for it")
            shutil.rmtree(mine.path, ignore_errors=True)  # it kept no checkpoint
            if chosen(config.partition, "")[0] == "given":
                crew.tell(
                    f"seed {seed} has the split that seed {config.seed} kept: if a function drew "
                    "one for each seed, the function is not kept"
                )
            plan = dataclasses.replace(config, seed=seed, out=str(path), name=mine.path.name)
            return partial(begin_one, plan, own, kept=kept)

        def go_on(seed: int) -> Callable[..., Run]:
            return partial(resume_one, runs.of_seed(seed).path, **changes)

        todo = {
            seed: go_on(seed) if _goes_on(run) else begin(seed)
            for seed in runs.seeds
            if not _is_over(run := runs.of_seed(seed), length)
        }
        if not todo:
            runs.write()  # it may have been killed before it said so of the last one
            raise ConfigError(f"{path} has done all its seeds; ask for more with --rounds")
        again = next((key for key in TAKERS if key in changes), None)  # its code is known here
        stays = f"{again} was given again" if again else ""
        return _carried_out(path, crew.each(todo, path, config, own, stays))


def _as_begun(
    runs: Runs, changes: Mapping[str, Any], length: Mapping[str, Any], crew: Crew, replan: bool
) -> tuple[RunConfig, Own, tuple[dict[str, Any], Path]]:
    """The settings of the seeds that had begun, with what shall differ; `seed` is that of one.

    Returns:
        the settings, their objects; and what settings of files were called, and where copies are.

    Raises:
        ConfigError: none had begun.
    """
    path = runs.path
    begun = [one for one in map(runs.of_seed, runs.seeds) if (one.path / "config.yaml").exists()]
    if not begun:
        raise ConfigError(f"{path}: none of its seeds had begun; run it again")
    first = next(filter(_goes_on, begun), begun[0])
    settings, home = {**first.config}, first.path
    if not _goes_on(first):  # it is begun anew, of what it had kept
        with suppress(OSError):
            shutil.copytree(home / own_files.FOLDER, path / own_files.FOLDER, dirs_exist_ok=True)
        home = path
    # Who goes on tells it of itself.
    begins = any(
        not (_goes_on(run) or _is_over(run, length)) for run in map(runs.of_seed, runs.seeds)
    )
    tell = crew.tell if begins else _to_nobody
    copied = own_files.from_copies(settings, home, tell)
    if "algorithm" not in copied:
        check_algorithm(settings, home, tell)
    names = {key: settings[key] for key in copied if key not in changes}
    settings |= copied
    given = {k: v for k, v in settings.items() if not (length and k in ENDS)}
    if not replan and any(settings.get(key) != value for key, value in length.items()):
        latest = next(newest(first.path / CHECKPOINTS), None)  # milestones as of those that go on
        header = read_json(latest / HEADER) if latest else {}
        given |= plan_of(first.config, header.get("planned_rounds"))
    config, own = read_settings({**given, **changes, "seed": first.config["seed"]})
    return config, own, (names, home)


def _is_over(run: Run, length: Mapping[str, Any]) -> bool:
    """Whether a seed has failed, or has done all that is asked of it."""
    if run.failure is not None:
        return True
    return run.finished and all(run.config.get(key) == value for key, value in length.items())


def _goes_on(run: Run) -> bool:
    """Whether there is something to go on from."""
    return run.finished or run.failure is not None or any(run.path.glob("checkpoints/*"))


def _to_nobody(text: str) -> None: ...


def _carried_out(path: Path, ended: Ended) -> Runs:
    """See them end, with seeds.json up to date after each."""
    diverged: dict[int, str] = {}
    try:
        with closing(ended):  # type: ignore[type-var]
            for seed, error in ended:
                if isinstance(error, DivergedError):
                    diverged[seed] = str(error).partition("; results so far")[0]
                elif isinstance(error, RunError):
                    reason = str(error).partition("; ")[0]
                    begun = any_begun(path)
                    then = Runs(path).what_next if begun else "run it again"
                    failed = type(error)(f"seed {seed}: {reason}; {then}")
                    failed.results = path if begun else None
                    raise failed from error
                elif error is not None:
                    raise error
                else:
                    Runs(path).write()
    except KeyboardInterrupt:  # between two seeds, or after the last one
        raise stopped_by_hand(path, {}) from None
    except RunError:
        with suppress(OSError, ConfigError):  # it may be this that has failed, or all is gone
            Runs(path).write()
        raise
    if diverged:
        told = "; ".join(f"seed {seed}: {reason}" for seed, reason in sorted(diverged.items()))
        others = len(diverged) < len(Runs(path).seeds)
        then = "the other seeds are done" if others else "results so far"
        all_of_them = DivergedError(f"{told}; {then}: {path}")
        all_of_them.results = path
        raise all_of_them
    return Runs(path)
