"""Simulation, a live network; and run(), one simulation from start to results on disk."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from p2pqg.config import plain
from p2pqg.engine.actors import RayEngine
from p2pqg.engine.clock import Clock, Span, chrome_trace, totals
from p2pqg.engine.cluster import Cluster, this_machine
from p2pqg.engine.driver import Agenda, Driver
from p2pqg.engine.placement import Machine, Placement, check_memory, place
from p2pqg.errors import ConfigError, P2pqgError, StoppedError
from p2pqg.experiment import Experiment, build, read_config
from p2pqg.lazy import torch
from p2pqg.records import CONTROL_COLUMNS, ROUND_COLUMNS, Run, RunDirectory, fresh_name, load

if TYPE_CHECKING:
    import pandas as pd


class Simulation:
    """A live network of learning clients; also a context manager.

    >>> with Simulation(topology="ring4", rounds=20, engine="local") as sim:
    ...     sim.advance(rounds=5)
    ...     sim.parameters().shape
    (4, 4810)

    Attributes:
        experiment: its parts; experiment.config is the resolved recipe.
        placement: which clients live in which actor.
        round: rounds done.
    """

    def __init__(
        self,
        experiment: Experiment | None = None,
        *,
        started: float | None = None,
        **settings: Any,
    ) -> None:
        """Start a network at round 0.

        Args:
            experiment: ready parts, or nothing: then they are built from the settings.
            started: `time.time()` from which wall seconds count; default: now.
            settings: keywords as of `p2pqg.run`; every round is recorded unless record_every says
                otherwise.

        Raises:
            ConfigError: with every problem of the settings; nothing was started.
        """
        started = time.time() if started is None else started
        if experiment is None:
            experiment = build(read_config({"record_every": 1} | settings))
        self.experiment = experiment
        config = experiment.config
        # Only a cluster that is joined knows what it has; all else is checked before Ray starts.
        self._cluster = (
            Cluster(config.address) if config.engine == "ray" and config.address else None
        )
        try:
            machine = self._cluster.machine() if self._cluster else this_machine(config.device)
            self.device = resolve_device(config.device, machine)
            self.placement = self._place(machine)
            if config.engine == "ray" and not self._cluster:
                self._cluster = Cluster()
            hosts = experiment.hosts(self.placement, self.device)
            if self._cluster:
                engine = RayEngine(
                    hosts,
                    experiment.test,
                    experiment.cost.num_params,
                    self.placement.cpus_per_actor,
                    self.placement.gpus_per_actor,
                )
            else:
                from p2pqg.engine.local import LocalEngine  # brings torch

                engine = LocalEngine(hosts, experiment.test)
        except BaseException:
            if self._cluster:
                self._cluster.close()
            raise
        self._driver = Driver(
            engine=engine,
            agenda=Agenda(
                num_rounds=experiment.num_rounds,
                record_every=config.record_every,
                eval_every=config.eval_every,
            ),
            lr=experiment.rule.lr,
            rounds_per_epoch=experiment.rounds_per_epoch,
            num_samples=np.array([len(part) for part in experiment.parts]),
            num_test_samples=len(experiment.test[1]),
            started=started,
            clock=Clock(on=config.profile),
        )

    def _place(self, machine: Machine) -> Placement:
        config, n = self.experiment.config, self.experiment.num_clients
        packing: int | str = config.clients_per_actor
        if packing == "auto" and config.engine == "local":
            packing = n  # without actors there is nothing to spread
        smallest = n * self.experiment.cost.num_params  # floats; counting on needs torch
        if self.device == "cpu" and machine.memory and 400 * smallest > machine.memory:
            check_memory(n, self.experiment.memory_bytes(), machine)
        flops = self.experiment.flops_per_client()
        return place(n, packing, machine, flops, self.device, self.experiment.is_dense)

    @property
    def round(self) -> int:
        return self._driver.round

    def advance(self, rounds: int, *, after: Callable[[Simulation], None] | None = None) -> None:
        """Run that many rounds.

        Args:
            rounds: >= 0.
            after: called with this simulation whenever a portion of the rounds is recorded.

        Raises:
            DivergedError: a client's loss is not finite.
            ClusterError: an actor or the cluster is gone.
        """
        for _ in self._driver.advance(rounds):
            if after:
                after(self)

    @property
    def history(self) -> pd.DataFrame:
        """One row per recorded round, columns as of rounds.parquet."""
        import pandas as pd

        columns = self.columns
        return pd.DataFrame(self._driver.rounds, columns=list(columns)).astype(columns)

    @property
    def columns(self) -> dict[str, str]:
        """Name and type of the columns of rounds.parquet."""
        controlled = self.experiment.rule.control is not None
        return ROUND_COLUMNS | CONTROL_COLUMNS if controlled else ROUND_COLUMNS

    @property
    def rows(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows of rounds.parquet and of clients.parquet so far."""
        return self._driver.rounds, self._driver.clients

    def profile(self) -> dict[str, dict[str, float]]:
        """Seconds of each kind of work (see `engine.clock.KINDS`), of each host and the driver."""
        return {name: totals(spans) for name, spans in self._spans().items()}

    def trace(self) -> dict[str, Any]:
        """The same, span by span, for chrome://tracing."""
        return chrome_trace(self._spans())

    def _spans(self) -> dict[str, list[Span]]:
        driver = self._driver
        return {**driver.spans, "driver": driver.clock.spans} if driver.clock.on else {}

    def parameters(self) -> np.ndarray:
        """[clients, params]: every client's model."""
        return self._driver.engine.parameters()

    def summary(self) -> dict[str, Any]:
        """What summary.json holds, as of now."""
        config, rows = self.experiment.config, self._driver.rounds
        last = rows[-1] if rows else {}
        tested = next((row for row in reversed(rows) if "test_accuracy" in row), {})
        first = self._driver.first_round_at
        now = time.time()
        steps = (self.round - 1) * self.experiment.num_clients
        local = config.engine == "local"
        sizes = np.diff(self.placement.bounds)
        return {
            "algorithm": config.algorithm["name"],
            "topology": config.topology,
            "clients": self.experiment.num_clients,
            "alpha": config.alpha,
            "dataset": config.dataset["name"],
            "model": config.model["name"],
            "seed": config.seed,
            "rounds": self.round,
            "test_accuracy": tested.get("test_accuracy"),
            "test_accuracy_std": tested.get("test_accuracy_std"),
            "averaged_model_accuracy": tested.get("averaged_model_accuracy"),
            "consensus_distance": last.get("consensus_distance"),
            "bytes_sent": last.get("bytes_sent"),
            "wall_seconds": now - self._driver.started,
            "startup_seconds": first and first - self._driver.started,
            "client_steps_per_second": steps / (now - first) if first and steps > 0 else None,
            "engine": config.engine,
            "clients_per_actor": int(sizes.max()),
            "actors": 0 if local else self.placement.num_actors,
            "device": self.device,
            "precision": config.precision,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("p2pqg", "torch", "ray", "numpy")},
            },
        }

    def close(self) -> None:
        """End the actors, and Ray too if it was started here."""
        try:
            self._driver.engine.close()
        finally:
            if self._cluster:
                self._cluster.close()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def resolve_device(device: str, machine: Machine) -> str:
    """The device of a run: auto is cuda where the machine or cluster has a GPU, else cpu.

    Raises:
        ConfigError: cuda was asked for and there is none.
    """
    has_gpu = machine.num_gpus > 0 and torch.version.cuda is not None
    if device == "cuda" and not has_gpu:
        raise ConfigError("device must be auto or cpu here, got cuda: no GPU is visible")
    return "cuda" if has_gpu and device != "cpu" else "cpu"


