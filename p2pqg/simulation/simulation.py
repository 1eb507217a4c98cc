"""Simulation: a live network of learning clients."""

from __future__ import annotations

import copy
import dataclasses
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base.errors import ClusterError, ConfigError, P2pqgError
from p2pqg.base.lazy import torch
from p2pqg.engine.bookkeeping import Bookkeeper
from p2pqg.engine.clock import Clock
from p2pqg.engine.driver import Agenda, Driver
from p2pqg.engine.on_ray.actors import RayEngine
from p2pqg.engine.on_ray.cluster import Cluster, memory_of_gpus, this_machine
from p2pqg.engine.on_ray.transport import check_available
from p2pqg.engine.placement import Machine, Placement, check_memory, on_what_is_left, place
from p2pqg.recipe.settings import read_config
from p2pqg.simulation.experiment import Experiment, build
from p2pqg.simulation.moment import Moment
from p2pqg.simulation.notebook import watched
from p2pqg.simulation.views import Views
from p2pqg.simulation.what_if import WhatIf


class Simulation(Views, WhatIf):
    """A live network of learning clients; also a context manager.

    >>> with Simulation(topology="ring4", rounds=20, engine="local") as sim:
    ...     sim.advance(rounds=5)
    ...     branch = sim.fork()
    ...     branch.drop_links(["0-1"])
    ...     branch.advance(rounds=5)
    ...     sim.round, branch.round, branch.parameters().shape
    (5, 10, (4, 4810))

    What it shows of itself is in `views.py`, what can be done to it in `what_if.py`.

    Attributes:
        experiment: its parts; experiment.config is the resolved recipe.
        rule, network: the algorithm with its parameters, and the network, as they are now.
        placement: which clients live in which actor.
        restarts: after actors that died, a line each.
        machine: what there was at the beginning, by which clients are packed.
        on_note: called with a line of text when something happens that a user should know.
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
        self._begin(Moment.first(experiment), started)

    @classmethod
    def restore(cls, path: str | Path, **settings: Any) -> Simulation:
        """Go on from a checkpoint, bit for bit, as if nothing had been in between.

        With other actors than before (`clients_per_actor`, `engine`) the numbers are the same to
        float rounding.

        Args:
            path: a checkpoint, or the directory of a run: then its newest one that is whole.
            settings: what shall differ: how long and where it runs, e.g. rounds, engine.

        Raises:
            ConfigError: there is none, it is damaged, or a setting that cannot change.

        Warns where a newer checkpoint of a run is damaged, so that an older one is used.
        """
        return cls.at(Moment.newest(path, tell=partial(warnings.warn, stacklevel=4), **settings))

    @classmethod
    def at(cls, moment: Moment, started: float | None = None) -> Simulation:
        """A simulation that stands where the moment stands."""
        sim = cls.__new__(cls)
        sim._begin(moment, started or time.time())
        return sim

    def _begin(self, moment: Moment, started: float) -> None:
        config = moment.experiment.config
        self.on_note: Callable[[str], None] = _nobody
        self.saver: Callable[[Moment], Any] | None = None
        self._by_hand = True
        self.closed = False
        self._safe: Moment | Path = moment
        self._started, self._seconds_before = started, moment.seconds
        self._saved_at = time.monotonic()
        # Only a cluster that is joined knows what it has; all else is checked before Ray starts.
        self._cluster = (
            Cluster.at(config.address) if config.engine == "ray" and config.address else None
        )
        try:
            on = self._cluster.machine() if self._cluster else this_machine(config.device)
            self.machine, self.device = on, resolve_device(config.device, on)
            self.placement = self._placement(moment.experiment)
            if config.engine == "ray" and not self._cluster:
                self._cluster = Cluster.at(num_gpus=on.num_gpus or None)
            self._resume(moment)
        except BaseException:
            if self._cluster:
                self._cluster.close()
            raise

    def _resume(self, moment: Moment) -> None:
        """Build hosts that stand where the moment stands."""
        self.experiment, self.rule, self.network = moment.experiment, moment.rule, moment.network
        self.cursor, self.restarts = moment.cursor, moment.restarts
        self._saved_round = moment.log.round
        experiment, config, place = self.experiment, self.experiment.config, self.placement
        schedule = self.network.schedule
        hosts = experiment.hosts(place, self.device, self.rule, schedule)
        if self._cluster:
            engine = RayEngine(
                hosts,
                experiment.test,
                experiment.cost.num_params,
                place.gpus_per_actor,
                moment.snapshot,
                place.transport,
            )
        else:
            from p2pqg.engine.local import LocalEngine  # brings torch

            engine = LocalEngine(hosts, experiment.test, moment.snapshot)
        self._driver = Driver(
            engine=engine,
            agenda=Agenda(
                num_rounds=experiment.num_rounds,
                record_every=config.record_every,
                eval_every=config.eval_every,
            ),
            book=Bookkeeper(
                lr=self.rule.lr,
                rounds_per_epoch=experiment.rounds_per_epoch,
                num_samples=np.array([len(part) for part in experiment.parts]),
                num_test_samples=len(experiment.test[1]),
                network=self.network,
                timing=experiment.timing,
                started=self._started - self._seconds_before,
                log=moment.log.copy(),
            ),
            clock=Clock(on=config.profile),
        )

    def _placement(self, experiment: Experiment) -> Placement:
        """Of so many clients; always the same, whatever becomes of the machine."""
        config, n, machine = experiment.config, experiment.num_clients, self.machine
        packing: int | str = config.clients_per_actor
        if packing == "auto" and config.engine == "local":
            packing = n  # without actors there is nothing to spread
        if self.device == "cuda":  # how large the GPUs of a cluster are, nobody tells
            gpus = machine.num_gpus if config.engine == "ray" else 1
            memory = None if config.address else memory_of_gpus(gpus)
            machine = dataclasses.replace(machine, memory=memory)
        smallest = n * experiment.cost.num_params  # floats; counting on needs torch
        if machine.memory and 400 * smallest > machine.memory:
            check_memory(n, experiment.memory_bytes(self.device), machine)
        flops = experiment.flops_per_client()
        direct = config.transport == "direct" and config.engine == "ray"
        if direct:
            check_available()
        return place(n, packing, machine, flops, self.device, experiment.is_dense, direct)

    @property
    def round(self) -> int:
        """Rounds done."""
        return self._driver.round

    @property
    def seconds(self) -> float:
        """Wall time so far, without that in which it was not running."""
        return self._seconds_before + time.time() - self._started

    def advance(self, rounds: int, *, after: Callable[[Simulation], None] | None = None) -> None:
        """Run that many rounds, with the scenario's events on the way.

        It can be interrupted; the next call goes on. Actors that die are replaced, and the rounds
        since the last checkpoint run again, with the same numbers.

        Args:
            rounds: >= 0.
            after: called with this simulation whenever a portion of the rounds is recorded.

        Raises:
            DivergedError: a client's loss is not finite.
            ClusterError: actors died more often than `max_restarts`.
        """
        self._check_open()
        until = self.round + rounds
        try:
            self._run(until, watched(after, self, until))
        except KeyboardInterrupt:
            with suppress(P2pqgError):  # the next call finds it again
                self._driver.settle()
            raise

    def _run(self, until: int, after: Callable[[Simulation], None] | None = None) -> None:
        while True:
            try:
                self._driver.settle()
                if self.round >= until:
                    return
                self._play_scenario()
                stop = min(until, self._next_event())
                for _ in self._driver.advance(stop, self._wants_saving):
                    if after:
                        after(self)
                if self._wants_saving():
                    self.save()
            except ClusterError as error:
                self._recover(error)
                if after:
                    after(self)

    def _wants_saving(self) -> bool:
        every = self.experiment.config.checkpoint_every
        needed = self.saver is not None or self._cluster is not None
        if not every or not needed or self.round == self._saved_round:
            return False
        return time.monotonic() - self._saved_at > every

    def save(self) -> None:
        """Keep a moment to go back to: on disk where a run has a directory, else in memory."""
        moment = self.moment()
        self._safe = (self.saver and self.saver(moment)) or moment
        self._saved_round, self._saved_at = self.round, time.monotonic()

    def _recover(self, error: ClusterError) -> None:
        """New actors, which stand where the last moment that is safe does."""
        limit = self.experiment.config.max_restarts
        if self._cluster is None or len(self.restarts) >= limit:
            after = f" (after {len(self.restarts)} restarts)" if self.restarts else ""
            raise type(error)(f"{error}{after}") from error
        safe = self._safe
        if isinstance(safe, Path):
            safe = Moment.newest(safe, self.experiment, self.on_note)
        line = f"round {self.round}: {error}; going on from round {safe.log.round}"
        self.on_note(line)
        with_line = (*self.restarts, line)
        self._driver.engine.close()
        self._cluster.revive()
        placement = self._placement(safe.experiment)
        self.placement = on_what_is_left(placement, self._cluster.machine())
        self._replace_hosts(dataclasses.replace(safe, restarts=with_line))

    def _replace_hosts(self, moment: Moment) -> None:
        """Go on from a moment with new hosts; when it all began is not forgotten."""
        before = self._driver
        self._resume(moment)
        self._driver = dataclasses.replace(
            self._driver,
            first_round_at=before.first_round_at,
            first_round=before.first_round,
            clock=before.clock,
            spans=before.spans,
        )

    def _ask(self, what: str) -> Any:
        """The "snapshot" or "parameters" of all clients; new actors come to this round first."""
        round = self.round
        while True:
            try:
                self._driver.settle()
                return getattr(self._driver.engine, what)()
            except ClusterError as error:
                if not self._by_hand:  # then it is tried again as a whole
                    raise
                self._recover(error)
                self._run(round)

    def moment(self) -> Moment:
        """All that it needs to go on from here, in memory."""
        snapshot = self._ask("snapshot")
        return Moment(
            self.experiment,
            self.rule,
            self.network,
            snapshot,
            self._driver.log.copy(),
            self.cursor,
            self.seconds,
            self.restarts,
        )

    def checkpoint(self, path: str | Path) -> Path:
        """Save it to a folder, for `Simulation.restore`; one that is there is replaced.

        Raises:
            ConfigError: the folder cannot be written, or holds something else.
        """
        self._check_open()
        path = Path(path)
        if path.exists() and not (path / "checkpoint.json").exists():
            raise ConfigError(f"{path}: there is something else already; choose another path")
        try:
            self.moment().write(path)
        except OSError as error:
            raise ConfigError(
                f"{path}: a checkpoint cannot be written ({error.strerror}); choose another path"
            ) from None
        return path

    def fork(self) -> Simulation:
        """A second simulation that stands where this one stands, and goes its own way.

        It shares actors and samples, and nothing that changes; both draw the same batches, so that
        what differs later is the effect of what was done to one of them. Left alone, it stays the
        same as this one. Close both.

        Raises:
            ConfigError: this one is closed.
        """
        self._check_open()
        self._driver.settle()
        twin = copy.copy(self)
        twin._driver = self._driver.fork()
        twin._cluster = self._cluster and self._cluster.share()
        twin.saver, twin._safe = None, twin.moment() if self._cluster else self._safe
        return twin

    def parameters(self) -> np.ndarray:
        """[clients, params]: every client's model."""
        self._check_open()
        return self._ask("parameters")

    def _check_open(self) -> None:
        if self.closed:
            raise ConfigError(
                "this simulation is closed; start another, or restore a checkpoint of it"
            )

    def close(self) -> None:
        """End the actors, and Ray too if it was started here, unless a fork still needs them."""
        if self.closed:
            return
        self.closed = True
        self.on_note, self.saver = _nobody, None  # whoever listens may hold on to us
        try:
            self._driver.engine.close()
        finally:
            if self._cluster:
                self._cluster.close()

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _nobody(text: str) -> None:
    """Listens to what nobody needs to hear."""


def resolve_device(device: str, machine: Machine) -> str:
    """The device of a run: auto is cuda where the machine or cluster has a GPU, else cpu.

    Raises:
        ConfigError: cuda was asked for and there is none.
    """
    has_gpu = machine.num_gpus > 0 and torch.version.cuda is not None
    if device == "cuda" and not has_gpu:
        raise ConfigError("device must be auto or cpu here, got cuda: no GPU is visible")
    return "cuda" if has_gpu and device != "cpu" else "cpu"
