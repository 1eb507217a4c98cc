"""A live network between two rounds: at a moment, which can be kept, forked and gone back to."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from typing_extensions import Self

from p2pqg.base.errors import ConfigError
from p2pqg.base.steady import now
from p2pqg.base.text import user_path
from p2pqg.engine.bookkeeping import Bookkeeper
from p2pqg.engine.clock import Clock
from p2pqg.engine.driver import Agenda, Driver, Engine
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.waves.book import WaveBookkeeper
from p2pqg.simulation import evidence
from p2pqg.simulation.hosting import Hosting
from p2pqg.simulation.moment import Moment
from p2pqg.simulation.safe import Safe
from p2pqg.simulation.shown import Shown
from p2pqg.simulation.speed import Speed
from p2pqg.simulation.turns import in_turn


class Paused(Shown):
    """A live network between two rounds.

    Attributes:
        cursor: how many events of its scenario, by round and by seconds, are over.
        restored: the checkpoint or folder that it was restored from, and with which settings.
    """

    @classmethod
    def at(cls, moment: Moment, started: float | None = None) -> Self:
        """A simulation that stands where the moment stands."""
        sim = cls.__new__(cls)
        sim._begin(moment, started or now())
        return sim

    def _begin(self, moment: Moment, started: float) -> None:
        self.on_note = self.on_change = _nobody
        self._by_hand = True
        self._callbacks, self._telling = moment.experiment.callbacks, False
        self.closed = False
        self.turn = RLock()
        self.room = None
        self.restored: tuple[Path, dict[str, Any]] | None = None
        self._safe = Safe(moment)
        self._seen = None
        self._told = moment.log.rounds[-1]["round"] if moment.log.rounds else -1
        self._networks, self._ways, self._speed_so_far = (), [], Speed()
        self._started, self._seconds_before = started, moment.seconds
        self.hosting = Hosting.of(moment.experiment)
        try:
            self._resume(moment)
        except BaseException:
            self.hosting.close()
            raise

    def _resume(self, moment: Moment, engine: Engine | None = None) -> None:
        """Build hosts that stand where the moment stands, unless there are some."""
        self.experiment, self.method, self.network = moment.experiment, moment.rule, moment.network
        self.cursor, self.restarts = moment.cursor, moment.restarts
        self._seen = self._end_seen = None
        self.stopped = moment.stopped
        self._safe.round = moment.log.round
        changed = moment.log.events[-1]["round"] if moment.log.events else 0
        past = moment.networks or self._networks
        drawn = 0 if moment.snapshot is None else moment.snapshot.step
        now = evidence.Era.of(moment.log.round, self.network, self.method, drawn)
        step = now.step_at(changed)  # as since then nothing was done
        self._networks = evidence.since(past, changed, self.network, self.method, step)
        experiment, config = self.experiment, self.experiment.config
        self._driver = Driver(
            engine=engine
            or self.hosting.engine(experiment, self.method, self.network, moment.snapshot),
            agenda=Agenda(
                num_rounds=experiment.num_rounds,
                record_every=config.record_every,
                eval_every=config.eval_every,
                eval_first=bool(config.eval_first),
                window=experiment.window,
            ),
            book=(Bookkeeper if experiment.waits else WaveBookkeeper)(
                lr=self.method.lr,
                steps_per_epoch=experiment.steps_per_epoch,
                num_samples=np.array([len(part) for part in experiment.parts]),
                num_test_samples=experiment.num_test_samples,
                network=self.network,
                timing=self.network.timing,
                started=self._started - self._seconds_before,
                accounts=experiment.accounts,
                log=moment.log.copy(),
            ),
            clock=Clock(on=config.profile),
        )
        self._listen_to_engine()

    def _listen_to_engine(self) -> None:
        """What it waits for is told to whoever listens to this simulation."""
        me = weakref.ref(self)

        def tell(line: str) -> None:
            if (sim := me()) is not None:
                sim.on_note(line)

        self._driver.engine.tell = tell

    @property
    def saver(self) -> Callable[[Moment], Path | None] | None:
        """Writes a moment to the directory of the run, if it has one; see `Safe`."""
        return self._safe.saver

    @saver.setter
    def saver(self, saver: Callable[[Moment], Path | None] | None) -> None:
        self._safe.saver = saver

    def save(self) -> None:
        """Keep a moment to go back to: on disk where a run has a directory, else in memory.

        Raises:
            ConfigError: this simulation is closed.
        """
        self._check_open()
        if self._safe.saver is None:
            self._safe.keep(self.moment())
            return
        # Large models pass through one piece at a time; if an actor dies meanwhile, once more.
        self._ask(lambda driver: self._safe.keep(self._moment(driver.engine.snapshot(pieces=True))))

    def _wants_saving(self) -> bool:
        if self._safe.saver is None and self.hosting.cluster is None:
            return False  # nothing can be lost
        return self._safe.is_stale(self.experiment.config.checkpoint_every, self.round)

    def checkpoint(self, path: str | Path) -> Path:
        """Save it to a folder, for `Simulation.restore`; one that is there is replaced.

        Raises:
            ConfigError: the folder cannot be written, or holds something else.
        """
        self._check_open()
        path = user_path(path)
        if path.exists() and not (path / "checkpoint.json").exists():
            raise ConfigError(f"{path}: there is something else already; choose another path")
        try:
            self._ask(lambda driver: self._moment(driver.engine.snapshot(pieces=True)).write(path))
        except OSError as error:
            raise ConfigError(
                f"{path}: a checkpoint cannot be written ({error.strerror}); choose another path"
            ) from None
        return path

    def moment(self) -> Moment:
        """All that it needs to go on from here, in memory.

        Raises:
            ConfigError: this simulation is closed.
        """
        self._check_open()
        return self._moment(self._ask(lambda driver: driver.engine.snapshot()))

    def _moment(self, snapshot: Snapshot) -> Moment:
        return Moment(
            self.experiment,
            self.method,
            self.network,
            snapshot,
            self._driver.log.copy(),
            self.cursor,
            self.seconds,
            self.restarts,
            self.stopped,
            self._networks,
        )

    @in_turn
    def fork(self) -> Self:
        """A second simulation that stands where this one stands, and goes its own way.

        It shares actors and samples, and nothing that changes; both draw the same batches, so that
        what differs later is the effect of what was done to one of them. Left alone, it stays the
        same as this one. Close both. One that a callback makes tells its own rows to nobody.

        Raises:
            ConfigError: this one is closed.
        """
        self._check_open()
        self._driver.settle()
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.turn, twin.room, twin.restored = RLock(), None, None
        if self._telling:  # a callback that makes one in each round would make one of that, too
            twin._callbacks = ()
        twin._telling = False
        twin.on_change, twin._speed_so_far = _nobody, self._speed_so_far.copy()
        twin._driver = self._driver.fork()
        twin._listen_to_engine()
        twin.hosting = self.hosting.share()
        twin._safe = Safe(twin.moment() if self.hosting.cluster else self._safe.last)
        return twin

    @in_turn
    def go_back(self, moment: Moment) -> None:
        """Stand where it stood, or where another fork of the same simulation stood.

        What was later is forgotten: rows, events, and what was done by hand.

        Args:
            moment: from `moment()`; it stays as it is.

        Raises:
            ConfigError: this one is closed, or the moment is of another simulation.
            UserCodeError: a callback asks for it.
        """
        self._check_open()
        self._check_not_telling("take back")
        own = self.experiment.config
        if not isinstance(moment, Moment) or moment.experiment.config is not own:
            raise ConfigError("go_back takes a moment of this simulation, or of a fork of it")
        broken = self._driver.is_broken
        anew = broken or moment.experiment is not self.experiment or moment.snapshot is None
        if not anew:
            self._driver.settle()
        with uninterrupted(torn=self._tear):
            if anew or moment.snapshot is None:
                self._rebuild(moment)
            else:
                engine, bounds = self._driver.engine, self.hosting.placement.bounds
                engine.rewire(moment.rule, self.experiment.routing(moment.network, bounds))
                engine.load(moment.snapshot)
                self._replace_hosts(moment, engine)
                self._safe.last = moment
            self._told = moment.log.rounds[-1]["round"] if moment.log.rounds else -1
        self.on_change(True)

    def _rebuild(self, moment: Moment) -> None:
        """Go on from a moment with actors of its own: it may differ in the number of clients."""
        placement = self.hosting.placed(moment.experiment)
        with uninterrupted(torn=self._tear):
            self._driver.engine.close()
            self.hosting.placement = placement
            self._replace_hosts(moment)
            if self._by_hand:
                self._safe.last = moment

    def _tear(self) -> None:
        """Somebody insisted on an end in the middle of a change."""
        self._driver.tear()

    def _replace_hosts(self, moment: Moment, engine: Engine | None = None) -> None:
        """Go on from a moment with new hosts; when it all began is not forgotten."""
        before = self._driver
        self._resume(moment, engine)
        self._driver = dataclasses.replace(
            self._driver,
            first_round_at=before.first_round_at,
            clock=before.clock,
            spans=before.spans,
        )

    @in_turn
    def close(self) -> None:
        """End the actors, and Ray too if it was started here, unless a fork still needs them."""
        if self.closed:
            return
        self._check_not_telling("close")
        self.closed = True
        self.on_note, self.saver = _nobody, None  # whoever listens may hold on to us
        try:
            self._driver.engine.close()
        finally:
            self.hosting.close()
        told, self.on_change = self.on_change, _nobody
        told(False)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Its actors and its thread's turn cannot be copied, or sent to another process."""
        raise TypeError(
            "a live network cannot be copied or pickled: fork() makes a second one, and "
            "checkpoint(path) keeps it for Simulation.restore(path), in another process, too"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _nobody(news: Any) -> None:
    """Listens to what nobody needs to hear."""
