"""Seeds side by side in processes, or one after the other in this one: the numbers are the same.

A process gets what this one has read: the recipe, and the user's objects, which travel by value.
Sinks are opened where a seed runs. Seeds stay here where that is faster, or where they have to.
"""

from __future__ import annotations

import dis
import inspect
import math
import multiprocessing
import pickle
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError, P2pqgError, RunError, StoppedError, notice
from p2pqg.base.memory import available_memory
from p2pqg.base.ranges import whole_number
from p2pqg.base.text import typed
from p2pqg.base.user_code import names_a_file
from p2pqg.data import DATASETS
from p2pqg.engine.machine import cores
from p2pqg.engine.placement import FLOPS_PER_CORE, SHORT_ROUND
from p2pqg.recipe.own import Own
from p2pqg.recipe.settings import RunConfig, chosen
from p2pqg.results import seeds as results
from p2pqg.results.directory import any_begun
from p2pqg.running.pool import Inside, Pool, gpus_for, say
from p2pqg.running.sinks import with_sinks

if TYPE_CHECKING:
    from p2pqg.results.run import Run
    from p2pqg.running.observer import Observer
    from p2pqg.simulation.hosting import Hosting
    from p2pqg.simulation.simulation import Simulation

SECONDS_TO_START = 3.0
"""What a process computes before its first round: Python, torch, the samples."""

SECONDS_OF_A_ROUND = 0.0005
"""The least that one takes, whatever is computed in it."""

BYTES_OF_A_PROCESS = 600 * 2**20
"""Beside models and samples: torch, above all."""

WATCHES = ("begin", "recorded", "noted", "end")
"""What an observer must have."""

Do = Callable[..., Any]
"""Runs one seed; called with an observer."""

IMMUTABLE = (str, bytes, int, float, complex, bool, type(None), Path)
CODE = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)


