"""Carrying out a sweep: what is left of its grids, over processes, so that nothing is lost.

Each process runs one simulation after the other with the local engine, on its own share of the
cores and GPUs. A run directory with a complete summary or a failed.json is done; whatever else is
there goes on from its checkpoint, or is begun anew. So a sweep that was killed repeats nothing that
had finished.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Protocol

from p2pqg.base import yaml_text
from p2pqg.base.errors import ClusterError, ConfigError, RunError, StoppedError, StorageError
from p2pqg.base.text import json_text, user_path, write_text
from p2pqg.base.wording import counted
from p2pqg.engine.machine import cores
from p2pqg.recipe.keys import HOW
from p2pqg.results.directory import RunDirectory
from p2pqg.results.run import Run
from p2pqg.running.grid import NOT_OF_A_RUN, Point, Sweep
from p2pqg.running.pool import Inside, Pool, gpus_for, say

if TYPE_CHECKING:
    from p2pqg.recipe.settings import RunConfig

RECIPE = "sweep.yaml"
"""The file of a folder that says what it is a sweep of."""


class Bar(Protocol):
    """Somebody who watches the sweep."""

    def grow(self, num_runs: int) -> None: ...

    def skip(self, num_runs: int) -> None: ...

    def inside(self, name: str, text: str) -> None: ...

    def noted(self, name: str, text: str) -> None: ...

    def done(self, name: str, accuracy: float | None, *, failed: bool) -> None: ...


Tell = Callable[[str, str], None]
"""Told of a run under way: its name, and where it stands."""


def run_sweep(
    sweep: Sweep, jobs: int | None = None, bar: Bar | None = None, *, retry: bool = False
) -> dict[str, str]:
    """Do what has not been done of a sweep.

    Args:
        sweep: from `read_sweep`.
        jobs: processes, which share the cores and GPUs evenly; default: one per GPU, without GPUs
            one per core, with Ray one.
        bar: told of every run.
        retry: do again what failed before.

    Returns:
        name -> reason of the runs that failed, now or before.

    Raises:
        ConfigError: a run cannot be built, or the folder belongs to other settings; nothing was
            started.
        RunError: a process or Ray was lost, or the user stopped it; what is done is kept.
    """
    points = sweep.points()
    warnings = _check_parts(sweep, points, retry)
    with RunDirectory.reopen(sweep.folder) as directory:
        directory.reserve()  # two that do one sweep would take their runs from each other
        _check_claim(sweep)
        if retry:
            for record in sweep.folder.glob("*/failed.json"):
                record.unlink()
        recipe = yaml_text.dump(_plain(sweep), default_flow_style=None)
        with directory.told_if_not_writable():
            write_text(sweep.folder / RECIPE, recipe)
        if bar:
            for name, text in warnings:
                bar.noted(name, text)
        with _told_how_to_go_on(sweep), _processes(sweep, jobs) as pool:
            return _all_done(sweep, points, pool, bar)


def _is_left(run: Run | None, retry: bool) -> bool:
    """Whether a run has yet to be done, or to be done again."""
    return run is None or (retry and run.failure is not None)


def _all_done(
    sweep: Sweep, points: list[Point], pool: Pool | None, bar: Bar | None
) -> dict[str, str]:
    """Do the points, and those that tuning adds; name -> reason of the runs that failed."""
    failures: dict[str, str] = {}
    while points:
        todo = {sweep.name(p): sweep.settings(p) for p in points if sweep.result(p) is None}
        if bar:
            bar.grow(len(points))
            bar.skip(len(points) - len(todo))
        for name in _carried_out(todo, pool, bar.inside if bar else _to_nobody):
            if bar:
                done = Run(sweep.folder / name)
                accuracy = done.summary["test_accuracy"] if done.finished else None
                bar.done(name, accuracy, failed=not done.finished)
        for point in points:
            run = sweep.result(point)
            if run is not None and run.failure is not None:
                failures[sweep.name(point)] = run.failure
        points = sweep.extensions()
    return failures


def _check_parts(sweep: Sweep, points: list[Point], retry: bool) -> list[tuple[str, str]]:
    """Build one experiment per combination of parts, before hours go into the others.

    Returns:
        (combination, what a user should know of its runs), a line each.

    Raises:
        ConfigError: one cannot be built; or of earlier runs code or data were others.
    """
    from p2pqg.recipe.settings import read_config
    from p2pqg.running import made_of
    from p2pqg.simulation.build import build

    left = [point for point in points if _is_left(sweep.result(point), retry)]
    seen = {sweep.name({k: v for k, v in p.items() if k not in ("lr", "seed")}): p for p in left}
    told: list[tuple[str, str]] = []
    to_come: list[RunConfig] = []
    for name, point in seen.items():
        try:
            experiment = build(read_config(sweep.settings(point)))
        except ConfigError as error:
            raise type(error)(f"{name}: {error}") from None
        to_come.append(experiment.config)
        told += [(name, warning) for warning in experiment.warnings]
    if left:
        kept = [run for point in points if (run := _kept(sweep, point)) is not None]
        news = made_of.check(sweep.folder, kept, to_come, "runs")
        told += [(sweep.folder.name, line) for line in news]
    return told


def _kept(sweep: Sweep, point: Point) -> Run | None:
    """The run of a point whose numbers count, or that goes on; None: it will begin, or anew."""
    run = Run(sweep.folder / sweep.name(point))
    with contextlib.suppress(ConfigError):
        if run.config and (run.finished or (run.path / "checkpoints").is_dir()):
            return run if run.failure is None else None
    return None


def _plain(sweep: Sweep) -> dict[str, Any]:
    """The recipe of a sweep, in plain lists and mappings."""
    return dict(json.loads(json.dumps(sweep.recipe())))


def _check_claim(sweep: Sweep) -> None:
    """Refuse a folder with runs of other settings."""
    path, recipe = sweep.folder / RECIPE, _plain(sweep)

    def shared(recipe: Mapping[str, Any]) -> dict[str, Any]:
        others = {*HOW, *NOT_OF_A_RUN, "sweep", "tune", "max_extensions"}
        return {key: value for key, value in recipe.items() if key not in others}

    before = yaml_text.parse(path.read_text(encoding="utf-8")) if path.exists() else recipe
    old, new = shared(before), shared(recipe)
    changed = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if changed:
        raise ConfigError(
            f"{sweep.folder} holds runs with other settings ({'; '.join(changed)}); "
            "choose another --out"
        )


def _to_nobody(name: str, text: str) -> None: ...


def carry_out(settings: dict[str, Any], tell: Tell = _to_nobody) -> None:
    """One run; if it fails, failed.json says why.

    Only a full disk, the loss of Ray and Ctrl-C go further: a run is not to blame for them.
    """
    from p2pqg.running.single import resume, run

    inside = Inside(settings["name"], tell)
    directory = user_path(settings["out"]) / settings["name"]
    checkpoints = directory / "checkpoints"
    try:
        if checkpoints.exists():  # a long run of an interrupted sweep
            with contextlib.suppress(ConfigError):  # nothing to go on from: anew
                resume(directory, observer=inside)
        if not Run(directory).finished:
            if (directory / "config.yaml").exists() or checkpoints.exists():
                shutil.rmtree(directory)
            run(**settings, observer=inside)
        shutil.rmtree(checkpoints, ignore_errors=True)
    except (StoppedError, ClusterError, StorageError):
        raise
    except Exception as error:  # on record, so that the other runs go on
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "config.yaml").exists():
            with contextlib.suppress(Exception):  # then the sweep names it, and tables cannot
                write_text(directory / "config.yaml", yaml_text.dump(_resolved(settings)))
        message = str(error).partition("; results so far")[0]
        reason = {"error": type(error).__name__, "message": message}
        write_text(directory / "failed.json", json_text(reason) + "\n")


def _resolved(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run that could not be built because its data could not be split so."""
    from p2pqg.base.config import plain
    from p2pqg.recipe.parts import partition_of
    from p2pqg.recipe.settings import read_config
    from p2pqg.simulation.build import build

    config = build(read_config({**settings, "partition": "iid"})).config
    return plain(config) | {"partition": partition_of(read_config(settings)).resolved()}


