"""Grids of runs: their names, their settings, and the protocol that tunes one key.

    sweep:                           # any keys of a recipe, dotted ones too
      algorithm: [dsgd, qg-dsgdm-n]
      lr: [0.05, 0.1, 0.2]
      seed: [1, 2, 3]
    tune: lr                         # extend the grid where the best value lies on its edge
    max_extensions: 2

`sweep` may also be a list of such grids, for methods that need other networks or other rates.
The protocol is the paper's (Section 5.1): the best value of the tuned key must lie inside the
values tried, or more are tried. All cells begin with equally many values and may grow equally
often. The best is that of the most merit, the mean over seeds minus their standard deviation: of
the accuracy on validation samples where the recipe holds some out (`validation: 0.1`), else of the
test accuracy.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.base.dotted import assign, flat
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.text import folder_name, user_path
from p2pqg.base.wording import plain_text
from p2pqg.recipe.keys import SELF_EVIDENT
from p2pqg.results.alike import settings_of
from p2pqg.results.run import Run
from p2pqg.results.tuned import merit

if TYPE_CHECKING:
    from p2pqg.recipe.settings import RunConfig

Point = dict[str, Any]
"""One run of a grid: key -> value."""

Axes = Mapping[str, list[Any]]
"""One grid: key -> the values it takes."""

NOT_OF_A_RUN = ("source", "figure", "paper", "claim")
"""Keys of a recipe that say what it is for; its runs do not have them."""

MOST_EXTENSIONS = 2
"""Extensions of the tuned key, per cell of a grid, where a recipe does not say."""


@dataclass(frozen=True)
class Sweep:
    """Grids, as their recipe says.

    Attributes:
        folder: holds one directory per run.
        base: the settings that all runs share.
        grids: of the keys in which they differ.
        tune: the key whose values are tuned, or None.
        max_extensions: of the tuned key, per cell of a grid, >= 0.
        about: what the recipe is for: its source, the table of the paper beside it.
        added: cell (as text) -> values added to the tuned key so far.
    """

    folder: Path
    base: Mapping[str, Any]
    grids: tuple[Axes, ...]
    tune: str | None = None
    max_extensions: int = MOST_EXTENSIONS
    about: Mapping[str, Any] = field(default_factory=dict)
    added: dict[str, list[float]] = field(default_factory=dict)

    def points(self) -> list[Point]:
        """The grids as the recipe has them; the last key of each varies fastest."""
        return [point for axes in self.grids for point in _points(axes)]

    def name(self, point: Point) -> str:
        """A run's directory: `qg-dsgdm-n-ring16-alpha0.1-lr0.05-seed1`."""
        words = "-".join(_word(key, value) for key, value in point.items())
        before = re.sub(r"[^\w.+=,-]", "_", words)  # version 0.1.0; such sweeps go on, too
        if (self.folder / before).exists():
            return before
        rounded = folder_name("-".join(_word(k, v, "{:g}".format) for k, v in point.items()))
        name = folder_name(words)  # with all digits, which names did not have before
        return rounded if rounded != name and self._holds(rounded, point) else name

    def _holds(self, name: str, point: Point) -> bool:
        """Whether there is a run of that name, and with those very numbers."""
        run = Run(self.folder / name)
        if not (run.path / "config.yaml").is_file():
            return False
        has, wanted = flat(run.config), flat(point)
        return all(
            has.get(k) == v for k, v in wanted.items() if isinstance(v, float) or "[" in f"{v}"
        )

    def settings(self, point: Point) -> dict[str, Any]:
        """The keywords of `p2pqg.run` for a point."""
        settings = dict(self.base)
        for key in sorted(point, key=lambda key: key.count(".")):  # a part before its parameters
            assign(settings, key, point[key])
        return settings | {"out": str(self.folder), "name": self.name(point)}

    def recipe(self) -> dict[str, Any]:
        """The recipe that repeats this sweep."""
        grids = [dict(axes) for axes in self.grids]
        recipe = {**self.about, **self.base, "sweep": grids if len(grids) > 1 else grids[0]}
        if self.tune:
            recipe |= {"tune": self.tune, "max_extensions": self.max_extensions}
        return recipe

    def result(self, point: Point) -> Run | None:
        """The run of a point, finished or failed; None if it has yet to be done."""
        run = Run(self.folder / self.name(point))
        try:
            return run if run.failure is not None or run.finished else None
        except ConfigError as error:
            raise ConfigError(f"{error}; remove {run.path}, and it is run again") from None

    def extensions(self) -> list[Point]:
        """Points to add where the best value of the tuned key lies on the edge of its values.

        All points so far must have results.
        """
        new: list[Point] = []
        for cell, seeds, values in self._cells():
            added = self.added.setdefault(cell, [])
            value = beyond_the_edge(self._merits(seeds, values))
            if value is not None and len(added) < self.max_extensions:
                added.append(value)
                new += [self._tuned(point, value) for point in seeds]
        return new

    def open_cells(self) -> list[str]:
        """Cells whose best value of the tuned key is still on the edge of what was tried."""
        return [
            cell
            for cell, seeds, values in self._cells()
            if beyond_the_edge(self._merits(seeds, values)) is not None
        ]

    def _cells(self) -> Iterator[tuple[str, list[Point], list[float]]]:
        """(cell, one point per seed, values so far); a cell is all that is compared to tune."""
        if self.tune is None:
            return
        for axes in self.grids:
            cells: dict[str, list[Point]] = {}
            for point in _points({**axes, self.tune: axes[self.tune][:1]}):
                rest = {k: v for k, v in point.items() if k not in (self.tune, "seed")}
                cells.setdefault(self.name(rest), []).append(point)
            for cell, seeds in cells.items():
                yield cell, seeds, [*axes[self.tune], *self.added.get(cell, [])]

    def _merits(self, seeds: list[Point], values: list[float]) -> dict[float, float]:
        """Value of the tuned key -> its merit over the seeds of a cell."""
        return {v: self._merit([self._tuned(point, v) for point in seeds]) for v in values}

    def _tuned(self, point: Point, value: float) -> Point:
        """The point with that value of the tuned key."""
        assert self.tune is not None
        return point | {self.tune: value}

    def _merit(self, points: list[Point]) -> float:
        """Merit of finished runs; minus infinity if one of them failed.

        On the validation samples where all of them held some out: then nothing is chosen by what
        it is judged by.
        """
        runs = [Run(self.folder / self.name(point)) for point in points]
        if not all(run.finished for run in runs):
            return float("-inf")
        held_out = [run.summary.get("validation_accuracy") for run in runs]
        key = "test_accuracy" if None in held_out else "validation_accuracy"
        return merit([run.summary[key] for run in runs])


