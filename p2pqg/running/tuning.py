"""Tuning with Optuna: ranges of keys, the same number of trials for every method.

    tune:
      lr: {log: [0.01, 1]}           # drawn evenly in its logarithm
      algorithm.beta: [0.5, 0.99]    # evenly; integers where both ends are
      batch_size: {choose: [16, 32, 64]}
    algorithm: [dsgdm-n, qg-dsgdm-n] # one method or several, each tuned by itself
    seed: [1, 2, 3]
    trials: 20                       # of each method
    validation: 0.1                  # then the best is chosen on these samples

The best trial is that of the most `merit`, as of a sweep's grid: the mean over seeds minus their
deviation, so that nothing is chosen that is one step from where runs diverge.

A study is a file in the folder, and a trial a directory of seeds: what was killed goes on, with the
same trials as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.base import yaml_text
from p2pqg.base.dotted import assign
from p2pqg.base.errors import ConfigError, DivergedError, StoppedError, StorageError
from p2pqg.base.ranges import whole_number
from p2pqg.base.text import folder_name, write_text
from p2pqg.recipe.keys import HOW
from p2pqg.recipe.settings import RunConfig, chosen, read_config
from p2pqg.results.directory import RunDirectory
from p2pqg.results.seeds import Runs, is_of_seeds, load, seeds_of
from p2pqg.results.tuned import merit
from p2pqg.running import made_of
from p2pqg.running.grid import NOT_OF_A_RUN, folder_of
from p2pqg.running.single import resume, run
from p2pqg.simulation.build import build

if TYPE_CHECKING:
    from p2pqg.results.run import Run
    from p2pqg.simulation.simulation import Simulation

TRIALS = 20
RULE = "mean minus deviation"
"""What trials are chosen by, over their seeds; on record, since it was once the mean."""
NOT_TUNED = {
    **dict.fromkeys(("algorithm", "algorithm.name"), "name the methods under algorithm, a list"),
    "seed": "all trials have the same seeds, which are set beside tune",
    **dict.fromkeys(("out", "name"), "trials are named by their number; set it beside tune"),
}
"""Keys that are no choice of a trial -> what to do instead."""
RECORD = "tune.yaml"
"""The file of a folder that says what is tuned in it."""
FIRST = 10
"""Trials that are drawn at random, before earlier ones are learned from."""


@dataclass(frozen=True)
class Tuning:
    """What to tune, as a recipe says.

    Attributes:
        folder: of everything.
        base: settings that all trials share.
        ranges: key -> (kind, its ends or choices); kind is int, float, log or choose.
        methods: values of `algorithm`.
        seeds: of every trial.
        trials: of every method.
    """

    folder: Path
    base: Mapping[str, Any]
    ranges: Mapping[str, tuple[str, list[Any]]]
    methods: tuple[Any, ...]
    seeds: tuple[int, ...]
    trials: int

    @property
    def by(self) -> str:
        """The metric whose merit over the seeds is to be high."""
        return "validation_accuracy" if self.base.get("validation") else "test_accuracy"

    def home(self, method: Any) -> Path:
        """The folder of one method."""
        return self.folder / folder_name(method_name(method))

    def settings(self, method: Any, values: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords of `p2pqg.run` of a trial."""
        settings = json.loads(json.dumps({**self.base, "algorithm": method}))
        for key in sorted(values, key=lambda key: key.count(".")):
            assign(settings, key, values[key])
        return {**settings, "seed": list(self.seeds)}

    def corners(self, method: Any) -> Iterator[dict[str, Any]]:
        """Settings of a run at the ends of all ranges and, one after the other, at each choice."""
        for place in range(max(2, *(len(ends) for _, ends in self.ranges.values()))):
            at = {key: ends[min(place, len(ends) - 1)] for key, (_, ends) in self.ranges.items()}
            yield self.settings(method, at) | {"seed": self.seeds[0]}


@dataclass(frozen=True)
class Best:
    """What came of tuning a method; runs is None where every trial diverged."""

    method: str
    trials: int
    values: Mapping[str, Any]
    runs: Runs | None


def method_name(method: Any) -> str:
    """`qg-dsgdm-n` of a name, or of a mapping of it and its parameters."""
    return chosen(method, "qg-dsgdm-n")[0]