@contextlib.contextmanager
def _processes(sweep: Sweep, jobs: int | None) -> Iterator[Pool | None]:
    """A pool of processes that share the machine evenly; None for one job: this process."""
    ours, gpus = cores(), gpus_for(str(sweep.base.get("device", "auto")))
    if jobs is None:
        jobs = 1 if sweep.base["engine"] == "ray" else len(gpus) or len(ours)
    if jobs == 1:
        yield None
        return
    try:
        with Pool(jobs, ours, gpus) as pool:
            yield pool
    except BrokenProcessPool:
        raise RunError(
            "a process of the sweep died, perhaps for lack of memory; "
            "start it again with fewer --jobs, finished runs are kept"
        ) from None


@contextlib.contextmanager
def _told_how_to_go_on(sweep: Sweep) -> Iterator[None]:
    """Ctrl-C or a full disk, in a run or between two: how much is done, and how the rest is."""
    try:
        yield
    except (KeyboardInterrupt, StoppedError, StorageError) as stop:
        is_full = isinstance(stop, StorageError)
        points = sweep.points()
        done = sum(sweep.result(point) is not None for point in points)
        raise (StorageError if is_full else StoppedError)(
            f"{str(stop).partition(';')[0] or 'stopped'}; {'make room, ' * is_full}start it again "
            f"to go on, {done} of {counted(len(points), 'run')} done"
        ) from None


def _carry_out_there(settings: dict[str, Any]) -> None:
    """`carry_out` in a process of the pool; what it tells goes to the parent."""
    carry_out(settings, say)


def _carried_out(
    todo: Mapping[str, dict[str, Any]], pool: Pool | None, tell: Tell
) -> Iterator[str]:
    """Names of the runs as they end."""
    if pool is None:
        for name, settings in todo.items():
            carry_out(settings, tell)
            yield name
        return
    work = {name: (settings,) for name, settings in todo.items()}
    for name, error in pool.carry_out(_carry_out_there, work, tell):
        if error is not None:
            raise error
        yield name