def _points(axes: Axes) -> Iterator[Point]:
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _word(key: str, value: Any, say: Callable[[float], str] = plain_text) -> str:
    if isinstance(value, Mapping):
        rest = {k: v for k, v in value.items() if k != "name"}
        return "-".join([str(value.get("name", "")), *(_word(k, v, say) for k, v in rest.items())])
    if isinstance(value, list):
        text = ",".join(_word("", each, say) for each in value)
    else:
        text = say(value) if isinstance(value, float) else str(value).lower()
    return text if key in SELF_EVIDENT else key.rpartition(".")[2] + text


def beyond_the_edge(merits: Mapping[float, float]) -> float | None:
    """The next value of a geometric grid on the side where the best one is; None if it is inside.

    >>> beyond_the_edge({0.1: 0.8, 0.2: 0.9, 0.4: 0.7})
    >>> beyond_the_edge({0.1: 0.7, 0.2: 0.8, 0.4: 0.9})
    0.8
    """
    values = sorted(merits)
    best = max(values, key=merits.__getitem__)
    if best == values[0]:
        edge, neighbor = values[0], values[1]
    elif best == values[-1]:
        edge, neighbor = values[-1], values[-2]
    else:
        return None
    return float(f"{edge * edge / neighbor:.6g}")  # the same digits, and so the same name, always


def folder_of(
    values: Mapping[str, Any], name: str, out: str | None = None, where: str | None = None
) -> Path:
    """Where a recipe's results go: `out` or its own or runs/out, then its name or `name`.

    Args:
        values: the recipe.
        name: see above.
        out: see above.
        where: what messages begin with; default: the name.

    Raises:
        ConfigError: either cannot be a folder's name.
    """
    from p2pqg.recipe.settings import read_config

    read_config({"out": out or values.get("out"), "name": values.get("name")}, where=where or name)
    return user_path(out or values.get("out") or "runs/out") / (values.get("name") or name)


