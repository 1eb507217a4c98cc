"""How a live network lives: it runs rounds, survives the death of actors, and ends."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from threading import Timer
from typing import Any

from typing_extensions import Self

from p2pqg.base.errors import ClusterError, P2pqgError
from p2pqg.base.ranges import as_whole_number
from p2pqg.engine.driver import Driver
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.outlook import Outlook, of_rounds, of_waves
from p2pqg.engine.scouting import batches_per_round
from p2pqg.network import Timing
from p2pqg.network.units import still
from p2pqg.simulation.length import EndSeen
from p2pqg.simulation.notebook import watched
from p2pqg.simulation.paused import Paused
from p2pqg.simulation.turns import in_turn

SECONDS_OF_PATIENCE = 3.0
"""After a Ctrl-C, until it is said why the run has not ended yet."""

WAITS = "stops when the rounds on their way are done; Ctrl-C once more stops at once"

LOOK_AHEAD = 1000
"""Rounds that the simulated clock is read ahead, to send as many rounds at once as possible."""


class InVainError(ClusterError):
    """Actors died, and there will be no others; whoever hears of it need not try."""


class Life(Paused):
    """Rounds from a moment on."""

    # Rounds

    @in_turn
    def advance(self, rounds: int, *, after: Callable[[Self], None] | None = None) -> None:
        """Run that many rounds, with the scenario's events on the way.

        It can be interrupted; the next call goes on. Actors that die are replaced, and the rounds
        since the last checkpoint run again, with the same numbers. Where clients do not wait, steps
        are computed together up to the next recorded row, or where it is to stop: who stops in
        between has the same numbers to float rounding.

        Args:
            rounds: >= 0.
            after: called with this simulation whenever a portion of the rounds is recorded.

        Raises:
            ConfigError: this simulation is closed, or rounds are no whole number.
            UserCodeError: a callback asks for it, or fails.
            DivergedError: a client's loss is not finite.
            ClusterError: actors died more often than `max_restarts`.
        """
        self._advance(self.round + as_whole_number(rounds, "rounds"), after)

    @in_turn
    def _advance(
        self, until: int, after: Callable[[Self], None] | None, *, as_it_is: bool = False
    ) -> None:
        """Run until so many rounds are done; `as_it_is`: or until network or rule is another."""
        self._check_open()
        self._check_not_telling("advance")
        try:
            with self._speed_so_far.running(self._driver.first_round_at is not None):
                self._run(until, watched(after, self, until), as_it_is=as_it_is)
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

    def _run(
        self,
        until: int,
        after: Callable[[Self], None] | None = None,
        *,
        as_it_is: bool = False,
    ) -> None:
        network, rule = self.network, self.method
        while True:
            try:
                self._driver.settle()
                if self.round >= until:
                    return
                self._listen()
                if self.stopped:
                    return
                was_over = self._has_ended()
                if as_it_is and was_over:  # by a callback
                    return
                self._play_scenario()
                if not was_over:
                    self._plan_last_row()
                if as_it_is:
                    if self._has_ended():  # by an event: the round that it comes before
                        until = self.round + 1
                    elif not (self.network is network and self.method is rule):
                        return
                stop = int(min(until, self._next_event(until), self._next_hearing()))
                if self._may_end_anywhere():  # `finish` evaluates every round then, and so do we
                    stop = self.round + 1
                    self._plan(stop)
                for _ in self._counted(self._driver.advance(stop, self._wants_saving)):
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

    def _counted(self, portions: Iterator[int]) -> Iterator[int]:
        """The portions as they come; the steps that clients make in them count, see `Speed`."""
        each = 1
        if self.experiment.waits:
            each = batches_per_round(self.method.algorithm, self.method.params)
        is_first, book = self._driver.first_round_at is None, self._driver.book
        before = book.taken_part
        for round in portions:
            if is_first:
                self._speed_so_far.first_round_is_over()
            else:
                self._speed_so_far.steps += (book.taken_part - before) * each
            is_first, before = False, book.taken_part
            yield round

    def _play_scenario(self) -> None:
        """Do what is due before the next round."""
        scenario = self.experiment.scenario
        while event := scenario.due(self.round, self._driver.log.sim_seconds, self.cursor):
            before = len(self._driver.log.events)
            with uninterrupted(torn=self._tear):
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
            self._telling = True
            try:
                with self._driver.clock("recording"):
                    for callback in self._callbacks:
                        callback.tell(self, row)
            finally:
                self._telling = False
        if not self.stopped:
            experiment = self.experiment
            self.stopped = experiment.config.stop.reason(rows, experiment.tested_columns)

    def _next_hearing(self) -> float:
        """The round after which somebody has to look at a row, before it goes on."""
        callbacks, stop = self._callbacks, self.experiment.config.stop
        if not (callbacks or stop):
            return math.inf
        every = any(callback.on_round for callback in callbacks)
        return self._driver.agenda.next_row(self.round, evaluated=not every)

    def _next_event(self, until: int) -> float:
        """The round before which something may be due; with events in seconds, looks ahead.

        It may not look too far, or an event would come late: only as far as is known what is sent.
        What is due after `until` does not matter yet.
        """
        scenario = self.experiment.scenario
        last, seconds = scenario.next_round(self.cursor), scenario.next_seconds(self.cursor)
        if seconds is None:
            return last
        return self._first(lambda ahead: still(ahead.seconds) >= seconds, min(last, until))[0]

    def _first(self, reached: Callable[[Outlook], bool], most: float) -> tuple[int, bool]:
        """The next round after which it is so far, or may be, at most so many; whether it is."""
        round = self.round + 1
        for ahead in islice(self._outlook(), LOOK_AHEAD + 1):
            round = max(round, ahead.round)
            if (found := reached(ahead)) or round >= most:
                return round, found
        return self._at_border(round), False

    def _at_border(self, round: int) -> int:
        """A round to go on to, but no further than to the last border of windows before it.

        How far one looks ahead depends on where one stands, and so does who has stopped there; what
        clients that do not wait compute at once must not.
        """
        before = round - round % self.experiment.window
        return before if before > self.round else round

    def _outlook(self) -> Iterator[Outlook]:
        """What the clock will show; nothing where it cannot be known what rounds will send."""
        experiment, log, network = self.experiment, self._driver.log, self.network
        if not experiment.waits:
            timeline = experiment.timeline(self.method, network)
            timeline.load(self._ask(lambda driver: driver.engine.timeline()))
            return of_waves(timeline)
        if not isinstance(network.timing, Timing):
            return iter(())
        assert log.ready is not None  # there is a clock
        taken = experiment.coming(self.method, network, self.round)
        return of_rounds(network, network.timing, self.round, taken, log.ready)

    # How it ends

    def _may_end_anywhere(self) -> bool:
        """Whether it ends by a clock of which nothing can be known, as under consensus control."""
        experiment = self.experiment
        if not experiment.end or not experiment.waits or self._has_ended():
            return False
        return next(self._outlook(), None) is None

    def finish(self, *, after: Callable[[Self], None] | None = None) -> None:
        """Run to the end, be it in rounds, in steps of everybody, on the clock, or by its own rule.

        Args:
            after: as of `advance`.

        Raises:
            DivergedError: as of `advance`, or the last round leaves a client a model whose test
                loss is no number.
            ClusterError: as of `advance`.
        """
        moves = self.experiment.end is not None  # with what is done to the network
        while not self.stopped and (until := self._last_round()) > self.round:
            self._advance(until, after, as_it_is=moves)
        self._driver.book.check_end(self.experiment.task.objective.is_own)

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end, and all of it is recorded."""
        return self.is_settled and (bool(self.stopped) or self._last_round() <= self.round)

    def _last_round(self) -> int:
        """The round after which it ends, or has to be asked again; this one if it is over."""
        experiment = self.experiment
        if experiment.end is None:
            return experiment.num_rounds
        if self._has_ended():
            return self.round
        ahead = self._end_ahead(experiment.end)
        num_rounds = ahead.round if ahead.is_last else max(experiment.num_rounds, ahead.round + 1)
        self._plan(num_rounds)
        # An event that is due now happens before the next round: that one is still to be run.
        event = max(self.experiment.scenario.next_round(self.cursor), self.round + 1)
        return int(min(ahead.round, event))

    def _has_ended(self) -> bool:
        """Whether it is past the end that a clock or steps set."""
        end = self.experiment.end
        return bool(end and end(self._stand))

    def _plan_last_row(self) -> None:
        """Have the last round recorded, whichever that is after what was done before this one."""
        if self._has_ended():
            self._plan(self.round + 1)
        else:
            self._last_round()

    def _plan(self, num_rounds: int) -> None:
        """Have so many rounds, the last of which is evaluated."""
        self._driver.agenda = dataclasses.replace(self._driver.agenda, num_rounds=num_rounds)

    def _end_ahead(self, end: Callable[[Outlook], bool]) -> EndSeen:
        """When it will be over; who asks after each round is told what was found out once.

        It takes up to a thousand rounds of the clock.
        """
        seen = self._end_seen
        if seen is None or not seen.holds(self.network, self.method, self.round):
            most = self._at_border(self.round + LOOK_AHEAD)
            round, found = self._first(end, most)
            self._end_seen = seen = EndSeen(self.network, self.method, round, found or round < most)
        return seen

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
        if isinstance(error, InVainError):
            raise error
        if self.hosting.cluster is None or len(self.restarts) >= limit:
            after = f" (after {len(self.restarts)} restarts)" if self.restarts else ""
            raise InVainError(f"{error}{after}") from error
        safe = self._safe.moment(self.experiment, self.on_note)
        line = f"round {self.round}: {error}; going on from round {safe.log.round}"
        with_line = (*self.restarts, line)
        self._driver.engine.close()
        try:
            self.hosting.revive(safe.experiment)
        except ClusterError as no_more:
            raise InVainError(f"round {self.round}: {no_more} ({error})") from error
        self.on_note(line)
        self._replace_hosts(dataclasses.replace(safe, restarts=with_line))