def read_tuning(
    values: Mapping[str, Any],
    name: str,
    out: str | None = None,
    trials: int | None = None,
    where: str | None = None,
) -> Tuning:
    """What to tune, from the mapping of a recipe.

    Args:
        values: the recipe.
        name: of the folder, unless the recipe has one.
        out: where that goes; default: the recipe's, or runs/out.
        trials: of every method; default: the recipe's.
        where: what messages begin with, such as the recipe's file; default: the name.

    Raises:
        ConfigError: with every problem found; nothing was started.
    """
    where = where or name
    base = {str(key).replace("-", "_"): value for key, value in values.items()}
    given, found = base.pop("tune", None), base.pop("trials", TRIALS)
    trials = found if trials is None else trials
    folder = folder_of({**base, "algorithm": None, "seed": None}, name, out, where)
    for key in ("out", "name", *NOT_OF_A_RUN):
        base.pop(key, None)
    base = {"engine": "local", "checkpoint_every": 0, **base}
    methods = base.pop("algorithm", None)
    methods = methods if isinstance(methods, list) else [methods or "qg-dsgdm-n"]
    seed = base.pop("seed", 0)
    seeds = seeds_of(seed) or [seed]
    problems: list[str] = []
    if "sweep" in base:
        problems.append("a recipe with sweep: is for `p2pqg sweep`, which tunes on a grid")
    if not whole_number(trials, 1):
        problems.append(f"trials must be an integer >= 1, got {trials!r}")
    if len(set(map(method_name, methods))) < len(methods) or not methods:
        problems.append(f"algorithm must be different methods, got {methods!r}")
    if not isinstance(given, Mapping) or not given:
        problems.append(f"tune must be keys with ranges, such as lr: [0.01, 1], got {given!r:.60}")
        given = {}
    ranges = {}
    for key, value in given.items():
        key = str(key).replace("-", "_")
        if key in NOT_TUNED:
            problems.append(f"tune.{key}: {NOT_TUNED[key]}")
            continue
        try:
            ranges[key] = _range(key, value)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError.of(problems, where)
    tuning = Tuning(folder, base, ranges, tuple(methods), tuple(seeds), trials)
    for method in methods:
        for settings in tuning.corners(method):
            read_config(settings, where=where)
    return tuning


def _range(key: str, value: Any) -> tuple[str, list[Any]]:
    """(kind, ends or choices) of what a recipe says of a key."""
    rule = f"tune.{key} must be [low, high], {{log: [low, high]}} or {{choose: [...]}}"
    kind, ends = "", value
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, ends),) = value.items()
    if kind not in ("", "log", "choose") or not isinstance(ends, list) or not ends:
        raise ConfigError(f"{rule}, got {value!r:.60}")
    if kind == "choose":
        return kind, ends
    numbers = all(
        isinstance(end, int | float)
        and not isinstance(end, bool)
        and -math.inf < end < math.inf  # so, since whole numbers may be no floats
        for end in ends
    )
    if not numbers or len(ends) != 2 or not ends[0] < ends[1] or (kind and ends[0] <= 0):
        more = " with 0 < low" if kind else ""
        raise ConfigError(f"{rule}, two numbers that rise{more}, got {value!r:.60}")
    whole = all(isinstance(end, int) for end in ends)
    return kind or ("int" if whole else "float"), ends