class Observer(Protocol):
    """Somebody who watches a run: the screen, a notebook."""

    def begin(self, simulation: Simulation, path: Any) -> None: ...

    def recorded(self, simulation: Simulation) -> None: ...

    def end(self, run: Run) -> None: ...


def run(*, observer: Observer | None = None, started: float | None = None, **settings: Any) -> Run:
    """One simulation, recorded under `out`.

    Args:
        observer: told of the beginning, of new rows, and of the end.
        started: `time.time()` when the command began; default: now.
        settings: the keys of a recipe, see `p2pqg.experiment.RunConfig`.

    Returns:
        The run as `p2pqg.load` would give it.

    Raises:
        ConfigError: the settings are wrong; nothing was started.
        RunError: diverged, lost an actor, or stopped; results so far are on disk.
    """
    started = time.time() if started is None else started
    experiment = build(read_config(settings))
    config = experiment.config
    stem = f"{config.topology}-{config.algorithm['name']}".replace("/", "_")
    directory = RunDirectory(config.out, config.name or fresh_name(config.out, stem))

    def save(sim: Simulation) -> None:
        with sim._driver.clock("recording"):
            directory.write_rows(*sim.rows, columns=sim.columns)
        if observer:
            observer.recorded(sim)

    try:
        sim = Simulation(experiment, started=started)
    except BaseException:
        directory.discard()
        raise
    with sim:
        directory.write_config(plain(config))
        if observer:
            observer.begin(sim, directory.path)
        try:
            sim.advance(experiment.num_rounds, after=save)
        except KeyboardInterrupt:
            error = StoppedError(f"stopped in round {sim.round}; results so far: {directory.path}")
            raise error from None
        except P2pqgError as error:
            raise type(error)(f"{error}; results so far: {directory.path}") from error
        finally:
            directory.write_rows(*sim.rows, columns=sim.columns, now=True)
            directory.write_summary(sim.summary())
            if config.profile:
                directory.write_json("trace.json", sim.trace())
                directory.write_json("profile.json", sim.profile())
    done = load(directory.path)
    if observer:
        observer.end(done)
    return done
