"""A grid of runs, resumable, with learning rates tuned alike for every method.

    sweep:                           # any keys of a recipe, dotted ones too
      algorithm: [dsgd, qg-dsgdm-n]
      lr: [0.05, 0.1, 0.2]
      seed: [1, 2, 3]
    tune: lr                         # extend the grid where the best value lies on its edge
    max_extensions: 2

A run directory with a complete summary or a failed.json is done; whatever else is there is begun
anew. Tuning picks the best mean over seeds of the final test accuracy; there is no validation set.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from p2pqg.errors import (
    ConfigError,
    DivergedError,
    P2pqgError,
    RunError,
    StoppedError,
    did_you_mean,
)
from p2pqg.records import Run, write_text

Point = dict[str, Any]
"""One run of the grid: key -> value."""

SELF_EVIDENT = ("algorithm", "topology", "dataset", "model", "partition")
"""Keys whose values speak for themselves in a run's name."""


class Bar(Protocol):
    """Somebody who watches the sweep."""

    def grow(self, num_runs: int) -> None: ...

    def skip(self, num_runs: int) -> None: ...

    def done(self, name: str, accuracy: float | None) -> None: ...


@dataclass(frozen=True)
class Sweep:
    """A grid, as its recipe says.

    Attributes:
        folder: holds one directory per run.
        base: the settings that all runs share.
        axes: key -> the values it takes.
        tune: the key whose values are tuned, or None.
        max_extensions: of the tuned key, per cell of the grid, >= 0.
        added: cell (as text) -> values added to the tuned key so far.
    """

    folder: Path
    base: Mapping[str, Any]
    axes: Mapping[str, list[Any]]
    tune: str | None = None
    max_extensions: int = 2
    added: dict[str, list[float]] = field(default_factory=dict)

    def points(self) -> list[Point]:
        """The grid as the recipe has it; the last axis varies fastest."""
        return [
            dict(zip(self.axes, values, strict=True))
            for values in itertools.product(*self.axes.values())
        ]

    def name(self, point: Point) -> str:
        """A run's directory: `qg-dsgdm-n-ring16-alpha0.1-lr0.05-seed1`."""
        words = "-".join(_word(key, value) for key, value in point.items())
        return re.sub(r"[^\w.+=,-]", "_", words)

    def settings(self, point: Point) -> dict[str, Any]:
        """The keywords of `p2pqg.run` for a point."""
        settings = dict(self.base)
        for key in sorted(point, key=lambda key: key.count(".")):  # a part before its parameters
            assign(settings, key, point[key])
        return settings | {"out": str(self.folder), "name": self.name(point)}

    def result(self, point: Point) -> Run | None:
        """The run of a point, finished or failed; None if it has yet to be done."""
        run = Run(self.folder / self.name(point))
        return run if run.failure is not None or run.finished else None

    def extensions(self) -> list[Point]:
        """Points to add where the best value of the tuned key lies on the edge of its values.

        All points so far must have results.
        """
        new: list[Point] = []
        for cell, seeds in self._cells().items():
            added = self.added.setdefault(cell, [])
            value = beyond_the_edge(self._means(cell, seeds))
            if value is not None and len(added) < self.max_extensions:
                added.append(value)
                new += [point | {self.tune: value} for point in seeds]
        return new

    def open_cells(self) -> list[str]:
        """Cells whose best value of the tuned key is still on the edge of what was tried."""
        return [
            cell
            for cell, seeds in self._cells().items()
            if beyond_the_edge(self._means(cell, seeds)) is not None
        ]

    def _cells(self) -> dict[str, list[Point]]:
        """Cell -> one point per seed; a cell is all that is compared to tune; none: no tuning."""
        cells: dict[str, list[Point]] = {}
        for point in self.points() if self.tune else []:
            if point[self.tune] == self.axes[self.tune][0]:
                rest = {k: v for k, v in point.items() if k not in (self.tune, "seed")}
                cells.setdefault(self.name(rest), []).append(point)
        return cells

    def _means(self, cell: str, seeds: list[Point]) -> dict[float, float]:
        """Value of the tuned key -> mean over the seeds of a cell."""
        values = [*self.axes[self.tune], *self.added.get(cell, [])]
        return {v: self._mean([point | {self.tune: v} for point in seeds]) for v in values}

    def _mean(self, points: list[Point]) -> float:
        """Mean test accuracy of finished runs; minus infinity if one of them failed."""
        runs = [Run(self.folder / self.name(point)) for point in points]
        if not all(run.finished for run in runs):
            return float("-inf")
        return sum(run.summary["test_accuracy"] for run in runs) / len(runs)


