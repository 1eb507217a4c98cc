"""How a live network lives: it runs rounds, keeps what it would need, survives actors, and ends."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from threading import RLock, Timer
from typing import Any

import numpy as np
from typing_extensions import Self

from p2pqg.base.errors import ClusterError, ConfigError, P2pqgError
from p2pqg.base.text import user_path
from p2pqg.engine.bookkeeping import Bookkeeper
from p2pqg.engine.clock import Clock
from p2pqg.engine.driver import Agenda, Driver, Engine
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.outlook import Outlook, of_rounds, of_waves
from p2pqg.engine.scouting import is_steady
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.waves.book import WaveBookkeeper
from p2pqg.network import Timing
from p2pqg.simulation import evidence
from p2pqg.simulation.hosting import Hosting
from p2pqg.simulation.moment import Moment
from p2pqg.simulation.notebook import watched
from p2pqg.simulation.safe import Safe
from p2pqg.simulation.shown import Shown
from p2pqg.simulation.turns import in_turn

SECONDS_OF_PATIENCE = 3.0
"""After a Ctrl-C, until it is said why the run has not ended yet."""

WAITS = "stops when the rounds on their way are done; Ctrl-C once more stops at once"

LOOK_AHEAD = 1000
"""Rounds that the simulated clock is read ahead, to send as many rounds at once as possible."""


class Life(Shown):
    """Rounds from a moment on.

    Attributes:
        cursor: how many events of its scenario, by round and by seconds, are over.
        restored: the checkpoint or folder that it was restored from, and with which settings.
    """

    @classmethod
    def at(cls, moment: Moment, started: float | None = None) -> Self:
        """A simulation that stands where the moment stands."""
        sim = cls.__new__(cls)
        sim._begin(moment, started or time.time())
        return sim

    def _begin(self, moment: Moment, started: float) -> None:
        self.on_note = self.on_change = _nobody
        self._by_hand = True
        self.closed = False
        self.turn = RLock()
        self.room = None
        self.restored: tuple[Path, dict[str, Any]] | None = None
        self._safe = Safe(moment)
        self._seen = None
        self._told = moment.log.rounds[-1]["round"] if moment.log.rounds else -1
        self._networks, self._ways = (), []
        self._started, self._seconds_before = started, moment.seconds
        self.hosting = Hosting.of(moment.experiment)
        try:
            self._resume(moment)
        except BaseException:
            self.hosting.close()
            raise

    def _resume(self, moment: Moment, engine: Engine | None = None) -> None:
        """Build hosts that stand where the moment stands, unless there are some."""
        self.experiment, self.rule, self.network = moment.experiment, moment.rule, moment.network
        self.cursor, self.restarts = moment.cursor, moment.restarts
        self.stopped = moment.stopped
        self._safe.round = moment.log.round
        changed = moment.log.events[-1]["round"] if moment.log.events else 0
        past = moment.networks or self._networks
        self._networks = evidence.since(past, changed, self.network)
        experiment, config = self.experiment, self.experiment.config
        self._driver = Driver(
            engine=engine
            or self.hosting.engine(experiment, self.rule, self.network, moment.snapshot),
            agenda=Agenda(
                num_rounds=experiment.num_rounds,
                record_every=config.record_every,
                eval_every=config.eval_every,
                eval_first=bool(config.eval_first),
                window=experiment.window,
            ),
            book=(Bookkeeper if experiment.waits else WaveBookkeeper)(
                lr=self.rule.lr,
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

    # Rounds

    @in_turn
    def advance(self, rounds: int, *, after: Callable[[Self], None] | None = None) -> None:
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
            # What is on its way is waited for, so that nothing is lost; not if asked once more.
            slow = Timer(SECONDS_OF_PATIENCE, self.on_note, [WAITS])
            slow.start()
            try:
                with suppress(P2pqgError):  # the next call finds it again
                    self._driver.settle()
            finally:
                slow.cancel()
            raise

    @property
    def is_settled(self) -> bool:
        """Whether all that was asked of the clients is done and recorded."""
        return self._driver.is_settled

    def _run(self, until: int, after: Callable[[Self], None] | None = None) -> None:
        while True:
            try:
                self._driver.settle()
                if self.round >= until:
                    return
                self._listen()
                if self.stopped:
                    return
                self._play_scenario()
                stop = int(min(until, self._next_event(), self._next_hearing()))
                for _ in self._driver.advance(stop, self._wants_saving):
                    self.on_change(False)
                    if after:
                        after(self)
                self._listen()
                if self._wants_saving():
                    self.save()
            except ClusterError as error:
                self._recover(error)
                if after:
                    after(self)

    def _play_scenario(self) -> None:
        """Do what is due before the next round."""
        scenario = self.experiment.scenario
        while event := scenario.due(self.round, self._driver.log.sim_seconds, self.cursor):
            before = len(self._driver.log.events)
            with uninterrupted():
                self.cursor, self._by_hand = scenario.after(event, self.cursor), False
                try:
                    getattr(self, event.action, partial(self.do, event.action))(**event.arguments)
                finally:
                    self._by_hand = True
            for news in self._driver.log.events[before:]:
                self.on_note(f"round {news['round']}: {news['what']}")

    @abstractmethod
    def do(self, verb: str, **given: Any) -> None:
        """Carry out a verb of a scenario."""

    def stop(self, reason: str = "sim.stop()") -> None:
        """End the run after this round: what a callback says when enough is enough.

        Args:
            reason: what summary.json says of it.
        """
        self.stopped = str(reason)

    def _listen(self) -> None:
        """Tell callbacks of the rows that are new, and see whether it is time to stop.

        Rows that come again after a crash have been told before.
        """
        rows = self._driver.log.rounds
        news = len(rows)
        while news and rows[news - 1]["round"] > self._told:
            news -= 1
        for row in rows[news:]:
            self._told = row["round"]
            for callback in self.experiment.callbacks:
                callback.tell(self, row)
        if not self.stopped:
            self.stopped = self.experiment.config.stop.reason(rows)

    def _next_hearing(self) -> float:
        """The round after which somebody has to look at a row, before it goes on."""
        callbacks, stop = self.experiment.callbacks, self.experiment.config.stop
        if not (callbacks or stop):
            return math.inf
        every = any(callback.on_round for callback in callbacks)
        return self._driver.agenda.next_row(self.round, evaluated=not every)

    def _next_event(self) -> float:
        """The round before which something may be due; with events in seconds, looks ahead.

        It may not look too far, or an event would come late: only as long as all rounds send alike.
        """
        scenario = self.experiment.scenario
        last, seconds = scenario.next_round(self.cursor), scenario.next_seconds(self.cursor)
        if seconds is None:
            return last
        return self._first(lambda ahead: ahead.seconds >= seconds, last)

    def _first(self, reached: Callable[[Outlook], bool], most: float = math.inf) -> int:
        """The next round after which it is so far, as well as can be known; at most so many."""
        round = self.round + 1
        for ahead in islice(self._outlook(), LOOK_AHEAD + 1):
            round = max(round, ahead.round)
            if reached(ahead) or round >= most:
                break
        return round

    def _outlook(self) -> Iterator[Outlook]:
        """What the clock will show; nothing where rounds may not send alike."""
        experiment, log, network = self.experiment, self._driver.log, self.network
        if not experiment.waits:
            timeline = experiment.timeline(self.rule, network)
            timeline.load(self._ask(lambda driver: driver.engine.timeline()))
            return of_waves(timeline)
        if not log.traffic or not is_steady(self.rule) or not isinstance(network.timing, Timing):
            return iter(())
        assert log.ready is not None  # there is a clock
        return of_rounds(network, network.timing, self.round, repeat(log.traffic), log.ready)

    # How it ends

    def finish(self, *, after: Callable[[Self], None] | None = None) -> None:
        """Run to the end, be it in rounds, in steps of everybody, on the clock, or by its own rule.

        Args:
            after: as of `advance`.

        Raises:
            DivergedError, ClusterError: as of `advance`.
        """
        while not self.stopped and (left := self._last_round() - self.round) > 0:
            self.advance(left, after=after)

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end, and all of it is recorded."""
        return self.is_settled and (bool(self.stopped) or self._last_round() <= self.round)

    def _last_round(self) -> int:
        """The round after which it ends, or has to be asked again; this one if it is over."""
        experiment = self.experiment
        if experiment.end is None:
            return experiment.num_rounds
        if experiment.end(self._stand):
            return self.round
        round = self._first(experiment.end, self.round + LOOK_AHEAD)
        known = round < self.round + LOOK_AHEAD
        num_rounds = round if known else max(experiment.num_rounds, round + 1)
        self._driver.agenda = dataclasses.replace(self._driver.agenda, num_rounds=num_rounds)
        return int(min(round, self.experiment.scenario.next_round(self.cursor)))

    @in_turn
    def close(self) -> None:
        """End the actors, and Ray too if it was started here, unless a fork still needs them."""
        if self.closed:
            return
        self.closed = True
        self.on_note, self.saver = _nobody, None  # whoever listens may hold on to us
        try:
            self._driver.engine.close()
        finally:
            self.hosting.close()
        told, self.on_change = self.on_change, _nobody
        told(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # What is kept, and gone back to

    @property
    def saver(self) -> Callable[[Moment], Path | None] | None:
        """Writes a moment to the directory of the run, if it has one; see `Safe`."""
        return self._safe.saver

    @saver.setter
    def saver(self, saver: Callable[[Moment], Path | None] | None) -> None:
        self._safe.saver = saver

    def save(self) -> None:
        """Keep a moment to go back to: on disk where a run has a directory, else in memory."""
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
        """All that it needs to go on from here, in memory."""
        return self._moment(self._ask(lambda driver: driver.engine.snapshot()))

    def _moment(self, snapshot: Snapshot) -> Moment:
        return Moment(
            self.experiment,
            self.rule,
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
        same as this one. Close both.

        Raises:
            ConfigError: this one is closed.
        """
        self._check_open()
        self._driver.settle()
        twin = copy.copy(self)
        twin.turn, twin.room, twin.restored = RLock(), None, None
        twin.on_change = _nobody
        twin._driver = self._driver.fork()
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
        """
        self._check_open()
        if moment.experiment.config is not self.experiment.config:
            raise ConfigError("go_back takes a moment of this simulation, or of a fork of it")
        if moment.experiment is not self.experiment or moment.snapshot is None:
            self._rebuild(moment)
        else:
            self._driver.settle()
            with uninterrupted():
                engine, bounds = self._driver.engine, self.hosting.placement.bounds
                engine.rewire(moment.rule, self.experiment.routing(moment.network, bounds))
                engine.load(moment.snapshot)
                self._replace_hosts(moment, engine)
                self._safe.last = moment
        self._seen = None
        self._told = moment.log.rounds[-1]["round"] if moment.log.rounds else -1
        self.on_change(True)

    def _rebuild(self, moment: Moment) -> None:
        """Go on from a moment that differs in the number of clients: with actors of its own."""
        placement = self.hosting.placed(moment.experiment)
        with uninterrupted():
            self._driver.engine.close()
            self.hosting.placement = placement
            self._replace_hosts(moment)
            if self._by_hand:
                self._safe.last = moment

    # When actors die

    @in_turn
    def _ask(self, what: Callable[[Driver], Any]) -> Any:
        """Something of all clients as they are; new actors come to this round first."""
        round = self.round
        while True:
            try:
                self._driver.settle()
                return what(self._driver)
            except ClusterError as error:
                if not self._by_hand:  # then it is tried again as a whole
                    raise
                self._recover(error)
                self._run(round)

    def _recover(self, error: ClusterError) -> None:
        """New actors, which stand where the last moment that is safe does."""
        limit = self.experiment.config.max_restarts
        if self.hosting.cluster is None or len(self.restarts) >= limit:
            after = f" (after {len(self.restarts)} restarts)" if self.restarts else ""
            raise type(error)(f"{error}{after}") from error
        safe = self._safe.moment(self.experiment, self.on_note)
        line = f"round {self.round}: {error}; going on from round {safe.log.round}"
        self.on_note(line)
        with_line = (*self.restarts, line)
        self._driver.engine.close()
        self.hosting.revive(safe.experiment)
        self._replace_hosts(dataclasses.replace(safe, restarts=with_line))

    def _replace_hosts(self, moment: Moment, engine: Engine | None = None) -> None:
        """Go on from a moment with new hosts; when it all began is not forgotten."""
        before = self._driver
        self._resume(moment, engine)
        self._driver = dataclasses.replace(
            self._driver,
            first_round_at=before.first_round_at,
            first_round=before.first_round,
            clock=before.clock,
            spans=before.spans,
        )


def _nobody(news: Any) -> None:
    """Listens to what nobody needs to hear."""
