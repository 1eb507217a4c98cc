"""The driver: leads an engine through the rounds, and turns what hosts report into rows.

It keeps work in flight and waits only where it must read a number. How it cuts the rounds into
portions depends on the clock; what is computed does not.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from p2pqg.engine.clock import Clock, Span
from p2pqg.engine.spec import Measurement, Report, Stop
from p2pqg.errors import DivergedError

SECONDS_PER_PORTION = 0.25
"""How often, about, the driver hears from the hosts."""


class Engine(Protocol):
    """Moves hosts; see local.py and actors.py."""

    max_in_flight: int

    def submit(self, stops: list[Stop]) -> Any: ...

    def fetch(self, ticket: Any) -> list[Report]: ...

    def parameters(self) -> np.ndarray: ...

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Agenda:
    """When to record a row, and when to evaluate too; the last round of a run does both."""

    num_rounds: int
    record_every: int
    eval_every: int

    def stops(self, first: int, until: int) -> list[Stop]:
        """The stops on the way from `first` rounds done to `until` rounds done."""
        stops = []
        for done in range(first + 1, until + 1):
            evaluate = done % self.eval_every == 0 or done == self.num_rounds
            if evaluate or done % self.record_every == 0:
                stops.append(Stop(done, measure=True, evaluate=evaluate))
        if not stops or stops[-1].round != until:
            stops.append(Stop(until))
        return stops


@dataclass
class Driver:
    """Rounds and rows of one simulation.

    Attributes:
        engine: has the hosts.
        agenda: when to measure.
        lr: round -> step size; rounds_per_epoch: of a mean-sized shard.
        num_samples: [clients], sizes of the shards; num_test_samples: of the test set.
        started: `time.time()` when the command began.
        round: rounds done and recorded.
        rounds, clients: rows of rounds.parquet and clients.parquet so far.
        first_round_at: `time.time()` when the first round was done.
        clock: of the driver; spans: where the time went, of each host, if the run is profiled.
    """

    engine: Engine
    agenda: Agenda
    lr: Callable[[int], float]
    rounds_per_epoch: float
    num_samples: np.ndarray
    num_test_samples: int
    started: float = field(default_factory=time.time)
    round: int = 0
    rounds: list[dict[str, Any]] = field(default_factory=list)
    clients: list[dict[str, Any]] = field(default_factory=list)
    first_round_at: float | None = None
    clock: Clock = field(default_factory=lambda: Clock(on=False))
    spans: dict[str, list[Span]] = field(default_factory=dict)
    _losses: list[float] = field(default_factory=list)
    _last_finite: np.ndarray | None = None
    _seconds_per_round: float = math.inf

    def advance(self, num_rounds: int) -> Iterator[int]:
        """Run that many rounds; yields the rounds done after each portion is recorded.

        Raises:
            DivergedError: a client's loss is not finite; rows before that are kept.
            ClusterError: an actor or the cluster is gone; rows so far are kept.
        """
        submitted, until = self.round, self.round + num_rounds
        in_flight: deque = deque()
        heard = time.perf_counter()
        while submitted < until or in_flight:
            while submitted < until and len(in_flight) < self.engine.max_in_flight:
                portion = min(until, submitted + self._portion(submitted))
                stops = self.agenda.stops(submitted, portion)
                in_flight.append((portion - submitted, self.engine.submit(stops)))
                submitted = portion
            length, ticket = in_flight.popleft()
            reports = self.engine.fetch(ticket)
            with self.clock("recording"):
                self._record(reports)
            now = time.perf_counter()
            if self.first_round_at is None:
                self.first_round_at = time.time()
            else:
                self._seconds_per_round = (now - heard) / length
            heard = now
            yield self.round

    def _portion(self, submitted: int) -> int:
        """Rounds to send at once: one at first, then about a quarter of a second's worth."""
        if submitted == 0:
            return 1
        if math.isinf(self._seconds_per_round):
            return 2
        return max(1, min(1000, int(SECONDS_PER_PORTION / self._seconds_per_round)))

    def _record(self, reports: list[Report]) -> None:
        if self.clock.on:
            for number, report in enumerate(reports):
                self.spans.setdefault(f"host {number}", []).extend(report.spans)
        losses = np.concatenate([report.losses for report in reports], axis=1)  # [rounds, clients]
        finite = np.isfinite(losses).all(axis=1)
        good = len(finite) if finite.all() else int(finite.argmin())
        first = reports[0].first_round
        for seen in zip(*(report.measurements for report in reports), strict=True):
            if seen[0].round - first <= good:
                self._losses += losses[self.round - first : seen[0].round - first].mean(1).tolist()
                self.round = seen[0].round
                self._record_row(seen)
        self._losses += losses[self.round - first : good].mean(1).tolist()
        self.round = first + good
        before = losses[good - 1] if good else self._last_finite
        if good < len(losses):
            raise DivergedError(self._diverged(losses[good], before))
        self._last_finite = before

    def _diverged(self, losses: np.ndarray, before: np.ndarray | None) -> str:
        client = int(np.flatnonzero(~np.isfinite(losses))[0])
        last = (
            ""
            if before is None
            else f" (last finite {before[client]:.4g} in round {self.round - 1})"
        )
        return (
            f"round {self.round}: client {client} has a non-finite loss{last}; "
            f"try a smaller lr than {self.lr(self.round):.4g}"
        )

    def _record_row(self, seen: tuple[Measurement, ...]) -> None:
        done = seen[0].round
        distances = np.concatenate([m.distances for m in seen])
        row = {
            "round": done - 1,
            "epoch": done / self.rounds_per_epoch,
            "lr": self.lr(done - 1),
            "train_loss": float(np.mean(self._losses)),
            "consensus_distance": float(distances.mean()),
            "bytes_sent": round(sum(m.bytes_sent for m in seen)),
            "wall_seconds": seen[0].time - self.started,
            "exchanges": seen[0].exchanges,
        }
        self._losses.clear()
        if seen[0].correct is not None:
            row |= self._record_evaluation(seen, distances)
        self.rounds.append(row)

    def _record_evaluation(
        self, seen: tuple[Measurement, ...], distances: np.ndarray
    ) -> dict[str, float]:
        accuracy = np.concatenate([m.correct for m in seen]) / self.num_test_samples
        loss = np.concatenate([m.loss for m in seen]) / self.num_test_samples
        for client in range(len(accuracy)):
            self.clients.append(
                {
                    "round": seen[0].round - 1,
                    "client": client,
                    "test_accuracy": float(accuracy[client]),
                    "test_loss": float(loss[client]),
                    "num_samples": int(self.num_samples[client]),
                    "distance_to_mean": float(math.sqrt(distances[client])),
                }
            )
        return {
            "test_accuracy": float(accuracy.mean()),
            "test_accuracy_std": float(accuracy.std()),
            "test_accuracy_min": float(accuracy.min()),
            "averaged_model_accuracy": sum(m.averaged[0] for m in seen) / self.num_test_samples,
            "test_loss": float(loss.mean()),
        }