def tune(tuning: Tuning, tell: Callable[[str], None] = lambda line: None) -> list[Best]:
    """Do what has not been done; the best of every method, in the order of the recipe.

    Args:
        tuning: from `read_tuning`.
        tell: hears a line per trial, and once what is to be known of a method's runs.

    Raises:
        ConfigError: Optuna is not installed, the folder belongs to other settings, or a trial
            cannot be built.
        RunError: stopped; what is done is kept, and the same command goes on.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError("tune needs the package optuna; pip install 'p2pqg[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    _checked_record(tuning)
    for line in _check_trials(tuning):
        tell(line)
    with RunDirectory.reopen(tuning.folder) as directory, warnings.catch_warnings():
        # That a choice may be a mapping: a study is read again as JSON, which knows them.
        warnings.filterwarnings("ignore", "Choices for a categorical distribution")
        directory.reserve()  # two that draw trials of one study would undo each other's
        record = _checked_record(tuning)  # again: another may have begun while these were tried
        with directory.told_if_not_writable():
            write_text(tuning.folder / RECORD, record)
        try:
            return [_tuned(tuning, method, optuna, tell) for method in tuning.methods]
        except (KeyboardInterrupt, StoppedError):  # be it in a run, or between two
            raise StoppedError(
                f"stopped; start it again to go on, what is done is kept: {tuning.folder}"
            ) from None


def _check_trials(tuning: Tuning) -> list[str]:
    """See whether the trials that are left can be built, before hours go into the first ones.

    Returns:
        What a user should know of them, a line each.

    Raises:
        ConfigError: one cannot; or the user's code or data are not what earlier trials ran with.
    """
    begun = {n: [*tuning.home(m).glob("trial*")] for n, m in enumerate(tuning.methods)}
    left = [m for n, m in enumerate(tuning.methods) if len(begun[n]) < tuning.trials]
    to_come = [config for method in left for config in _built(tuning, method)]
    paths = chain(*begun.values()) if left else ()
    firsts = [Runs(path).of_seed(tuning.seeds[0]) for path in paths if is_of_seeds(path)]
    earlier = [one for one in firsts if (one.path / "config.yaml").exists()]
    return made_of.check(tuning.folder, earlier, to_come, "trials")


def _built(tuning: Tuning, method: Any) -> Iterator[RunConfig]:
    """The resolved recipes of a method's choices, each of which can be built."""
    seen = set[str]()
    for settings in tuning.corners(method):
        if (parts := json.dumps(settings | {"lr": None})) not in seen:
            seen.add(parts)
            try:
                yield build(read_config(settings)).config
            except ConfigError as error:
                raise type(error)(f"{method_name(method)}: {error}") from None


def _checked_record(tuning: Tuning) -> str:
    """What is tuned, as the folder shall say it; refuses one with trials of something else."""
    path = tuning.folder / RECORD
    base = {key: value for key, value in tuning.base.items() if key not in HOW}
    ranges = {key: list(value) for key, value in tuning.ranges.items()}
    mine = {"base": base, "tune": ranges, "seed": list(tuning.seeds), "by": RULE}
    mine = json.loads(json.dumps(mine))
    if path.exists():
        before = yaml_text.parse(path.read_text(encoding="utf-8"))
        old_rule = before.get("by") != RULE and len(tuning.seeds) > 1  # one seed has no deviation
        if {**before, "by": RULE} != mine:
            raise ConfigError(
                f"{tuning.folder} holds trials of other settings; choose another --out"
            )
        if old_rule:
            raise ConfigError(
                f"{tuning.folder} holds trials of a version that chose by the mean over seeds, "
                f"this one chooses by {RULE}; choose another --out, and they begin anew"
            )
    return yaml_text.dump(mine)


def _tuned(tuning: Tuning, method: Any, optuna: Any, tell: Callable[[str], None]) -> Best:
    home = tuning.home(method)
    home.mkdir(exist_ok=True)
    storage = optuna.storages.JournalStorage(_journal(home / "study.log", optuna))
    study = optuna.create_study(
        storage=storage, study_name="tune", direction="maximize", load_if_exists=True
    )
    states = optuna.trial.TrialState
    for left in study.get_trials(states=(states.RUNNING,)):  # of a process that was stopped
        study.tell(left.number, state=states.FAIL)
    done = len(study.get_trials(states=(states.COMPLETE, states.PRUNED)))
    heard = _Heard(lambda text: tell(f"note: {method_name(method)}: {text}"))
    for number in range(done, tuning.trials):
        # By its number, so that a study that goes on draws what it would have drawn.
        study.sampler = optuna.samplers.TPESampler(seed=number, n_startup_trials=FIRST)
        trial = study.ask()
        values = {key: _drawn(trial, key, *given) for key, given in tuning.ranges.items()}
        told = ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                         for key, value in values.items())  # fmt: skip
        where = f"{method_name(method)} {number + 1}/{tuning.trials}  {told}"
        trial.set_user_attr("folder", f"trial{number}")
        try:
            runs = _carried_out(home, f"trial{number}", tuning.settings(method, values), heard)
        except DivergedError:
            study.tell(trial, state=states.PRUNED)  # counts as the worst of all
            tell(f"{where}  diverged")
            continue
        if tuning.by not in runs.summary.index:
            raise ConfigError(
                "tune goes by the accuracy, and targets that are no classes have none; take other "
                "data, or `p2pqg sweep`"
            )
        found = merit([runs.of_seed(seed).summary[tuning.by] for seed in tuning.seeds])
        study.tell(trial, found)
        spread = " (mean - deviation)" if len(tuning.seeds) > 1 else ""
        tell(f"{where}  {tuning.by.replace('_', ' ')} {found:.4f}{spread}")
    # Of those asked for: where there are more, another method may have had fewer.
    counted = study.get_trials(states=(states.COMPLETE, states.PRUNED))[: tuning.trials]
    good = [trial for trial in counted if trial.state == states.COMPLETE]
    if not good:
        return Best(method_name(method), tuning.trials, {}, None)
    best = max(good, key=lambda trial: trial.value)
    write_text(home / "best.yaml", yaml_text.dump(tuning.settings(method, best.params)))
    chosen_runs: Any = load(home / best.user_attrs["folder"])
    return Best(method_name(method), tuning.trials, dict(best.params), chosen_runs)


