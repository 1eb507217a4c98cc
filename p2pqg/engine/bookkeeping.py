"""What hosts report -> rows of the results. The logbook is data: it is saved, moved and forked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from p2pqg.algorithms.privacy import EPSILONS, Accounts
from p2pqg.base.errors import DivergedError
from p2pqg.base.records import Records
from p2pqg.base.steady import now
from p2pqg.engine.outlook import through
from p2pqg.engine.spec import Measurement, Report
from p2pqg.engine.traffic import Traffic, of_all
from p2pqg.network import Ledger, Network, Timing

NEXT_TO_NOTHING = 2.0**-126
"""Step sizes below are 0 in float32, or near it."""


@dataclass(frozen=True)
class SetLater:
    """Step sizes that were set on the way: round -> that of the round.

    Attributes:
        first: the first round of the new ones.
        lr, before: the new ones, and those until then.
    """

    first: int
    lr: Callable[[int], float]
    before: Callable[[int], float]

    def __call__(self, round: int) -> float:
        sizes: Callable[[int], float] = self
        while isinstance(sizes, SetLater):  # a hand may have set thousands
            sizes = sizes.lr if round >= sizes.first else sizes.before
        return sizes(round)


def of_those_known(values: np.ndarray) -> float:
    """The mean of those that are a number; NaN: none is.

    >>> of_those_known(np.array([0.5, np.nan, 1.0]))
    0.75
    """
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def over_all(name: str, values: np.ndarray, present: np.ndarray) -> float:
    """What a row tells of its clients' numbers: the mean of those that are present, or else.

    Whose classes the test set has not has no personal accuracy, whatever its model; the others'
    mean is told. What was told of the samples of a client that left stays told: the largest epsilon
    is that of all who ever were here.
    """
    if name in EPSILONS:
        return float(values.max())
    mean = of_those_known if name == "personal_accuracy" else np.mean
    return float(mean(values[present]))


@dataclass
class Logbook:
    """All that is known of a simulation so far.

    Attributes:
        round: rounds done and recorded.
        rounds, clients: rows of rounds.parquet and clients.parquet.
        losses: mean loss of each round since the last row.
        last_finite: [clients], losses of the last round.
        ready: [clients], seconds on the simulated clock when each client can start its next round.
        ledger: bytes and messages of every link.
        traffic: of the last round.
        events: what was done to the simulation: {"round", "sim_seconds", "what"}.
        interventions: what was done by hand: {"round", verb: its value in a recipe}.
        steps: [clients], that each has made, where clients do not wait.
        behind, age: of the news they used since the last row, see `engine.waves.timeline.Window`.
    """

    round: int = 0
    rounds: Records = field(default_factory=Records)
    clients: Records = field(default_factory=Records)
    losses: list[float] = field(default_factory=list)
    last_finite: np.ndarray | None = None
    ready: np.ndarray | None = None
    ledger: Ledger | None = None
    traffic: Traffic = ()
    events: list[dict[str, Any]] = field(default_factory=list)
    interventions: list[dict[str, Any]] = field(default_factory=list)
    steps: np.ndarray | None = None
    behind: list[np.ndarray] = field(default_factory=list)
    age: list[np.ndarray] = field(default_factory=list)

    def copy(self) -> Logbook:
        """A logbook for a fork; the rows are shared, since none is changed once it is written."""
        return replace(
            self,
            rounds=self.rounds.copy(),
            clients=self.clients.copy(),
            losses=list(self.losses),
            behind=list(self.behind),
            age=list(self.age),
            events=list(self.events),
            interventions=list(self.interventions),
            ledger=None if self.ledger is None else self.ledger.copy(),
        )

    def put_down(self, row: dict[str, Any], clients: list[dict[str, Any]]) -> None:
        """A row is written: what is gathered from row to row begins anew."""
        self.rounds.append(row)
        self.clients.extend(clients)
        for gathered in (self.losses, self.behind, self.age):
            gathered.clear()

    def grow(self, n: int) -> None:
        """There are n clients from now on; the new ones are ready when all others are."""
        if self.ready is not None:
            more = np.full(n - len(self.ready), self.ready.max())
            self.ready = np.concatenate([self.ready, more])
        if self.steps is not None:
            self.steps = np.concatenate([self.steps, np.zeros(n - len(self.steps), dtype=np.int64)])
        if self.last_finite is not None:
            more = np.full(n - len(self.last_finite), self.last_finite.mean())
            self.last_finite = np.concatenate([self.last_finite, more])

    def note(self, what: str, warnings: Sequence[str] = ()) -> None:
        """Put down what was done, and what is to be known about it, unless it is known already."""
        for line in [what, *(warning for warning in warnings if not self._is_known(warning))]:
            seconds = {} if self.ready is None else {"sim_seconds": self.sim_seconds}
            self.events.append({"round": self.round, **seconds, "what": line})

    def _is_known(self, warning: str) -> bool:
        """Whether it has been told; what is told again and again has been so early."""
        return any(event["what"] == warning for event in self.events)

    @property
    def sim_seconds(self) -> float:
        """The simulated clock: when the last client is done with the last round."""
        return 0.0 if self.ready is None else float(self.ready.max())


@dataclass
class Bookkeeper:
    """Keeps the logbook.

    Attributes:
        lr: round -> step size; steps_per_epoch: batches of a mean-sized shard.
        num_samples: [clients], sizes of the shards; num_test_samples: of the test set.
        network: as it is; None: the algorithm uses none, and everyone takes part.
        timing: the simulated clock, if there is one.
        started: `steady.now()` when the command began, less what came before a restart.
        accounts: of privacy, if noise is added to gradients.
        taken_part: clients that took part in a round, summed over the rounds seen; where clients do
            not wait, steps.
    """

    lr: Callable[[int], float]
    steps_per_epoch: float
    num_samples: np.ndarray
    num_test_samples: int
    network: Network | None = None
    timing: Timing | None = None
    started: float = field(default_factory=now)
    accounts: Accounts | None = None
    log: Logbook = field(default_factory=Logbook)
    taken_part: int = 0

    def record(self, reports: list[Report]) -> None:
        """Take down what all hosts did since the last time.

        Raises:
            DivergedError: a client's loss is not finite; rows before that are kept.
        """
        log, first = self.log, reports[0].first_round
        losses = np.concatenate([report.losses for report in reports], axis=1)  # [rounds, clients]
        traffic = self._traffic(reports)
        finite = np.isfinite(losses).all(axis=1)
        good = len(finite) if finite.all() else int(finite.argmin())
        for seen in zip(*(report.measurements for report in reports), strict=True):
            if seen[0].round - first <= good:
                self._pass(losses, traffic, first, seen[0].round)
                row, clients = self.seen(seen)
                log.put_down(row, clients)
        self._pass(losses, traffic, first, first + good)
        before = losses[good - 1] if good else log.last_finite
        if good < len(losses):
            raise DivergedError(self._diverged(losses[good], before))
        log.last_finite = before

    def check_end(self, own_loss: bool = False) -> None:
        """The loss of the next round would tell that the last one diverged; here there is none.

        Args:
            own_loss: it is a user's, and may be no number of good models; those have numbers.

        Raises:
            DivergedError: the test loss of a client's model is no number. An infinite one may be
                due to a single sample, and is told as it is.
        """
        log = self.log
        for row in log.clients[-len(self.num_samples) :]:
            good = own_loss and math.isfinite(row["distance_to_mean"])
            if row["round"] == log.round - 1 and math.isnan(row["test_loss"]) and not good:
                lr = self.lr(row["round"])
                raise DivergedError(
                    f"round {row['round']}: leaves client {row['client']} a model with a "
                    f"non-finite loss; try a smaller lr than {lr:.4g}"
                )

    def _traffic(self, reports: list[Report]) -> list[Traffic]:
        """What each round took, of all clients."""
        return of_all([one.traffic for one in reports], [one.losses.shape[1] for one in reports])

    @property
    def _troubled(self) -> Network | None:
        """The network, where not everyone may take part: who does must be looked up."""
        network = self.network
        return network if network is not None and network.schedule is not network.base else None

    def _pass(self, losses: np.ndarray, traffic: list[Traffic], first: int, until: int) -> None:
        """Rounds up to `until` are over: their mean losses, and what the simulated clock says."""
        log = self.log
        rounds, part = range(log.round, until), slice(log.round - first, until - first)
        if network := self._troubled:
            masks = [network.schedule.mixing(round).active for round in rounds]
            rows = [r if m is None else r[m] for r, m in zip(losses[part], masks, strict=True)]
            log.losses += [float(row.mean()) for row in rows if len(row)]
            self.taken_part += sum(map(len, rows))
        else:
            log.losses += losses[part].mean(1).tolist()
            self.taken_part += losses[part].size
        if self.timing is not None:
            assert log.ready is not None
            assert self.network is not None
            for round, taken in zip(rounds, traffic[part], strict=True):
                log.ready = through(self.network, self.timing, round, taken, log.ready)
                self._book(round, taken)
        if rounds:
            log.traffic = traffic[until - 1 - first]
        log.round = until

    def _book(self, round: int, taken: Traffic) -> None:
        ledger, network = self.log.ledger, self.network
        assert ledger is not None
        assert network is not None
        active = network.schedule.mixing(round).active
        W = network.remaining.mixing(round)  # lost messages were sent
        if active is not W.active:
            W = replace(W, active=active)
        for kind, size in taken:
            if kind == "gossip":
                ledger.gossip(W, size)
            elif kind in {"allreduce", "allgather"}:
                everyone = np.arange(W.num_clients)
                book = ledger.allreduce if kind == "allreduce" else ledger.allgather
                book(size, everyone if active is None else everyone[active])

    def _diverged(self, losses: np.ndarray, before: np.ndarray | None) -> str:
        round = self.log.round
        client = int(np.flatnonzero(~np.isfinite(losses))[0])
        last = "" if before is None else f" (last finite {before[client]:.4g} in round {round - 1})"
        lr, advice = self.lr(round), "try a smaller lr than"
        if lr < NEXT_TO_NOTHING:
            advice = "some algorithms divide by lr; let it not fall to"
        return f"round {round}: client {client} has a non-finite loss{last}; {advice} {lr:.4g}"

    def seen(self, seen: Sequence[Measurement]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What all hosts measured at one moment, as rows of rounds.parquet and clients.parquet.

        Nothing is put on record. train_loss is the mean since the last row that is, or that row's.
        """
        done, log = seen[0].round, self.log
        on_record = log.rounds[-1] if log.rounds and log.rounds[-1]["round"] == done - 1 else {}
        last = max(done - 1, 0)
        network = self._troubled
        present = network.schedule.mixing(last).present if network else None
        distances = np.concatenate([m.distances for m in seen])
        alike = {m.alike for m in seen} - {()}
        exact = 0.0 if len(alike) == 1 and None not in alike else 1.0
        distances = distances * exact  # equal models are apart by the rounding of their mean
        everyone = np.ones(len(distances), dtype=bool) if present is None else present
        row = {
            "round": done - 1,
            "epoch": seen[0].step / self.steps_per_epoch,
            "lr": on_record.get("lr", self.lr(last)),
            "train_loss": float(np.mean(log.losses)) if log.losses else on_record.get("train_loss"),
            "consensus_distance": float(distances[everyone].mean()),
            "bytes_sent": round(sum(m.bytes_sent for m in seen)),
            "wall_seconds": seen[0].time - self.started,
            "gradients": seen[0].gradients,
            "exchanges": seen[0].exchanges,
            "sim_seconds": log.sim_seconds,
            "present": int(everyone.sum()),
            "components": network.components(done) if network else 1,
            "mean_drift": seen[0].drift,
        }
        liars = self.network.liars(last) if self.network else None
        lied = np.zeros(len(distances), dtype=bool) if liars is None else liars & everyone
        row["liars"] = int(lied.sum())
        honest = distances
        if seen[0].honest_distances is not None:
            honest = np.concatenate([m.honest_distances for m in seen]) * exact
        row["honest_consensus_distance"] = float(honest[everyone & ~lied].mean())
        if seen[0].correct is None:
            return row, []
        evaluation, clients = self._evaluation(seen, distances, np.flatnonzero(everyone), lied)
        return row | evaluation, clients

    def _evaluation(
        self,
        seen: Sequence[Measurement],
        distances: np.ndarray,
        present: np.ndarray,
        lied: np.ndarray,
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Columns of the row of a round, and rows of its clients."""
        accuracy = np.concatenate([m.correct for m in seen]) / self.num_test_samples
        loss = np.concatenate([m.loss for m in seen]) / self.num_test_samples
        told = [m.more or {} for m in seen]
        more = {name: np.concatenate([one[name] for one in told]) for name in told[0]}
        if self.accounts:
            more |= self._spent(self.accounts, seen[0], len(distances))
        clients = [
            {
                "round": seen[0].round - 1,
                "client": client,
                "test_accuracy": known(accuracy[client]),
                "test_loss": float(loss[client]),
                "num_samples": int(self.num_samples[client]),
                "distance_to_mean": float(math.sqrt(distances[client])),
                "lied": bool(lied[client]),
                **{name: known(values[client]) for name, values in more.items()},
            }
            for client in present.tolist()
        ]
        honest = present[~lied[present]]
        truthful = {
            "honest_test_accuracy": float(accuracy[honest].mean()),
            "honest_test_accuracy_min": float(accuracy[honest].min()),
            "honest_test_loss": float(loss[honest].mean()),
        }
        accuracy, loss = accuracy[present], loss[present]
        averaged = seen[0].averaged_more or {}
        row = {
            "test_accuracy": float(accuracy.mean()),
            "test_accuracy_std": float(accuracy.std()),
            "test_accuracy_min": float(accuracy.min()),
            "averaged_model_accuracy": sum(m.averaged[0] for m in seen if m.averaged)
            / self.num_test_samples,
            "test_loss": float(loss.mean()),
            **truthful,
            **{name: over_all(name, values, present) for name, values in more.items()},
            **{f"averaged_{name}": value for name, value in averaged.items()},
        }
        return {name: value for name, value in row.items() if not math.isnan(value)}, clients

    def _spent(self, accounts: Accounts, seen: Measurement, n: int) -> dict[str, np.ndarray]:
        """[clients] each, by name: what each one's samples have been told of."""
        steps = self.log.steps
        if steps is not None:
            return accounts.epsilons(steps)
        # The mean would say too little where a network changes; an older checkpoint has no other.
        mean = -(-seen.gradients // max(1, seen.step))
        most = max(seen.most_on_batch, mean)
        return accounts.epsilons(np.full(n, seen.step), most)


def known(value: float) -> float | None:
    """None where there is nothing to tell: regression has no accuracy, a metric may be undefined.

    An infinite loss is told as it is.
    """
    return None if math.isnan(value) else float(value)
