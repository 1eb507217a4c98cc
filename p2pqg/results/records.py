"""Column schemas of a run's results; the directory that holds them; and reading it again.

Files are rewritten whole under a temporary name and renamed, so that a killed run leaves
readable ones.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from p2pqg.base import yaml_text
from p2pqg.base.errors import ConfigError
from p2pqg.base.text import json_text, read_json, user_path, write_bytes, write_text
from p2pqg.recipe.own_files import FOLDER
from p2pqg.results.parquet import write_columns, write_parquet

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:  # reading needs pandas, writing does not: a run starts sooner without it
    import pandas as pd
    from torch import nn

ROUND_COLUMNS = {
    "round": "int64",
    "epoch": "float64",
    "gradients": "int64",
    "lr": "float64",
    "train_loss": "float64",
    "consensus_distance": "float64",
    "bytes_sent": "int64",
    "wall_seconds": "float64",
    "test_accuracy": "float64",
    "test_accuracy_std": "float64",
    "test_accuracy_min": "float64",
    "averaged_model_accuracy": "float64",
    "test_loss": "float64",
}
"""rounds.parquet: one row per recorded round; null where not measured. train_loss is the mean over
clients and over the rounds since the row before; bytes_sent counts all clients from the start,
gradients those of each client."""

CONTROL_COLUMNS = {"exchanges": "int64"}
"""More of rounds.parquet where consensus control repeats exchanges: their number from the start."""

NETWORK_COLUMNS = {"present": "int64", "components": "int64", "mean_drift": "float64"}
"""More where things happen to the network: clients in it, parts it is in, and how far imperfect
mixing has moved the mean model since the start (a distance)."""

RULE_COLUMNS = {"mean_drift": "float64"}
"""The one of these that also tells of rules of gossip, which do not keep the mean."""

LIAR_COLUMNS = {
    "liars": "int64",
    "honest_consensus_distance": "float64",
    "honest_test_accuracy": "float64",
    "honest_test_accuracy_min": "float64",
    "honest_test_loss": "float64",
}
"""More where clients lie: how many did in the round, and metrics of the others alone."""

TIMING_COLUMNS = {"sim_seconds": "float64"}
"""More where links have a speed: the simulated clock when the round was done."""

STALENESS_COLUMNS = {
    f"staleness{unit}_{what}": "float64"
    for unit in ("", "_seconds")
    for what in ("mean", "95", "max")
}
"""More where clients do not wait: how old the news was that they used."""

ALL_ROUND_COLUMNS = {
    **ROUND_COLUMNS,
    **CONTROL_COLUMNS,
    **NETWORK_COLUMNS,
    **LIAR_COLUMNS,
    **TIMING_COLUMNS,
    **STALENESS_COLUMNS,
}

LINK_COLUMNS = {"sender": "int64", "receiver": "int64", "bytes": "float64", "messages": "int64"}
"""links.parquet, where links have a speed: what went over each directed link."""

CHANGE_COLUMNS = {"round": "int64", "what": "int64", "a": "int64", "b": "int64"}
"""changes.parquet: what became of the network, see `p2pqg.results.changes`."""

CLIENT_COLUMNS = {
    "round": "int64",
    "client": "int64",
    "test_accuracy": "float64",
    "test_loss": "float64",
    "num_samples": "int64",
    "distance_to_mean": "float64",
}
"""clients.parquet: one row per evaluation and client. distance_to_mean is ||x_i - mean x||."""

STEPS_COLUMNS = {"steps": "int64"}
"""More of it where clients do not wait: steps that each has made."""

MEANING = {
    "round": "communication rounds count from 0; the row is of the end of that round",
    "epoch": "passes over a mean-sized shard so far",
    "gradients": "that each client has computed so far",
    "lr": "step size of the round",
    "train_loss": "mean over the clients and over the rounds since the row before",
    "consensus_distance": "mean_i ||x_i - mean x||^2",
    "bytes_sent": "by all clients together since the start",
    "wall_seconds": "since the command began",
    "test_accuracy": "share of the full test set that a client's own model has right; in rounds: "
    "the mean over the clients",
    "test_accuracy_std": "its standard deviation over the clients",
    "test_accuracy_min": "the worst client's",
    "averaged_model_accuracy": "that of the mean of all models",
    "test_loss": "mean cross entropy on the test set; in rounds: the mean over the clients",
    "exchanges": "times that rows were mixed since the start (consensus control repeats exchanges)",
    "present": "clients in the network",
    "components": "parts that the network is in",
    "mean_drift": "how far imperfect mixing has moved the mean model since the start, a distance",
    "sim_seconds": "the simulated clock when the round was done",
    "staleness_mean": "where clients do not wait: how old the news was that they used since the "
    "row before; of a gradient, how often its client's model had changed since it was read; of a "
    "message, how many steps its sender had made since",
    "staleness_95": "its 95th percentile",
    "staleness_max": "its maximum",
    "staleness_seconds_mean": "the same in seconds of the simulated clock",
    "staleness_seconds_95": "its 95th percentile",
    "staleness_seconds_max": "its maximum",
    "steps": "that the client has made, where clients do not wait",
    "liars": "clients that lied in the round",
    "honest_consensus_distance": "that of the clients that did not, to the mean of these",
    "honest_test_accuracy": "mean over the clients that did not lie in the round",
    "honest_test_accuracy_min": "the worst of these",
    "honest_test_loss": "mean over these",
    "lied": "whether the client lied in the round",
    "client": "its number, from 0",
    "num_samples": "training samples of the client",
    "distance_to_mean": "||x_i - mean x||",
    "sender": "number of the client that sent",
    "receiver": "number of the client that received",
    "bytes": "that went over the link since the start",
    "messages": "likewise",
    "what": "0 link cut, 1 link mended, 2 client left, 3 client back, 4 new link, 5 link no more, "
    "6 client joined; `round` rounds were done",
    "a": "the client, or the link's sender",
    "b": "the link's receiver; -1: it was no link",
}
"""What is in the columns of our files."""

FILES = {
    "config.yaml": "the recipe, every default filled in; `p2pqg run config.yaml` repeats the run",
    "rounds.parquet": "one row per recorded round",
    "clients.parquet": "one row per evaluation and client",
    "links.parquet": "where links have a speed: what went over each",
    "changes.parquet": "where the network changed: what, and after which round",
    "summary.json": "what the run came to; `evaluated_rounds` and `recorded_rounds` say of when",
    "failed.json": "only of a run that came to nothing: why",
    "checkpoints/": "the last two; `p2pqg resume` goes on from there",
    "files/": "the user's own files that the recipe names, as they were",
    "profile.json, trace.json": "with --profile: where the time went",
}
"""What is in a run's directory."""

