"""Where a run, or a live simulation, stands: what comparisons and pages need to know of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from typing_extensions import TypeIs

from p2pqg.base.config import plain
from p2pqg.base.errors import ConfigError, P2pqgError, RunError
from p2pqg.base.records import OF_TESTS
from p2pqg.base.text import typed
from p2pqg.base.wording import counted, number, plain_text
from p2pqg.network import Network
from p2pqg.network.verbs import VERBS
from p2pqg.results.columns import measured
from p2pqg.results.comparison_text import COMPARED
from p2pqg.results.directory import being_written
from p2pqg.results.redrawn import drawn_otherwise
from p2pqg.results.run import Run, load
from p2pqg.results.schemas import CLIENT_COLUMNS, ROUND_COLUMNS
from p2pqg.topology import build as build_topology


class Live(Protocol):
    """A live simulation as readers see it; `p2pqg.simulation.simulation.Simulation` is one.

    Attributes:
        experiment: its parts; experiment.config is the resolved recipe.
        network: as it is now.
        round: rounds done; closed: whether it has ended; sim_seconds: of the simulated clock.
        history, clients: rows of rounds.parquet and clients.parquet.
        rows: the same as lists, cheap to look at.
        events: what was done to it: {"round", "sim_seconds", "what"} each.
    """

    experiment: Any
    network: Network
    closed: bool

    @property
    def round(self) -> int: ...

    @property
    def sim_seconds(self) -> float: ...

    @property
    def history(self) -> pd.DataFrame: ...

    @property
    def clients(self) -> pd.DataFrame: ...

    @property
    def rows(self) -> tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]]: ...

    @property
    def events(self) -> list[dict[str, Any]]: ...

    def present(self) -> tuple[dict[str, Any], list[dict[str, Any]]]: ...

    def summary(self) -> dict[str, Any]: ...


One = Live | Run | str | Path

NOT_BY_ITSELF = ("epsilon", "personal_")
"""How columns begin that may have a value where nothing else could be measured of the clients."""


def is_live(one: One) -> TypeIs[Live]:
    """Whether it is a Simulation, whose module would bring the engines."""
    return hasattr(one, "experiment")


def as_of_now(one: Live) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of rounds.parquet and clients.parquet, the last ones being those of this moment."""
    rounds, clients = one.history, one.clients
    if one.closed:
        return rounds, clients
    try:
        row, tested = one.present()
    except RunError:  # diverged: what is on record is all there is
        return rounds, clients

    def followed_by(frame: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
        before = frame[frame["round"] < row["round"]]
        now = pd.DataFrame(rows, columns=list(frame)).astype(frame.dtypes)
        return pd.concat([before, now], ignore_index=True) if len(before) else now

    return followed_by(rounds, [row]), followed_by(clients, tested)


@dataclass(frozen=True)
class Standing:
    """What is known of one run or simulation by now.

    Attributes:
        config: the resolved recipe; summary: what summary.json holds, {} before there is one.
        rounds, clients: rows of rounds.parquet and clients.parquet.
        run: where it is on disk; None: it is live.
        live_network: of a simulation, as it is; own_files: the user's, name -> content.
    """

    config: dict[str, Any]
    summary: dict[str, Any]
    rounds: pd.DataFrame
    clients: pd.DataFrame
    run: Run | None = None
    live_network: Network | None = None
    own_files: Mapping[str, bytes] | None = None

    def __post_init__(self) -> None:
        """What its files say is of one moment: a run may go on while it is compared."""
        if self.run is not None:
            _ = self.failure, self.finished

    @classmethod
    def of(cls, one: One) -> Standing:
        """Where a live simulation, a run, or the run of a directory stands."""
        if is_live(one):
            config = plain(one.experiment.config)
            files = one.experiment.own_files
            return cls(config, one.summary(), *as_of_now(one), None, one.network, files)
        if not isinstance(one, Run | str | Path):
            kind = type(one).__name__
            raise ConfigError(f"compare takes simulations, runs and their directories, got {kind}")
        run = one if isinstance(one, Run) else load(one)
        if run.failure is not None and not run.has_summary:  # before there was anything to record
            rounds, clients = (
                pd.DataFrame(columns=[*columns], dtype=float)
                for columns in (ROUND_COLUMNS, CLIENT_COLUMNS)
            )
            return cls(run.config, {}, rounds, clients, run)
        return cls(run.config, run.summary, run.rounds, run.clients, run)

    @property
    def is_live(self) -> bool:
        """A simulation that can go on, rather than a run on disk."""
        return self.run is None

    @property
    def path(self) -> Path:
        """The directory of a run on disk."""
        assert self.run is not None
        return self.run.path

    @cached_property
    def failure(self) -> str | None:
        """Why a run came to nothing."""
        return None if self.run is None else self.run.failure

    @cached_property
    def is_redrawn(self) -> bool:
        """By the name of its network this version builds another one, as far as is known."""
        name = str(self.config["topology"])
        return self.run is not None and drawn_otherwise(self.path, name)

    @cached_property
    def network(self) -> Network | None:
        """The network now; of a run on disk, at the start; None: it cannot be built."""
        if self.is_live:
            return self.live_network
        if self.is_redrawn:
            return None
        with suppress(P2pqgError):  # its file may be gone
            config = self.config
            return Network(build_topology(config["topology"], clients=config.get("clients")))
        return None

    @property
    def interventions(self) -> list[tuple[int, str]]:
        """What was done to it: (rounds done then, what). What came of it is left out."""
        return [(done, what) for done, what in self.events if what.split()[0].strip(":") in VERBS]

    @cached_property
    def evaluated(self) -> pd.DataFrame:
        """The rows with an evaluation, by round; `rounds` done then."""
        rows = self.rounds[self._is_tested]
        return rows.assign(rounds=rows["round"] + 1).set_index("round")

    @property
    def results(self) -> dict[str, float]:
        """What the table of a comparison tells of it; NaN: not measured."""
        more = measured(self.rounds)
        last = self.summary if self._is_summed_up else {**self.final, "rounds": self.rounds_done}
        found = {key: last.get(key) for key in COMPARED}
        found |= {key: last.get(key, self.final[key]) for key in more}
        for key in ("test_accuracy_min", "honest_test_accuracy"):  # no summary has them
            found[key] = self.final.get(key, np.nan)
        found["best_accuracy"] = self._best_accuracy(found["test_accuracy"])
        if self.is_live:  # who thinks between two cells lets the clock run
            found["wall_seconds"] = None
        return {key: np.nan if value is None else value for key, value in found.items()}

    def _best_accuracy(self, last: float | None) -> float:
        """The best of all evaluations; with samples held out, of the one that did best on them.

        For then nothing is chosen by what it is judged by.
        """
        rows = self.evaluated
        if "validation_accuracy" in rows and rows["validation_accuracy"].notna().any():
            return float(rows.loc[rows["validation_accuracy"].idxmax(), "test_accuracy"])
        return float(pd.Series([*rows["test_accuracy"], last], dtype=float).max())

    def reached(self, accuracy: float, seconds: str | None) -> dict[str, tuple[float, float]]:
        """When it came to that accuracy, by `crossing`: rounds, bytes and seconds; NaN: never."""
        columns = {"rounds": "rounds", "bytes": "bytes_sent", seconds: seconds}
        return {
            f"{what}_to_{plain_text(accuracy)}": crossing(self.evaluated, accuracy, key)
            for what, key in columns.items()
            if what and key
        }

    def part(self, key: str) -> str:
        """The name of its algorithm, dataset, model or partition."""
        part = self.config.get(key)
        return str(part.get("name")) if isinstance(part, dict) else str(part)

    @cached_property
    def recorded(self) -> int:
        """Rounds done at the last row."""
        return 0 if self.rounds.empty else int(self.rounds["round"].max()) + 1

    @property
    def rounds_done(self) -> int:
        """Rounds done by now."""
        return max(self.recorded, self.summary.get("rounds") or 0)

    @property
    def _is_summed_up(self) -> bool:
        """Whether the summary is of the end; else there is none, or it is of before a resume."""
        return bool(self.summary) and (self.summary.get("rounds") or 0) >= self.recorded

    @cached_property
    def final(self) -> dict[str, float]:
        """Every column at the end; of a run that did not come to it, the last value on record.

        NaN where there is none: a metric may be undefined at the end and not before.
        """
        has_ended = self.finished or self.is_live
        values = {key: self._last(key, has_ended) for key in self.rounds}
        if self._is_summed_up:
            told = {key: self.summary[key] for key in values if key in self.summary}
            values |= {key: value for key, value in told.items() if has_ended or value is not None}
        return {key: float("nan" if value is None else value) for key, value in values.items()}

    def _last(self, key: str, has_ended: bool) -> float:
        """The last value of a column; where a run has ended, that of its last row or evaluation."""
        column, tested = self.rounds[key], self._is_tested
        if has_ended:  # what is measured at evaluations alone has no value elsewhere
            at_tests = tested.any() and column[~tested].isna().all()
            column = column[tested].tail(1) if at_tests else column.tail(1)
        known = column.dropna()
        return known.iloc[-1] if len(known) else np.nan

    @cached_property
    def _is_tested(self) -> pd.Series:
        """Which rows have an evaluation."""
        own = [key for key in measured(self.rounds) if not key.startswith(NOT_BY_ITSELF)]
        return self.rounds[[*OF_TESTS, *own]].notna().any(axis=1)

    @property
    def evaluated_rounds(self) -> int:
        """Rounds done at the last evaluation; 0: there was none."""
        on_record = int(self.evaluated["rounds"].max()) if len(self.evaluated) else 0
        return max(on_record, self.summary.get("evaluated_rounds") or 0)

    @property
    def age(self) -> str:
        """When its numbers were measured, where they are older than its last round; else ""."""
        done, tested = self.rounds_done, self.evaluated_rounds
        told = [f"accuracies are after {counted(tested, 'round')}"] * (0 < tested < done)
        if 0 < self.recorded < done:
            clock = "sim_seconds" in self.final and np.isfinite(self.final["sim_seconds"])
            what = "consensus, bytes and simulated time" if clock else "consensus and bytes"
            told.append(f"{what} after {self.recorded:,}")
        return ", ".join(told)

    @cached_property
    def last_clients(self) -> pd.DataFrame:
        """The clients at the last evaluation."""
        told = self.clients.dropna(subset=[*OF_TESTS], how="all")
        return self.clients[self.clients["round"] == told["round"].max()]

    @property
    def age_of_clients(self) -> str:
        """When these were evaluated, where that was not after the last round; else ""."""
        tested = self.last_clients["round"].max() + 1  # NaN: never
        return f"after {counted(int(tested), 'round')}" if tested < self.rounds_done else ""

    @cached_property
    def spread(self) -> pd.DataFrame:
        """Lowest, mean and highest test accuracy of the clients, a row per evaluated round."""
        by_round = self.clients.dropna(subset="test_accuracy").groupby("round")["test_accuracy"]
        return by_round.agg(["min", "mean", "max"])

    @cached_property
    def finished(self) -> bool:
        """Whether a run on disk reached its last round."""
        return self.run is not None and bool(self.summary) and self.run.finished

    @property
    def _is_being_written(self) -> bool:
        """Whether somebody goes on with it now: when a run is killed, no file of it changes."""
        return self.run is not None and being_written(self.path)

    @property
    def ending(self) -> str:
        """How it ended, where that is not simply at its last round; else ""."""
        if self.is_live:
            return ""
        planned = self.config.get("rounds")
        length = counted(self.rounds_done, "round")
        of = f"{length} of {planned:,}" if planned else length
        if self.failure is not None:
            diverged = "non-finite" in self.failure
            return f"{'diverged' if diverged else 'failed'}: {self.failure}"
        if self._is_being_written:
            return f"still going: {of} so far"
        if self.finished:
            stopped = self.summary.get("stopped")
            return f"ended after {of}: {stopped}" if stopped else ""
        resumable = (self.path / "checkpoints").is_dir() and not self.unsaved
        more = f"; `p2pqg resume {typed(self.path)}` goes on" if resumable else ""
        ended = (
            f"stopped after {of}"
            if self._is_summed_up
            else f"broken off after {of}, no end on record"
        )
        return ended + more

    @property
    def unsaved(self) -> str:
        """What is left to resume where its last checkpoint could not be written; else ""."""
        told = str(self.summary.get("unsaved") or "")
        is_over = self._is_summed_up and not self._is_being_written
        return told if is_over else ""

    @cached_property
    def events(self) -> list[tuple[int, str]]:
        """What was done to it, and actors that died: (rounds done then, what happened)."""
        events = [
            (int(event["round"]), str(event["what"])) for event in self.summary.get("events") or []
        ]
        for line in self.summary.get("restarts") or []:
            told = re.fullmatch(r"round (\d+): (.*)", str(line), re.S)
            events.append((int(told[1]), told[2]) if told else (0, str(line)))
        return sorted(events, key=lambda event: event[0])  # a warning stays behind its cause

    @property
    def never_came(self) -> list[str]:
        """Items of its scenario that it ended before, a line each."""
        return list(map(str, self.summary.get("never_came") or []))

    @property
    def warning(self) -> str:
        """A line that says that its training loss grew instead of falling, or ""."""
        losses = self.rounds["train_loss"].dropna()
        if len(losses) < 2 or not losses.iloc[-1] > 10 * max(losses.iloc[0], 1e-3):
            return ""
        first, last = number(losses.iloc[0]), number(losses.iloc[-1])
        return f"diverging: its training loss grew from {first} to {last}"


def crossing(evaluated: pd.DataFrame, accuracy: float, column: str) -> tuple[float, float]:
    """Where a curve first comes to an accuracy: on the line between two evaluations.

    Args:
        evaluated: a row per evaluation, in order.
        accuracy: share of the test set.
        column: what is asked for, such as `rounds` or `bytes_sent`; it rises.

    Returns:
        Its value there, and half the distance of the two evaluations, which is how far the value
        is to be trusted. At the first evaluation already: its value, and half of it. NaN: never.
    """
    evaluated = evaluated.dropna(subset="test_accuracy")  # of a client that diverged, and left
    there = np.flatnonzero(evaluated["test_accuracy"].to_numpy() >= accuracy)
    if column not in evaluated or not len(there):
        return np.nan, np.nan
    last = int(there[0])
    high, at = evaluated["test_accuracy"].iloc[last], float(evaluated[column].iloc[last])
    if last == 0:
        return at, at / 2
    low, before = evaluated["test_accuracy"].iloc[last - 1], float(evaluated[column].iloc[last - 1])
    return before + (accuracy - low) / (high - low) * (at - before), (at - before) / 2
