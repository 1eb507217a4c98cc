"""What a live network shows of itself: rows, tables, states, W, and what summary.json says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from p2pqg.base.errors import ConfigError, DivergedError, P2pqgError, UserCodeError
from p2pqg.base.records import Records, last_having
from p2pqg.base.steady import now
from p2pqg.base.user_code import names_a_file
from p2pqg.engine.clock import Clock, Span, chrome_trace, totals
from p2pqg.engine.driver import Driver
from p2pqg.engine.outlook import Outlook
from p2pqg.engine.placement import Placement
from p2pqg.engine.rule import Rule
from p2pqg.network import Network
from p2pqg.network.scenario import Cursor
from p2pqg.simulation import evidence, summary
from p2pqg.simulation.callbacks import Callback
from p2pqg.simulation.experiment import Experiment
from p2pqg.simulation.hosting import Hosting
from p2pqg.simulation.length import EndSeen
from p2pqg.simulation.speed import Speed
from p2pqg.simulation.turns import in_turn

if TYPE_CHECKING:
    import pandas as pd

Rows = tuple[dict[str, Any], list[dict[str, Any]]]
"""A row of rounds.parquet, and the rows of clients.parquet that go with it."""


class Shown(ABC):
    """What can be read of a live network; reading changes nothing that is on record.

    Its attributes are made by `Paused`, and told to users by `Simulation`.
    """

    experiment: Experiment
    method: Rule
    network: Network
    hosting: Hosting
    restarts: tuple[str, ...]
    stopped: str | None
    closed: bool
    _callbacks: Sequence[Callback]
    _telling: bool
    on_note: Callable[[str], None]
    on_change: Callable[[bool], None]
    turn: RLock
    room: Any
    _driver: Driver
    _started: float
    _seconds_before: float
    _seen: tuple[tuple[int, int], Rows] | None
    _end_seen: EndSeen | None
    _networks: evidence.Past
    _speed_so_far: Speed
    cursor: Cursor
    _ways: list[str]

    @property
    def round(self) -> int:
        """Rounds done."""
        return self._driver.round

    @property
    def num_rounds(self) -> int:
        """The run's length as far as is known; where it ends on the clock, that may change."""
        return self._driver.agenda.num_rounds

    @property
    def seconds(self) -> float:
        """Wall time since it began, also while no rounds are run; not while no process had it."""
        return self._seconds_before + now() - self._started

    @property
    def sim_seconds(self) -> float:
        """The simulated clock; 0 without one."""
        return self._driver.log.sim_seconds

    @property
    def history(self) -> pd.DataFrame:
        """One row per recorded round, columns as of rounds.parquet."""
        return self._frame(self._driver.log.rounds, self.columns)

    @property
    def clients(self) -> pd.DataFrame:
        """One row per evaluation and client, columns as of clients.parquet."""
        return self._frame(self._driver.log.clients, self.client_columns)

    def _frame(self, rows: Records, columns: dict[str, str]) -> pd.DataFrame:
        import pandas as pd

        rows, found = rows.copy(), {}  # as of now, whatever another thread adds
        for name, kind in columns.items():
            values, there = rows.column(name, kind)
            found[name] = values if there.all() else np.where(there, values, np.nan)
        return pd.DataFrame(found).astype(columns)

    @property
    def links(self) -> pd.DataFrame:
        """What went over each directed link; empty without a simulated clock."""
        import pandas as pd

        ledger = self._driver.log.ledger
        return pd.DataFrame({} if ledger is None else ledger.arrays())

    @property
    def columns(self) -> dict[str, str]:
        """Name and type of the columns of rounds.parquet: those of what there is to be told."""
        return summary.round_columns(self.experiment, self.network, self.events)

    @property
    def client_columns(self) -> dict[str, str]:
        """Name and type of the columns of clients.parquet."""
        return summary.client_columns(self.experiment, self.network, self.events)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was done to it: {"round", "sim_seconds", "what"} each."""
        return list(self._driver.log.events)

    @property
    def interventions(self) -> list[dict[str, Any]]:
        """What was done by hand: {"round", verb: its value in a recipe} each."""
        return list(self._driver.log.interventions)

    @property
    def rows(self) -> tuple[Records, Records]:
        """Rows of rounds.parquet and of clients.parquet so far."""
        return self._driver.log.rounds, self._driver.log.clients

    @property
    def placement(self) -> Placement:
        """Which clients live in which actor."""
        return self.hosting.placement

    @property
    def device(self) -> str:
        """Cpu or cuda."""
        return self.hosting.device

    def evaluate(self) -> dict[str, Any]:
        """How the clients do now: a row of rounds.parquet, with every client evaluated.

        Nothing is put on record, and asking twice costs once.

        Returns:
            test_accuracy and all other columns; `round` is that of the last round, -1 before the
            first. train_loss is None where nobody took part.

        Raises:
            ConfigError: this simulation is closed.
            DivergedError: its clients went on beyond the last round that was finite.
        """
        row = dict(self.present()[0])
        row.setdefault("train_loss", None)  # rows that come from a disk leave out what is None
        return row

    @in_turn
    def present(self) -> Rows:
        """The row of rounds.parquet, and those of clients.parquet, that would be written now.

        Raises:
            ConfigError, DivergedError: as of `evaluate`.
        """
        self._check_open()
        self._driver.settle()
        log = self._driver.log
        key = self.round, len(log.events)
        if self._seen is not None and self._seen[0] == key:
            return self._seen[1]
        row = log.rounds[-1] if log.rounds else {}
        changed = log.events and log.events[-1]["round"] == self.round
        if (
            row.get("round") == self.round - 1
            and last_having([row], *self.experiment.tested_columns)
            and not changed
        ):
            now = takewhile(lambda one: one["round"] == self.round - 1, reversed(log.clients))
            clients = [*now][::-1]
        else:
            seen = self._ask(lambda driver: driver.look())
            if seen[0].round != self.round:
                raise DivergedError(
                    f"the clients diverged after round {self.round}; restore a checkpoint"
                )
            row, clients = self._driver.book.seen(seen)
        self._seen = key, (row, clients)
        return row, clients

    def summary(self, *, evaluate: bool = True) -> dict[str, Any]:
        """What summary.json holds, as of now.

        Args:
            evaluate: False: accuracies are those on record; `evaluated_rounds` and
                `recorded_rounds` say after how many rounds what is told was measured.
        """
        driver, experiment = self._driver, self.experiment
        rows = driver.log.rounds
        last = rows[-1] if rows else {}
        tested = last_having(rows, *experiment.tested_columns) or {}
        if evaluate and not self.closed:
            with suppress(DivergedError):
                last = tested = self.present()[0]
        more: dict[str, Any] = {}
        if self.events:
            more["events"] = self.events
            more["network"] = summary.network_now(self.network, self.events)
        if not (self._ways or self.closed):
            with suppress(P2pqgError):
                self._ways = _said(driver.engine.ways())
        if self._ways:
            more["ways"] = self._ways
        if self.restarts:
            more["restarts"] = list(self.restarts)
        if self.stopped:
            more["stopped"] = self.stopped
        if experiment.waits and experiment.config.steps is not None:
            more["steps"] = self._networks[-1].step_at(self.round)
        if never := self._never_came:
            more["never_came"] = never
        return {
            **summary.what_ran(experiment),
            "rounds": self.round,
            **summary.how_it_went(experiment, self.columns, last, tested),
            **({} if experiment.waits else summary.pace(driver.log, self._stand.steps)),
            "wall_seconds": self.seconds,
            **self._speed(),
            **summary.where_it_ran(experiment, self.hosting),
            **more,
            "versions": summary.versions(),
        }

    @property
    def _never_came(self) -> list[str]:
        """What of its scenario a simulation that is over did not come to, a line each."""
        log, experiment = self._driver.log, self.experiment
        ended = experiment.end
        if not (
            self.stopped or (ended(self._stand) if ended else self.round >= experiment.num_rounds)
        ):
            return []
        return experiment.scenario.never_came(self.round, log.sim_seconds, self.cursor)

    def _speed(self) -> dict[str, float | None]:
        """The part of a summary on speed: how long until the first round, and how fast since.

        Of one that went on, the first round since then; and how long it had taken before.
        """
        first = self._driver.first_round_at
        before = {"seconds_before": self._seconds_before} if self._seconds_before else {}
        return {
            **before,
            "startup_seconds": None if first is None else first - self._started,
            "client_steps_per_second": self._speed_so_far.per_second,
        }

    @property
    def _stand(self) -> Outlook:
        """Where it stands."""
        log = self._driver.log
        here = [i for i in range(self.network.num_clients) if i not in self.network.absent]
        made = self.round * self.experiment.steps_per_round
        if not self.experiment.waits:
            made = 0 if log.steps is None else int(log.steps[here].min())
        return Outlook(self.round, log.sim_seconds, made)

    def parameters(self) -> np.ndarray:
        """[clients, params]: every client's model."""
        self._check_open()
        return self._ask(lambda driver: driver.engine.parameters())

    def shard(self, client: Any) -> tuple[np.ndarray, np.ndarray]:
        """A client's training samples and their targets.

        Args:
            client: its number, or its name.

        Returns:
            [samples, ...] as they are stored (images as bytes, or as the paths of their files), and
            [samples, ...] as the task has them.

        Raises:
            ConfigError: no such client.
        """
        return evidence.shard(self.experiment, evidence.number_of(self.network, client))

    def batch(self, client: Any, step: int) -> tuple[np.ndarray, np.ndarray]:
        """What a client learns from at a step, as it sees it.

        Args:
            client: its number, or its name.
            step: of its gradients, from 0 on; a round has `experiment.steps_per_round` of them, or
                what `set_algorithm_params(local_steps=...)` made of that.

        Returns:
            inputs [batch, ...], normalised and augmented; targets [batch, ...], flipped where an
            attack flips them.

        Raises:
            ConfigError: no such client or step.
        """
        number, past = evidence.number_of(self.network, client), self._networks
        done = [event["what"] for event in self.events]
        if not any("attack" in what for what in done):  # else: who lied, and when
            past = tuple(era._replace(network=self.network) for era in past)
            paced = any("set_algorithm_params" in what for what in done)
            if not (paced and self.network.attacks):
                past = (evidence.Era.of(0, self.network, self.method, 0),)
        return evidence.batch(self.experiment, past, number, step)

    def state(self, client: Any) -> dict[str, np.ndarray]:
        """What a client carries to the next round: name -> array.

        The names are those of the algorithm's `State`: x, its model, [params], m, its momentum,
        and so on. "buffers" are what batch normalisation remembers, where there is any.

        Args:
            client: its number, or its name.

        Raises:
            ConfigError: no such client, or this simulation is closed.
        """
        self._check_open()
        number = evidence.number_of(self.network, client)
        return evidence.state(self._ask(lambda driver: driver.engine.snapshot()), number)

    @property
    def rule(self) -> Any:
        """The rule of gossip, as a recipe has it: its name, or with parameters {name, ...}.

        Of a Python function that itself; None: the sum that W weighs.
        """
        rule = self.method.gossip_rule
        if rule is None:
            return None
        if not (rule.name in rule.registry or names_a_file(rule.name)):
            return rule.entry.build
        data = rule.to_data()
        return data if len(data) > 1 else rule.name

    def W(self, round: int) -> np.ndarray:
        """The mixing matrix of a round under whatever goes wrong: float64 [clients, clients].

        W[receiver, sender]: lost and late messages, clients that sit out or left and links that are
        cut are in it; noise, lies and rules of gossip come on top. Where clients do not wait, it is
        the network's, and each meeting takes its weights from it.

        Args:
            round: of the past, as the network was then, or of the future, if nothing is done to it.

        Raises:
            ConfigError: no such round, or one before a change that was made before `restore`.
        """
        return evidence.W(self._networks, round)

    def network_in(self, round: int) -> Network | None:
        """The network in force in a round of the past; None: it was before all that is known."""
        return evidence.network_at(self._networks, round)

    def ways(self) -> list[str]:
        """How actors compute gradients, where there was a choice: a line for each kind of them.

        On a GPU this waits until they have chosen.
        """
        self._ways = _said(self._ask(lambda driver: driver.engine.ways()))
        return self._ways

    @property
    def clock(self) -> Clock:
        """Where the time of the driver's own work goes."""
        return self._driver.clock

    def profile(self) -> dict[str, dict[str, float]]:
        """Seconds of each kind of work (see `engine.clock.KINDS`), of each host and the driver."""
        return {name: totals(spans) for name, spans in self._spans().items()}

    def trace(self) -> dict[str, Any]:
        """The profile, span by span, for chrome://tracing; with notes on the cluster."""
        about = {"notes": self.hosting.notes, "ways": self._ways}
        return chrome_trace(self._spans()) | {"otherData": about}

    def _spans(self) -> dict[str, list[Span]]:
        driver = self._driver
        return {**driver.spans, "driver": driver.clock.spans} if driver.clock.on else {}

    def _check_open(self) -> None:
        if self.closed:
            raise ConfigError(
                "this simulation is closed; start another, or restore a checkpoint of it"
            )

    def _check_not_telling(self, what: str) -> None:
        """Refuse what a callback may not do to the simulation that tells it."""
        if self._telling:
            raise UserCodeError(
                f"round {self.round - 1}: a callback may not {what} the simulation that tells it; "
                "sim.fork() is another one to play with, and sim.stop() ends the run"
            )

    @abstractmethod
    def _ask(self, what: Callable[[Driver], Any]) -> Any:
        """Something of all clients as they are after the last round."""


def _said(ways: list[str]) -> list[str]:
    """What is to be said of them: those that there was a choice of, each kind once."""
    return list(dict.fromkeys(filter(None, ways)))
