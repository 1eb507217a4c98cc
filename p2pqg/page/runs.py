"""Runs on disk -> what a page needs of them: rows, final numbers, how they ended, their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from p2pqg.base.errors import ConfigError
from p2pqg.base.wording import counted, number, plain_text
from p2pqg.results import report
from p2pqg.results.comparison_text import setting
from p2pqg.results.records import CLIENT_COLUMNS, LOCK, ROUND_COLUMNS, TIMING_COLUMNS, Run
from p2pqg.results.report import find_runs, settings_of

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]

MOST_RUNS = 21
"""Seven colors in three kinds of line; more could not be told apart."""
LONGEST_LABEL = 36
FILES = {
    "config": "config.yaml",
    "summary": "summary.json",
    "rounds": "rounds.parquet",
    "clients": "clients.parquet",
    "failure": "failed.json",
}
"""What `Run` calls them, and where they are."""
LENGTHS = ("bytes_sent", "wall_seconds", "sim_seconds")
"""What a curve may run against, besides rounds; sim_seconds only where a clock was simulated."""


@dataclass(frozen=True)
class Shown:
    """One run on the page.

    Attributes:
        run: on disk.
        config: its config.yaml.
        summary: its summary.json; {} while it is still going.
        rounds: rows of rounds.parquet, NaN where a column is missing; maybe none.
        clients: rows of clients.parquet, likewise.
    """

    run: Run
    config: dict[str, Any]
    summary: dict[str, Any]
    rounds: pd.DataFrame
    clients: pd.DataFrame

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
        return max(self.recorded, self.summary.get("rounds") or 0)

    @cached_property
    def final(self) -> dict[str, float]:
        """The last value on record of every column; NaN without one."""
        known = {key: self.rounds[key].dropna() for key in self.rounds}
        values = {key: found.iloc[-1] for key, found in known.items() if len(found)}
        if (self.summary.get("rounds") or 0) >= self.recorded:  # else it is of before a resume
            values |= {k: self.summary[k] for k in known if self.summary.get(k) is not None}
        return {key: float(values.get(key, "nan")) for key in known}

    @cached_property
    def last_clients(self) -> pd.DataFrame:
        """The clients at the last evaluation."""
        return self.clients[self.clients["round"] == self.clients["round"].max()]

    @cached_property
    def spread(self) -> pd.DataFrame:
        """Lowest, mean and highest test accuracy of the clients, a row per evaluated round."""
        by_round = self.clients.dropna(subset="test_accuracy").groupby("round")["test_accuracy"]
        return by_round.agg(["min", "mean", "max"])

    @cached_property
    def finished(self) -> bool:
        return bool(self.summary) and self.run.finished

    @property
    def ending(self) -> str:
        """How it ended, where that is not simply at its last round; else ""."""
        planned = self.config.get("rounds")
        length = counted(self.rounds_done, "round")
        of = f"{length} of {planned:,}" if planned else length
        if self.run.failure is not None:
            diverged = "non-finite" in self.run.failure
            return f"{'diverged' if diverged else 'failed'}: {self.run.failure}"
        if being_written(self.run.path):
            return f"still going: {of} so far"
        if self.finished:
            return ""
        resumable = (self.run.path / "checkpoints").is_dir()
        more = f"; `p2pqg resume {self.run.path}` goes on" if resumable else ""
        ended = (
            f"stopped after {of}" if self.summary else f"broken off after {of}, no end on record"
        )
        return ended + more

    @cached_property
    def events(self) -> list[tuple[int, str]]:
        """What was done to it, and actors that died: (rounds done then, what happened)."""
        events = [
            (int(event["round"]), str(event["what"])) for event in self.summary.get("events") or []
        ]
        for line in self.summary.get("restarts") or []:
            told = re.fullmatch(r"round (\d+): (.*)", str(line), re.S)
            events.append((int(told[1]), told[2]) if told else (0, str(line)))
        return sorted(events)

    @property
    def warning(self) -> str:
        """That its training loss grew instead of falling, or ""."""
        losses = self.rounds["train_loss"].dropna()
        if len(losses) < 2 or not losses.iloc[-1] > 10 * max(losses.iloc[0], 1e-3):
            return ""
        first, last = number(losses.iloc[0]), number(losses.iloc[-1])
        return f"diverging: its training loss grew from {first} to {last}"


def being_written(path: Path) -> bool:
    """Whether a living process has the run directory to itself."""
    if fcntl is None or not (path / LOCK).exists():
        return False
    try:
        with (path / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # gone by now, or a file system that knows no locks
        pass
    return False


def gather(paths: Iterable[str | Path]) -> list[Shown]:
    """Every run in or below the directories, in the order in which they are named.

    Raises:
        ConfigError: no run there, too many, a file that cannot be read, or nothing recorded.
    """
    found: dict[Path, Run] = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise ConfigError(f"{path}: no such run directory")
        going = [
            file.parent
            for file in sorted(path.rglob("config.yaml"))
            if not any((file.parent / name).exists() for name in ("summary.json", "failed.json"))
        ]
        try:
            runs = find_runs([path])
        except ConfigError:
            if not going:
                raise
            runs = []
        for run in [*runs, *map(Run, going)]:
            found.setdefault(run.path.resolve(), run)
    if len(found) > MOST_RUNS:
        raise ConfigError(
            f"a page shows at most {MOST_RUNS} runs, got {len(found)}; name those to compare, or "
            "see `p2pqg table` for the mean over seeds"
        )
    shown = [_read(run) for run in found.values()]
    if all(one.rounds.empty for one in shown):
        where = ", ".join(str(one.run.path) for one in shown)
        reason = next((f" ({one.run.failure})" for one in shown if one.run.failure), "")
        raise ConfigError(f"{where}: nothing was recorded{reason}")
    return shown


def _read(run: Run) -> Shown:
    _content(run, "failure")
    config = _mapping(run, "config")
    lacking = [key for key in ("topology", "clients", "algorithm") if not config.get(key)]
    if lacking:
        raise ConfigError(f"{run.path}/config.yaml is not that of a run: {lacking[0]} is missing")
    return Shown(
        run,
        config,
        _mapping(run, "summary"),
        _frame(run, "rounds", [*ROUND_COLUMNS, *TIMING_COLUMNS]),
        _frame(run, "clients", list(CLIENT_COLUMNS)),
    )


def _content(run: Run, name: str) -> Any:
    """What is in a file of the run; None where it is not there yet."""
    file = run.path / FILES[name]
    try:
        return getattr(run, name) if file.exists() else None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors, and NotYaml
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ConfigError(f"{file}: cannot be read ({reason})") from None


def _mapping(run: Run, name: str) -> dict[str, Any]:
    content = _content(run, name)
    if not isinstance(content, dict | None):
        raise ConfigError(f"{run.path / FILES[name]}: must be a mapping of keys to values")
    return content or {}


def _frame(run: Run, name: str, columns: list[str]) -> pd.DataFrame:
    """Rows with all the columns, as numbers; NaN where there is none, or no finite one."""
    frame = _content(run, name)
    if frame is None or frame.empty:
        return pd.DataFrame(columns=columns, dtype=float)
    try:
        frame = frame.reindex(columns=columns).astype(float)
    except (ValueError, TypeError):
        raise ConfigError(f"{run.path / FILES[name]}: its columns must be numbers") from None
    if frame["round"].isna().any():
        raise ConfigError(f"{run.path / FILES[name]}: the column round is missing or has gaps")
    return frame.where(frame.abs() != float("inf"))


def differing(shown: Sequence[Shown]) -> pd.DataFrame:
    """The settings in which runs differ, as texts: a row per run, a column per setting."""
    settings = settings_of(one.run for one in shown)
    return settings[report.differing(settings)].map(plain_text)


def labels(shown: Sequence[Shown]) -> list[str]:
    """A short name for every run: what sets it apart; its directory's name where nothing does."""
    if len(shown) == 1:
        return [shown[0].part("algorithm")]
    settings = differing(shown)
    names = []
    for one, row in zip(shown, settings.to_dict("records"), strict=True):
        texts = [setting(key, value) for key, value in row.items() if value != "-"]
        name = ", ".join(texts)
        names.append(name if texts and len(name) <= LONGEST_LABEL else one.run.path.name)
    return [
        name if names.count(name) == 1 else f"{name} ({one.run.path.name})"
        for one, name in zip(shown, names, strict=True)
    ]
