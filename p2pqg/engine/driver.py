"""The driver: leads an engine through the rounds, and has a bookkeeper take down what happens.

It keeps work in flight and waits only where it must read a number. How it cuts the rounds into
portions depends on the clock; what is computed does not.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from p2pqg.base import steady
from p2pqg.base.errors import AlgorithmError, ClusterError
from p2pqg.base.wording import counted
from p2pqg.engine.bookkeeping import Bookkeeper, Logbook
from p2pqg.engine.clock import Clock, Span
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.spec import AnyRouting, Measurement, Report, Stop

SECONDS_PER_PORTION = 0.25
"""How often, about, the driver hears from the hosts."""


class Engine(Protocol):
    """Moves hosts; see local.py and actors.py.

    Attributes:
        max_in_flight: how many submissions may be under way.
        tell: called with a line if it waits for something that a user should know.
    """

    max_in_flight: int
    tell: Callable[[str], None] | None

    def submit(self, stops: list[Stop]) -> Any: ...

    def fetch(self, ticket: Any) -> list[Report]: ...

    def rewire(self, rule: Rule, routing: AnyRouting) -> None: ...

    def snapshot(self, pieces: bool = False) -> Snapshot: ...

    def timeline(self) -> Mapping[str, np.ndarray]: ...

    def ways(self) -> list[str]: ...

    def load(self, snapshot: Snapshot) -> None: ...

    def fork(self) -> Engine: ...

    def parameters(self) -> np.ndarray: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Agenda:
    """When to record a row, and when to evaluate too; the last round of a run does both.

    Attributes:
        num_rounds: of the run.
        record_every, eval_every: rounds from one to the next.
        eval_first: evaluate after the first round, too.
        window: portions end at multiples of it, where they can, so that what clients that do not
            wait compute at once does not depend on how the rounds are cut into portions.
    """

    num_rounds: int
    record_every: int
    eval_every: int
    eval_first: bool = False
    window: int = 1

    def next_row(self, done: int, evaluated: bool) -> int:
        """Rounds done when the next row is recorded, or the next evaluated one."""
        found = [self.eval_every * (done // self.eval_every + 1), self.num_rounds]
        if not evaluated:
            found.append(self.record_every * (done // self.record_every + 1))
        if done == 0 and self.eval_first:
            found.append(1)
        return min(round for round in found if round > done)

    def stops(self, first: int, until: int) -> list[Stop]:
        """The stops on the way from `first` rounds done to `until` rounds done."""
        stops = []
        for done in range(first + 1, until + 1):
            evaluate = (
                done % self.eval_every == 0
                or done == self.num_rounds
                or (done == 1 and self.eval_first)
            )
            if evaluate or done % self.record_every == 0:
                stops.append(Stop(done, measure=True, evaluate=evaluate))
        if not stops or stops[-1].round != until:
            stops.append(Stop(until))
        return stops


@dataclass
class Driver:
    """The rounds of one simulation.

    Attributes:
        engine: has the hosts.
        agenda: when to measure.
        book: the bookkeeper.
        first_round_at: when (`steady.now()`) the first round here was done.
        clock: of the driver; spans: where the time went, of each host, if the run is profiled.
    """

    engine: Engine
    agenda: Agenda
    book: Bookkeeper
    first_round_at: float | None = None
    clock: Clock = field(default_factory=lambda: Clock(on=False))
    spans: dict[str, list[Span]] = field(default_factory=dict)
    _in_flight: deque[tuple[int, Any]] = field(default_factory=deque)
    _seconds_per_round: float = math.inf
    _broken: str = ""

    @property
    def log(self) -> Logbook:
        return self.book.log

    @property
    def round(self) -> int:
        """Rounds done and recorded."""
        return self.log.round

    def advance(self, until: int, enough: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Run until that many rounds are done; yields how many are after each portion.

        Whatever interrupts it, the next call goes on where this one stopped.

        Args:
            until: rounds done at the end.
            enough: asked before more is sent out; if so, what is on its way is waited for.

        Raises:
            DivergedError: a client's loss is not finite; rows before that are kept.
            ClusterError: an actor or the cluster is gone; rows so far are kept.
        """
        heard = time.perf_counter()
        while True:
            while (
                self._submitted < until
                and len(self._in_flight) < self.engine.max_in_flight
                and not enough()
            ):
                portion = self._submitted + self._portion()
                self._submit(min(until, portion + -portion % self.agenda.window))
            if not self._in_flight:
                return
            before = self.round
            self._fetch()
            now = time.perf_counter()
            if self.first_round_at is None:
                self.first_round_at = steady.now()
            else:
                self._seconds_per_round = (now - heard) / max(1, self.round - before)
            heard = now
            yield self.round

    def look(self) -> tuple[Measurement, ...]:
        """Have every host measure and evaluate its clients as they are; nothing is recorded."""
        self.settle()
        reports = self.engine.fetch(self.engine.submit([Stop(self.round, True, True)]))
        return tuple(report.measurements[-1] for report in reports)

    def settle(self) -> None:
        """Wait for what is on its way: the clients stand between two rounds, all is recorded.

        Raises:
            AlgorithmError: they do not, for a round has failed.
        """
        if self._broken:
            raise AlgorithmError(self._broken)
        while self._in_flight:
            self._fetch()

    @property
    def is_settled(self) -> bool:
        """Whether nothing is on its way, and no round has failed."""
        return not (self._in_flight or self._broken)

    @property
    def _submitted(self) -> int:
        return self._in_flight[-1][0] if self._in_flight else self.round

    def _submit(self, until: int) -> None:
        with uninterrupted(torn=self.tear), self._breaking():
            stops = self.agenda.stops(self._submitted, until)
            self._in_flight.append((until, self.engine.submit(stops)))

    def _fetch(self) -> None:
        with self._breaking():
            reports = self.engine.fetch(self._in_flight[0][1])
        with uninterrupted(torn=self.tear):
            self._in_flight.popleft()
            if self.clock.on:
                for number, report in enumerate(reports):
                    self.spans.setdefault(f"host {number}", []).extend(report.spans)
            with self.clock("recording"):
                self.book.record(reports)

    @contextmanager
    def _breaking(self) -> Iterator[None]:
        """What fails inside leaves clients in the middle of a round, some ahead of what is known.

        If an actor is gone all begin anew from a moment that is safe: that is none of it.
        """
        try:
            yield
        except ClusterError:
            raise
        except Exception as error:
            self.tear(str(error).partition("\n")[0])
            raise

    def tear(self, reason: str = "it was stopped at once") -> None:
        """Put down that nobody can go on from here."""
        self._broken = (
            f"after {counted(self.round, 'round')} one broke off half-way ({reason}); go back to a "
            "moment, or on from a checkpoint"
        )

    @property
    def is_broken(self) -> bool:
        """Whether a round has failed, so that clients stand where nobody can go on from."""
        return bool(self._broken)

    def _portion(self) -> int:
        """Rounds to send at once: one at first, then about a quarter of a second's worth."""
        if self.first_round_at is None and not self._in_flight:
            return 1
        if math.isinf(self._seconds_per_round):
            return 2
        return max(1, min(1000, int(SECONDS_PER_PORTION / self._seconds_per_round)))

    def fork(self) -> Driver:
        """A driver of the same clients once more, with the same past; all has been settled."""
        twin = replace(self, engine=self.engine.fork(), spans={}, _in_flight=deque())
        twin.clock = Clock(on=self.clock.on)
        twin.book = replace(self.book, log=self.log.copy())
        return twin
