"""The same simulation for several seeds, one after the other: a directory with a run for each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError, DivergedError, RunError
from p2pqg.base.text import folder_name
from p2pqg.recipe import own_files
from p2pqg.recipe.settings import ENDS, chosen, read_settings
from p2pqg.results import seeds as results
from p2pqg.results.records import SEEDS, Run, RunDirectory, being_written
from p2pqg.results.seeds import Runs

One = Callable[..., Any]
"""`p2pqg.run` or `p2pqg.resume`, which know how to lead one run."""


def run_seeds(seeds: Sequence[int], settings: Mapping[str, Any], run_one: One) -> Runs:
    """One run for each seed, in a directory of `out`.

    A seed that diverges does not keep the others from running.

    Args:
        seeds: from `seeds_of`.
        settings: of all of them.
        run_one: called with the settings of each.

    Raises:
        ConfigError: the settings are wrong; nothing was started.
        DivergedError: of at least one seed, after the others have run.
        RunError: stopped, or lost its actors: what is done is kept, and `resume` does the rest.
    """
    config, _ = read_settings({**settings, "seed": seeds[0]})
    method, _ = chosen(config.algorithm, "qg-dsgdm-n")
    stem = folder_name(f"{config.topology}-{method}-seeds")
    out, name = config.out, config.name
    directory = RunDirectory(out, name) if name else RunDirectory.fresh(out, stem)
    with directory:
        directory.reserve()
        path = directory.path
        results.write(path, seeds, {})

        def begin(seed: int) -> Run:
            own = {"seed": seed, "out": str(path), "name": f"seed{seed}"}
            run: Run = run_one(**{**settings, **own})
            return run

        try:
            return _carried_out(path, dict.fromkeys(seeds, begin))
        except ConfigError:
            if not any(path.glob("seed*/config.yaml")):
                (path / SEEDS).unlink()
                directory.discard()
            raise


def resume_seeds(
    path: Path,
    changes: Mapping[str, Any],
    run_one: One,
    resume_one: One,
    tell: Callable[[str], None],
) -> Runs:
    """Finish what is missing: go on with runs that were stopped, and begin those that did not.

    Args:
        path: the directory of all seeds.
        changes: as of `p2pqg.resume`; with another length finished runs go on, too.
        run_one: called with the settings of a seed that has yet to begin.
        resume_one: called with the directory of one that goes on.
        tell: hears of what a user should know.

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
        length = {key: changes[key] for key in ENDS if changes.get(key) is not None}
        begun = next(
            (one for one in map(runs.of_seed, runs.seeds) if (one.path / "config.yaml").exists()),
            None,
        )
        if begun is None:
            raise ConfigError(f"{path}: none of its seeds had begun; run it again")
        settings = {**begun.config}
        settings |= own_files.from_copies(settings, begun.path, tell)

        def begin(seed: int) -> Run:
            mine = runs.of_seed(seed)
            if being_written(mine.path):
                raise ConfigError(f"{mine.path} is being written by another process; wait for it")
            shutil.rmtree(mine.path, ignore_errors=True)  # it kept no checkpoint
            given = {k: v for k, v in settings.items() if not (length and k in ENDS)}
            own = {"seed": seed, "out": str(path), "name": mine.path.name}
            run: Run = run_one(**{**given, **changes, **own})
            return run

        def go_on(seed: int) -> Run:
            run: Run = resume_one(runs.of_seed(seed).path, **changes)
            return run

        todo: dict[int, Callable[[int], Run]] = {}
        for seed in runs.seeds:
            run = runs.of_seed(seed)
            done = run.finished or run.failure is not None
            there = done and all(run.config.get(key) == value for key, value in length.items())
            if there or run.failure is not None:
                continue
            todo[seed] = go_on if done or any(run.path.glob("checkpoints/*")) else begin
        if not todo:
            raise ConfigError(f"{path} has done all its seeds; ask for more with --rounds")
        return _carried_out(path, todo)


def _carried_out(path: Path, todo: Mapping[int, Callable[[int], Run]]) -> Runs:
    """Do what is left, with seeds.json up to date after each."""
    diverged: dict[int, str] = {}
    for seed, do in todo.items():
        try:
            do(seed)
        except DivergedError as error:
            diverged[seed] = str(error).partition("; results so far")[0]
        except RunError as error:
            with suppress(OSError):
                Runs(path).write()
            reason = str(error).partition("; ")[0]
            stopped = type(error)(f"seed {seed}: {reason}; `p2pqg resume {path}` does the rest")
            stopped.results = path
            raise stopped from error
        Runs(path).write()
    if diverged:
        told = "; ".join(f"seed {seed}: {reason}" for seed, reason in diverged.items())
        failed = DivergedError(f"{told}; the other seeds are done: {path}")
        failed.results = path
        raise failed
    return Runs(path)