def read_sweep(
    values: Mapping[str, Any], name: str, out: str | None = None, where: str | None = None
) -> Sweep:
    """A sweep from the mapping of its recipe.

    Args:
        values: a recipe with `sweep`, perhaps with `tune`, `max_extensions`, `name` and `out`.
        name: the sweep's folder, unless the recipe has a name.
        out: where that folder goes; default: the recipe's, or runs/out.
        where: what messages begin with, such as the recipe's file; default: the name.

    Raises:
        ConfigError: with every problem found in the recipe or in one of its runs.
    """
    from p2pqg.recipe.settings import read_config

    where = where or name
    base = {str(key).replace("-", "_"): value for key, value in values.items()}
    given, tune = base.pop("sweep", None), base.pop("tune", None)
    extensions = base.pop("max_extensions", None)
    about = {key: base.pop(key) for key in NOT_OF_A_RUN if base.get(key) is not None}
    folder = folder_of(base, name, out, where)
    for key in ("out", "name"):
        base.pop(key, None)
    base.setdefault("engine", "local")  # no start of Ray for every small run
    base.setdefault("checkpoint_every", 0)  # nor two files more; recipes of long runs say otherwise
    grids, problems = _read_grids(given)
    if tune is None and extensions is not None:
        problems.append("max_extensions is of a tuned key, add tune: lr; or leave it out")
    if tune is not None and not problems:
        problems += _make_tunable(grids, str(tune))
    extensions = MOST_EXTENSIONS if extensions is None else extensions
    if not isinstance(extensions, int) or extensions < 0:
        problems.append(f"max_extensions must be an integer >= 0, got {extensions!r}")
    if problems:
        raise ConfigError.of(problems, where)
    sweep = Sweep(folder, base, tuple(grids), tune, extensions, about)
    every = [sweep.settings(point) for point in sweep.points()]
    for same, count in Counter(settings["name"] for settings in every).items():
        if count > 1:
            raise ConfigError(f"{where}: sweep has {same} twice; take a value out of a list")
    runs = [read_config(settings, where=f"{where}, {settings['name']}") for settings in every]
    _check_claims(sweep, runs, where)
    return sweep


def _check_claims(sweep: Sweep, runs: list[RunConfig], where: str) -> None:
    """Refuse claims on runs that the sweep does not have, before any is done."""
    from p2pqg.base.config import plain
    from p2pqg.results.claims import check, read_claims

    try:
        claims = read_claims(sweep.about.get("claim"))
        if claims:
            check(claims, settings_of([Planned(plain(run)) for run in runs]))
    except ConfigError as error:
        raise ConfigError.of(error.lines, where) from None


@dataclass(frozen=True)
class Planned:
    """A run that has yet to be done."""

    config: dict[str, Any]


def _read_grids(given: Any) -> tuple[list[dict[str, list[Any]]], list[str]]:
    """(grids, problems) from what a recipe has under `sweep`."""
    several = isinstance(given, list)
    grids, problems = [], []
    for index, axes in enumerate(given if several and given else [given]):
        where = f"sweep[{index}]" if several else "sweep"
        if not isinstance(axes, Mapping) or not axes:
            problems.append(f"{where} must be a mapping of keys to lists, got {axes!r}")
            continue
        problems += [
            f"{where}.{key} must be a list of values, got {found!r}"
            for key, found in axes.items()
            if not isinstance(found, list) or not found
        ]
        problems += [
            f"{where}.{key}: runs of a sweep are named after their values; set {key} beside sweep"
            for key in ("out", "name")
            if key in axes
        ]
        grids.append({str(key).replace("-", "_"): found for key, found in axes.items()})
    return grids, problems


def _make_tunable(grids: list[dict[str, list[Any]]], tune: str) -> list[str]:
    """Sort the values of the tuned key, in place; problems if that cannot be done."""
    problems = []
    for axes in grids:
        if tune not in axes:
            problems.append(f"tune must be a key of sweep, got {tune!r}{did_you_mean(tune, axes)}")
            continue
        try:
            axes[tune] = sorted({float(value) for value in axes[tune]})
        except (TypeError, ValueError):
            problems.append(f"sweep.{tune} must be numbers to be tuned, got {axes[tune]}")
            continue
        if len(axes[tune]) < 2 or axes[tune][0] <= 0:
            problems.append(f"sweep.{tune} must be two numbers > 0 or more, got {axes[tune]}")
    counts = [len(axes[tune]) for axes in grids if tune in axes]
    if not problems and len(set(counts)) > 1:
        problems.append(
            f"sweep.{tune} must have equally many values in every grid, so that no method is "
            f"tuned more than another, got {' and '.join(map(str, counts))}"
        )
    return problems