@dataclass(frozen=True)
class Crew:
    """Who runs several seeds.

    Attributes:
        jobs: processes at most; None: as many as are faster, and one where a seed alone would
            share its rounds among all cores, which is the same to rounding only.
        observer: a screen, an object of the user's, or None.
        sinks: names.
    """

    jobs: int | None
    observer: Observer | None
    sinks: Sequence[str]
    _told: set[str] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        """Refuse a wrong number, and an observer that is none.

        Raises:
            ConfigError: it is so.
        """
        jobs = self.jobs
        if jobs is not None and not whole_number(jobs, 1):
            raise ConfigError(f"jobs must be an integer >= 1 or left out, got {jobs!r:.60}")
        if isinstance(self.observer, type):
            raise ConfigError(
                f"observer is the class {self.observer.__name__}; give an object of it, "
                f"{self.observer.__name__}()"
            )
        lacking = [name for name in WATCHES if not callable(getattr(self.observer, name, None))]
        if self.observer is not None and lacking:
            raise ConfigError(
                f"observer ({type(self.observer).__name__}) must have {', '.join(lacking)}; see "
                "p2pqg.running.observer.Observer"
            )

    def tell(self, text: str) -> None:
        """Tell who watches what has to be known; if nobody does, warn by `Notice`, once."""
        if self.observer:
            self.observer.noted(text)
        elif text not in self._told:
            self._told.add(text)
            notice(text)

    def each(
        self, todo: Mapping[int, Do], path: Path, config: RunConfig, own: Own, stays: str = ""
    ) -> Iterator[tuple[int, P2pqgError | None]]:
        """Do all; yields seeds as they end, and why if it was not well.

        Args:
            todo: seed -> what runs it.
            path: of all of them.
            config: of the first one.
            own: its objects.
            stays: why they cannot leave this process, if so.

        Raises:
            ConfigError: nothing can be built of the settings; nothing was started.
            RunError: stopped, or a process was lost.
        """
        jobs, why = self._jobs(len(todo), config, own, stays)
        work = {}
        if jobs > 1:
            try:
                work = {seed: self._packed(do) for seed, do in todo.items()}
            except Exception as error:  # whatever keeps the user's object from being pickled
                what = " ".join(str(error).split())
                jobs, why = 1, f"an object of the settings cannot go to other processes ({what})"
        if why:
            self.tell(f"seeds run one after the other: {why}")
        if jobs > 1:
            yield from self._side_by_side(work, path, jobs, config)
            return
        with (
            with_sinks(self.sinks, self.observer or _Unwatched(self.tell)) as watcher,
            closing(_OneRay(watcher)) as keeping,
        ):
            for seed, do in todo.items():
                try:
                    do(observer=keeping)
                    yield seed, None
                except P2pqgError as error:
                    keeping.close()  # it may be Ray that was lost
                    yield seed, error

    def _jobs(self, count: int, config: RunConfig, own: Own, stays: str) -> tuple[int, str]:
        """How many processes; if one only, why a user should know."""
        wish = self.jobs
        if wish is None and config.engine == "ray":
            return 1, ""  # a cluster has all cores already
        if 1 in (count, wish) or multiprocessing.current_process().daemon:
            return 1, ""
        gpus = gpus_for(config.device)
        most = min(count, wish or len(gpus) or len(cores()))
        if most == 1:
            return 1, ""
        if stays := stays or _known_here(config):
            return 1, stays
        if wish is None:
            most = self._worth_it(most, count, config, own, on_gpus=bool(gpus))
            if most > 1 and (reason := self._remembers(own)):
                return 1, f"{reason}; jobs={most} gives each process a copy"
        return most, ""

    def _worth_it(
        self, most: int, count: int, config: RunConfig, own: Own, *, on_gpus: bool
    ) -> int:
        """As many processes as there is memory for, if that is faster; else one."""
        from p2pqg.simulation.build import build

        experiment = build(config, own)
        free = available_memory()
        if free is not None:
            each = BYTES_OF_A_PROCESS + experiment.memory_bytes("cuda" if on_gpus else "cpu")
            most = max(1, min(most, int(free // each)))
        computing = experiment.num_clients * experiment.flops_per_client() / FLOPS_PER_CORE
        if not on_gpus and computing >= SHORT_ROUND:
            return 1
        length = experiment.num_rounds * (computing + SECONDS_OF_A_ROUND)
        saved = (count - math.ceil(count / most)) * length
        return most if saved > SECONDS_TO_START else 1

    def _remembers(self, own: Own) -> str:
        """What would be lost of what the user's objects learn, if they were copied; "": nothing."""
        if self.observer is not None and not hasattr(self.observer, "several"):
            return "the observer is an object of this process"
        for number, one in (own.get("callbacks") or {}).items():
            if not inspect.isroutine(one):
                if not inspect.isclass(one):
                    return f"callbacks[{number}] is an object of this process"
            elif changeable := _uses(one):
                return f"callbacks[{number}] uses {changeable} of this process"
        return ""

    def _packed(self, do: Do) -> bytes:
        from p2pqg.engine.on_ray.carry import packed

        ours = self.observer is None or hasattr(self.observer, "several")
        return packed((do, None if ours else self.observer))

    def _side_by_side(
        self, work: Mapping[int, bytes], path: Path, jobs: int, config: RunConfig
    ) -> Iterator[tuple[int, P2pqgError | None]]:
        seeds = {f"seed{seed}": seed for seed in work}
        todo = {name: (name, work[seed], tuple(self.sinks)) for name, seed in seeds.items()}
        several = getattr(self.observer, "several", nullcontext)
        gpus = gpus_for(config.device)
        with several() as screen, Pool(jobs, cores(), gpus) as pool:

            def tell(kind: str, name: str, what: Any) -> None:
                if kind == "unheard":
                    if self.observer is None:
                        self.tell(what)
                elif screen:
                    getattr(screen, kind)(name, what)

            if screen:
                screen.grow(len(todo))
            try:
                for name, error in pool.carry_out(_there, todo, tell):
                    if error is not None and not isinstance(error, P2pqgError):
                        raise error
                    if screen:
                        screen.done(name, _accuracy(path / name), failed=error is not None)
                    yield seeds[name], error
            except KeyboardInterrupt:
                ended = pool.stop()
                if screen:
                    pool.hear(tell)
                raise stopped_by_hand(
                    path, {seeds[name]: error for name, error in ended.items()}
                ) from None
            except BrokenProcessPool:
                begun = any_begun(path)
                then = (
                    f"`p2pqg resume {typed(path)} --jobs 1` does the rest"
                    if begun
                    else ("no seed had begun; run it again with --jobs 1")
                )
                lost = RunError(f"a process died, perhaps for lack of memory; {then}")
                lost.results = path if begun else None
                raise lost from None


def _known_here(config: RunConfig) -> str:
    """What a script or notebook has registered, which other processes do not know; "": nothing."""
    for key, registry in (("algorithm", ALGORITHMS), ("dataset", DATASETS)):
        name = chosen(getattr(config, key), "")[0]
        if name in registry and not names_a_file(name) and not registry[name].is_ours:
            return f"{key} {name} is known in this process alone; as my_file.py:NAME all know it"
    return ""


def stopped_by_hand(path: Path, ended: Mapping[int, BaseException]) -> StoppedError:
    """What a user is told after Ctrl-C.

    Args:
        path: of all seeds.
        ended: how those ended that were under way.
    """
    reasons = {seed: str(error).partition("; ")[0] for seed, error in sorted(ended.items())}
    told = [f"seed {seed}: {why}" for seed, why in reasons.items() if "in round" in why]
    if not any_begun(path):
        return StoppedError("stopped before any seed had begun; run it again")
    stopped = StoppedError(f"{'; '.join(told) or 'stopped'}; {results.Runs(path).what_next}")
    stopped.results = path
    return stopped


def _accuracy(path: Path) -> float | None:
    """The test accuracy of a run that came to its end; None: it did not."""
    from p2pqg.results.run import Run

    run = Run(path)
    accuracy: float | None = run.summary["test_accuracy"] if run.finished else None
    return accuracy


def _uses(function: Any) -> str:
    """The name of something from outside that a function could change; "": there is none."""
    if inspect.ismethod(function):
        if not isinstance(function.__self__, CODE):
            return f"an object ({type(function.__self__).__name__})"
        function = function.__func__
    with suppress(TypeError, ValueError):  # a builtin, or one that cannot be looked into
        names = inspect.getclosurevars(function)
        kept = inspect.signature(function).parameters.values()
        defaults = {one.name: one.default for one in kept if one.default is not one.empty}
        for name, value in {**names.nonlocals, **names.globals, **defaults}.items():
            if not isinstance(value, IMMUTABLE + CODE):
                return name
        code = function.__code__
        for step in dis.get_instructions(code):  # global n, or nonlocal n; n += 1
            outside = step.opname == "STORE_DEREF" and step.argval in code.co_freevars
            if outside or step.opname == "STORE_GLOBAL":
                return str(step.argval)
    return ""


class _Unwatched(Inside):
    """Watches seeds for nobody, who is told of all of them what has to be known."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__("", lambda name, text: None)
        self.unheard = tell


class _OneRay:
    """Passes on what it sees of seeds, and keeps the Ray of the first for those that follow."""

    def __init__(self, watcher: Any) -> None:
        self._watcher = watcher
        self._kept: Hosting | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watcher, name)

    def begin(self, simulation: Simulation, path: Path) -> None:
        self._kept = self._kept or simulation.hosting.share()
        self._watcher.begin(simulation, path)

    def close(self) -> None:
        """After the last one, or one that failed: the next starts a Ray of its own."""
        kept, self._kept = self._kept, None
        if kept:
            kept.close()


class _Abroad(Inside):
    """Watches a seed in a process of its own, for a screen elsewhere."""

    def __init__(self, name: str, then: Observer | None) -> None:
        super().__init__(name, lambda name, text: say("inside", name, text))
        self._then = then

    def begin(self, simulation: Simulation, path: Path) -> None:
        from p2pqg.running.told import about

        say("begun", self._name, about(simulation))
        if self._then:
            self._then.begin(simulation, path)

    def recorded(self, simulation: Simulation) -> None:
        super().recorded(simulation)
        if self._then:
            self._then.recorded(simulation)

    def noted(self, text: str) -> None:
        say("noted", self._name, text)
        if self._then:
            self._then.noted(text)

    def unheard(self, text: str) -> None:
        say("unheard", self._name, text)

    def end(self, run: Run) -> None:
        if self._then:
            self._then.end(run)


def _there(name: str, work: bytes, sinks: Sequence[str]) -> None:
    """A seed in a process of the pool."""
    do, then = pickle.loads(work)
    with with_sinks(sinks, _Abroad(name, then)) as watcher:
        do(observer=watcher)