SECONDS_BETWEEN_WRITES = 2.0
LOCK = ".lock"
FAILED = "failed.json"
SEEDS = "seeds.json"
"""Of a directory that holds a run for each of several seeds, see `p2pqg.results.seeds`."""


class RunDirectory:
    """runs/out/<run id>/: config.yaml, *.parquet, summary.json, checkpoints, the user's own files.

    A context manager: what is inside has it to itself, see `reserve`.
    """

    def __init__(self, out: str, name: str) -> None:
        """Make the directory.

        Raises:
            ConfigError: it cannot be made or written, or already holds a run.
        """
        self._begin(user_path(out) / name, is_new=True)
        self._check_it_is_free()
        self._open()

    @classmethod
    def fresh(cls, out: str, stem: str) -> RunDirectory:
        """One that no other run has: its name is stem, date and time, and a number if needed.

        Raises:
            ConfigError: it cannot be made or written.
        """
        base = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
        for count in itertools.count(1):
            directory = cls.__new__(cls)
            path = user_path(out) / (base if count == 1 else f"{base}-{count}")
            directory._begin(path, is_new=True)
            with directory._told_if_not_writable():
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    path.mkdir()
                except FileExistsError:
                    continue
            directory._open()
            return directory
        raise AssertionError  # numbers do not end

    @classmethod
    def reopen(cls, path: Path) -> RunDirectory:
        """The directory of a run that goes on."""
        directory = cls.__new__(cls)
        directory._begin(path, is_new=False)
        directory._open()
        return directory

    def _begin(self, path: Path, is_new: bool) -> None:
        self.path, self._is_new = path, is_new
        self._made: list[Path] = []
        self._written = 0.0
        self._lock: IO[str] | None = None
        self._own_files: Mapping[str, bytes] = {}
        self._config = ""
        with self._told_if_not_writable():  # a name may be too long even to be looked for
            self._made = [folder for folder in (path, *path.parents) if not folder.exists()]

    def _open(self) -> None:
        with self._told_if_not_writable():
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / ".probe").touch()
            (self.path / ".probe").unlink()

    @contextmanager
    def _told_if_not_writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.discard()
            raise ConfigError(
                f"out must be a folder that can be written, got {str(self.path.parent)!r} "
                f"({error.strerror}); set --out"
            ) from None

    def _check_it_is_free(self) -> None:
        if any((self.path / name).exists() for name in ("config.yaml", SEEDS)):
            raise ConfigError(f"{self.path} already holds a run; choose another --name or --out")

    def reserve(self) -> None:
        """Nobody else may write here while this process lives.

        Raises:
            ConfigError: another process does, or has just done so.
        """
        if fcntl is None or self._lock is not None:
            return
        for attempt in itertools.count():
            with self._told_if_not_writable():
                file = (self.path / LOCK).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                if attempt < 3:  # perhaps somebody only looks whether it is being written
                    time.sleep(0.02)
                    continue
                raise ConfigError(
                    f"{self.path} is being written by another process; wait for it, or stop it"
                ) from None
            except OSError:  # a file system that knows no locks
                break
            with suppress(OSError):
                if os.path.samestat(os.fstat(file.fileno()), (self.path / LOCK).stat()):
                    break
            file.close()  # who had it has just taken it away
        self._lock = file
        if self._is_new:
            try:
                self._check_it_is_free()
            except ConfigError:
                self.__exit__()
                raise

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            with suppress(OSError):
                (self.path / LOCK).unlink()
            self._lock.close()
            self._lock = None

    def discard(self) -> None:
        """Take away what was made, as far as nothing is in it."""
        self.__exit__()
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()

    def write_own_files(self, files: Mapping[str, bytes]) -> None:
        """The user's own files that the recipe names: name -> content, see `own_files.py`."""
        self._own_files = files
        for name, content in files.items():
            (self.path / FOLDER).mkdir(exist_ok=True)
            write_bytes(self.path / FOLDER / name, content)

    def write_config(self, config: dict[str, Any]) -> None:
        """The recipe of what begins now; that it failed before is past."""
        self._config = yaml_text.dump(config)
        (self.path / FAILED).unlink(missing_ok=True)
        write_text(self.path / "config.yaml", self._config)

    def _make_again(self) -> None:
        """Somebody has deleted the directory while the run goes on; all that it held is known."""
        if self._config and not (self.path / "config.yaml").exists():
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_own_files(self._own_files)
            write_text(self.path / "config.yaml", self._config)

    def write_rows(
        self,
        rounds: list[dict[str, Any]],
        clients: list[dict[str, Any]],
        *,
        now: bool = False,
        columns: dict[str, str] = ROUND_COLUMNS,
        of_clients: dict[str, str] = CLIENT_COLUMNS,
    ) -> bool:
        """Bring the Parquet files up to date, at most every few seconds unless `now`.

        Returns:
            Whether they were written.
        """
        is_due = now or time.monotonic() - self._written > SECONDS_BETWEEN_WRITES
        if is_due:
            self._make_again()
            write_parquet(self.path / "rounds.parquet", rounds, columns)
            write_parquet(self.path / "clients.parquet", clients, of_clients)
            self._written = time.monotonic()
        return is_due

    def write_table(self, name: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
        write_parquet(self.path / f"{name}.parquet", rows, columns)

    def write_links(self, links: pd.DataFrame) -> None:
        """What went over each link; there may be a million of them."""
        arrays = {name: links[name].to_numpy() for name in links}
        write_columns(self.path / "links.parquet", arrays, LINK_COLUMNS)

    def write_summary(self, summary: dict[str, Any]) -> None:
        self.write_json("summary.json", summary)

    def write_failure(self, message: str) -> None:
        """Say why the run came to nothing."""
        with suppress(OSError):
            self.write_json(FAILED, {"message": message})

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        write_text(self.path / name, json_text(content) + "\n")


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


@contextmanager
def _readable(file: Path) -> Iterator[Path]:
    """Inside, a file of a run is read; ConfigError where it is there and cannot be."""
    try:
        yield file
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors, and NotYaml
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ConfigError(f"{file}: cannot be read ({reason})") from None


@dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes:
        path: its directory.
    """

    path: Path

    @cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        with _readable(self.path / "summary.json") as file:
            return read_json(file)

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml: the resolved recipe."""
        with _readable(self.path / "config.yaml") as file:
            return yaml_text.parse(file.read_text(encoding="utf-8"))

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """rounds.parquet: one row per recorded round."""
        import pandas as pd

        with _readable(self.path / "rounds.parquet") as file:
            return pd.read_parquet(file)

    @cached_property
    def clients(self) -> pd.DataFrame:
        """clients.parquet: one row per evaluation and client."""
        import pandas as pd

        with _readable(self.path / "clients.parquet") as file:
            return pd.read_parquet(file)

    @cached_property
    def profile(self) -> dict[str, dict[str, float]]:
        """profile.json: seconds of each kind of work, of each host and the driver; {} without."""
        path = self.path / "profile.json"
        return read_json(path) if path.exists() else {}

    def model(self, client: Any) -> nn.Module:
        """A client's model, or the averaged one, of the last checkpoint: to be evaluated.

        Args:
            client: its number or name; or "averaged": the mean over all that are present.

        Returns:
            The module with its parameters and buffers, on the CPU, in the run's precision.

        Raises:
            ConfigError: no such client; or the run kept no checkpoint, or not the model's code.
        """
        from p2pqg.results.models import Kept  # brings torch

        return Kept.of(self.path).module(client)

    def save_models(self, out: str | Path) -> Path:
        """Write all models of the last checkpoint as safetensors, and how they are loaded.

        Args:
            out: a folder that is new or empty. It gets client-0.safetensors and so on,
                averaged.safetensors, load.py, which does without p2pqg where the model is the
                user's own, and that one's code.

        Returns:
            The folder.

        Raises:
            ConfigError: as of `model`; or the folder has something in it, or cannot be written.
        """
        from p2pqg.results.models import Kept  # brings torch

        return Kept.of(self.path).save(user_path(out))

    @property
    def has_summary(self) -> bool:
        """Whether there are results to be shown, be it finished, stopped or diverged."""
        return (self.path / "summary.json").exists()

    @cached_property
    def failure(self) -> str | None:
        """Why a run came to nothing (its failed.json), or None."""
        path = self.path / FAILED
        return read_json(path)["message"] if path.exists() else None

    @cached_property
    def finished(self) -> bool:
        """Whether the run reached its last round, or ended itself; broken off ones did not."""
        if self.failure is not None or not (self.path / "summary.json").exists():
            return False
        if self.summary.get("stopped"):
            return True
        if (end := self.config.get("time")) is not None:
            from p2pqg.network.units import seconds  # brings what a help text does without

            return self.summary["sim_seconds"] >= seconds(end, "time")
        if (steps := self.config.get("steps")) is not None:
            return self.summary["least_steps"] >= steps
        if self.config["epochs"] is None:
            return self.summary["rounds"] >= self.config["rounds"]
        epochs = self.rounds["epoch"]
        return bool((epochs >= self.config["epochs"] * (1 - 1e-9)).any())


def load(path: str | Path) -> Run:
    """The run in a directory.

    Raises:
        ConfigError: there is none, or it has no summary yet.
    """
    path = user_path(path)
    if not (path / "summary.json").exists():
        more = f"; `p2pqg resume {path}` goes on with it" if (path / "checkpoints").exists() else ""
        raise ConfigError(f"{path}: no finished run here (summary.json is missing){more}")
    return Run(path)