def _word(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        rest = {k: v for k, v in value.items() if k != "name"}
        return "-".join([str(value.get("name", "")), *(_word(k, v) for k, v in rest.items())])
    text = f"{value:g}" if isinstance(value, float) else str(value).lower()
    return text if key in SELF_EVIDENT else key.rpartition(".")[2] + text


def assign(settings: dict[str, Any], key: str, value: Any) -> None:
    """settings["a"]["b"] = value for the key `a.b`; a part given by its name becomes a mapping."""
    *path, last = key.split(".")
    for part in path:
        inner = settings.get(part) or {}
        settings[part] = {"name": inner} if isinstance(inner, str) else dict(inner)
        settings = settings[part]
    settings[last] = value


def beyond_the_edge(means: Mapping[float, float]) -> float | None:
    """The next value of a geometric grid on the side where the best one is; None if it is inside.

    >>> beyond_the_edge({0.1: 0.8, 0.2: 0.9, 0.4: 0.7})
    >>> beyond_the_edge({0.1: 0.7, 0.2: 0.8, 0.4: 0.9})
    0.8
    """
    values = sorted(means)
    best = max(values, key=means.__getitem__)
    if best == values[0]:
        edge, neighbor = values[0], values[1]
    elif best == values[-1]:
        edge, neighbor = values[-1], values[-2]
    else:
        return None
    return float(f"{edge * edge / neighbor:.6g}")  # the same digits, and so the same name, always


def read_sweep(values: Mapping[str, Any], name: str, out: str | None = None) -> Sweep:
    """A sweep from the mapping of its recipe.

    Args:
        values: a recipe with `sweep`, perhaps with `tune`, `max_extensions`, `name` and `out`.
        name: the sweep's folder, unless the recipe has a name.
        out: where that folder goes; default: the recipe's, or runs/out.

    Raises:
        ConfigError: with every problem found in the recipe or in one of its runs.
    """
    from p2pqg.experiment import read_config

    base = {str(key).replace("-", "_"): value for key, value in values.items()}
    axes, tune = base.pop("sweep", None), base.pop("tune", None)
    extensions = base.pop("max_extensions", 2)
    folder = Path(out or base.pop("out", None) or "runs/out") / (base.pop("name", None) or name)
    base.pop("out", None)
    base.setdefault("engine", "local")  # no start of Ray for every small run
    if not isinstance(axes, Mapping) or not axes:
        raise ConfigError(f"{name}: sweep must be a mapping of keys to lists, got {axes!r}")
    problems = [
        f"sweep.{key} must be a list of values, got {given!r}"
        for key, given in axes.items()
        if not isinstance(given, list) or not given
    ]
    axes = {str(key).replace("-", "_"): given for key, given in axes.items()}
    if tune is not None and tune not in axes:
        problems.append(f"tune must be a key of sweep, got {tune!r}{did_you_mean(str(tune), axes)}")
    elif tune is not None and not problems:
        try:
            axes[tune] = sorted({float(value) for value in axes[tune]})
        except (TypeError, ValueError):
            problems.append(f"sweep.{tune} must be numbers to be tuned, got {axes[tune]}")
        else:
            if len(axes[tune]) < 2 or axes[tune][0] <= 0:
                problems.append(f"sweep.{tune} must be two numbers > 0 or more, got {axes[tune]}")
    if not isinstance(extensions, int) or extensions < 0:
        problems.append(f"max_extensions must be an integer >= 0, got {extensions!r}")
    if problems:
        raise ConfigError.of(problems, name)
    sweep = Sweep(folder, base, axes, tune, extensions)
    points = sweep.points()
    if len({sweep.name(point) for point in points}) < len(points):
        raise ConfigError(f"{name}: a list in sweep has the same value twice")
    for point in points:
        read_config(sweep.settings(point), where=f"{name}, {sweep.name(point)}")
    return sweep


def run_sweep(sweep: Sweep, jobs: int | None = None, bar: Bar | None = None) -> dict[str, str]:
    """Do what has not been done of a sweep.

    Args:
        sweep: from `read_sweep`.
        jobs: processes, which share the cores evenly; default: one per core, one with Ray.
        bar: told of every run.

    Returns:
        name -> reason of the runs that failed, now or before.

    Raises:
        ConfigError: a run cannot be built, or the folder belongs to other settings; nothing was
            started.
        RunError: a process or Ray was lost, or the user stopped it; what is done is kept.
    """
    jobs = jobs or (1 if sweep.base["engine"] == "ray" else len(os.sched_getaffinity(0)))
    failures: dict[str, str] = {}
    points = sweep.points()
    _check_parts(sweep, [point for point in points if sweep.result(point) is None])
    _claim(sweep)
    with _processes(jobs) as pool:
        while points:
            todo = {sweep.name(p): sweep.settings(p) for p in points if sweep.result(p) is None}
            if bar:
                bar.grow(len(points))
                bar.skip(len(points) - len(todo))
            for name in _carried_out(todo, pool):
                if bar:
                    run = Run(sweep.folder / name)
                    bar.done(name, run.summary["test_accuracy"] if run.finished else None)
            for point in points:
                run = sweep.result(point)
                if run is not None and run.failure is not None:
                    failures[sweep.name(point)] = run.failure
            points = sweep.extensions()
    return failures


def _check_parts(sweep: Sweep, points: list[Point]) -> None:
    """Build one experiment per combination of parts, before hours go into the others."""
    from p2pqg.experiment import build, read_config

    seen = {sweep.name({k: v for k, v in p.items() if k not in ("lr", "seed")}): p for p in points}
    for name, point in seen.items():
        try:
            build(read_config(sweep.settings(point)))
        except ConfigError as error:
            raise type(error)(f"{name}: {error}") from None


def _claim(sweep: Sweep) -> None:
    """Note the settings all runs share; refuse a folder with runs of other settings."""
    path = sweep.folder / "sweep.yaml"
    base = json.loads(json.dumps(sweep.base))
    before = yaml.safe_load(path.read_text())["base"] if path.exists() else base
    changed = [
        f"{key} was {before.get(key)!r}, is {base.get(key)!r}"
        for key in sorted(before.keys() | base.keys())
        if before.get(key) != base.get(key)
    ]
    if changed:
        raise ConfigError(
            f"{sweep.folder} holds runs with other settings ({'; '.join(changed)}); "
            "choose another --out"
        )
    sweep.folder.mkdir(parents=True, exist_ok=True)
    note = {"base": base, "sweep": json.loads(json.dumps(sweep.axes))}
    write_text(path, yaml.safe_dump(note, sort_keys=False))


def carry_out(settings: dict[str, Any]) -> None:
    """One run; if it diverges or cannot be built, failed.json says why."""
    from p2pqg.simulation import run

    directory = Path(settings["out"]) / settings["name"]
    if (directory / "config.yaml").exists():  # what an interrupted sweep left
        shutil.rmtree(directory)
    try:
        run(**settings)
    except (DivergedError, ConfigError) as error:
        directory.mkdir(parents=True, exist_ok=True)
        reason = {"error": type(error).__name__, "message": _reason(error)}
        write_text(directory / "failed.json", json.dumps(reason, indent=2) + "\n")


def _reason(error: P2pqgError) -> str:
    return str(error).partition("; results so far")[0]


@contextlib.contextmanager
def _processes(jobs: int) -> Iterator[ProcessPoolExecutor | None]:
    """A pool of processes that share the cores evenly; None for one job: this process."""
    if jobs == 1:
        yield None
        return
    context = multiprocessing.get_context("spawn")
    cores = sorted(os.sched_getaffinity(0))
    shares = context.Queue()
    for job in range(jobs):
        shares.put(set(cores[job::jobs]) or {cores[job % len(cores)]})
    pool = ProcessPoolExecutor(jobs, context, _take_cores, (shares,))
    try:
        yield pool
    except BrokenProcessPool:
        raise RunError(
            "a process of the sweep died, perhaps for lack of memory; "
            "start it again with fewer --jobs, finished runs are kept"
        ) from None
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        if isinstance(error, KeyboardInterrupt):
            raise StoppedError("stopped; start it again to go on, finished runs are kept") from None
        raise
    pool.shutdown()


def _take_cores(shares: Any) -> None:
    """A process of the pool keeps to its share of the cores; Ctrl-C is its parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setaffinity(0, shares.get())


def _carried_out(
    todo: Mapping[str, dict[str, Any]], pool: ProcessPoolExecutor | None
) -> Iterator[str]:
    """Names of the runs as they end."""
    if pool is None:
        for name, settings in todo.items():
            carry_out(settings)
            yield name
        return
    names = {pool.submit(carry_out, settings): name for name, settings in todo.items()}
    for future in as_completed(names):
        future.result()
        yield names[future]