def _journal(file: Path, optuna: Any) -> Any:
    """Where a study is kept: a line per step; nobody else is at it.

    What a full disk has left of a line is cut off: with the next one behind it, nobody could read
    the study again. The lock of a process that was killed is taken away: Optuna would wait half a
    minute for it.
    """
    file.with_name(f"{file.name}.lock").unlink(missing_ok=True)
    if file.exists():
        whole = file.read_bytes().rpartition(b"\n")
        os.truncate(file, len(whole[0] + whole[1]))
    backend = optuna.storages.journal.JournalFileBackend(str(file))
    append = backend.append_logs

    def append_or_tell(logs: Any) -> None:
        try:
            append(logs)
        except OSError as error:
            raise StorageError(
                f"{file} cannot be written ({error.strerror or error}); make room, start it again "
                "to go on, what is done is kept"
            ) from None

    backend.append_logs = append_or_tell
    return backend


def _drawn(trial: Any, key: str, kind: str, ends: list[Any]) -> Any:
    if kind == "choose":
        return trial.suggest_categorical(key, ends)
    if kind == "int":
        return trial.suggest_int(key, *ends)
    return trial.suggest_float(key, *ends, log=kind == "log")


class _Heard:
    """Watches the runs of a method's trials, and tells once what a user should know of them."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._told = tell, set[str]()

    def begin(self, simulation: Simulation, path: Path) -> None:
        for warning in simulation.experiment.warnings:
            self.noted(warning)

    def recorded(self, simulation: Simulation) -> None: ...

    def noted(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def end(self, run: Run) -> None: ...

    @contextmanager
    def several(self) -> Iterator[_Abroad]:
        """Hears seeds in processes of their own."""
        yield _Abroad(self)


class _Abroad:
    """Hears what processes say of their runs, as a `p2pqg.running.screen.SeedsBar` does."""

    def __init__(self, heard: _Heard) -> None:
        self._heard = heard

    def begun(self, name: str, about: list[tuple[str, str]]) -> None:
        for kind, text in about:
            if kind == "warning":
                self._heard.noted(text)

    def noted(self, name: str, text: str) -> None:
        self._heard.noted(text)

    def grow(self, num_runs: int) -> None: ...

    def inside(self, name: str, text: str) -> None: ...

    def done(self, name: str, accuracy: float | None, *, failed: bool) -> None: ...


def _carried_out(home: Path, name: str, settings: dict[str, Any], heard: _Heard) -> Runs:
    """The runs of a trial; begun before, they go on."""
    found: Any
    path = home / name
    if is_of_seeds(path):
        before = Runs(path)
        if any((before.of_seed(seed).path / "config.yaml").exists() for seed in before.seeds):
            if before.missing:
                found = resume(path, observer=heard)
                return Runs(found.path)
            if not before.finished:
                raise DivergedError(f"{path}: a seed diverged")
            return before
        (path / "seeds.json").unlink()
    found = run(out=str(home), name=name, observer=heard, **settings)
    return Runs(found.path)
