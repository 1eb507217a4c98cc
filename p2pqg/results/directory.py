"""The directory of a run, as it is written while the run goes on.

Files are rewritten whole under a temporary name and renamed, so that a killed run leaves
readable ones.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from p2pqg.base import yaml_text
from p2pqg.base.errors import ConfigError, P2pqgError, StorageError
from p2pqg.base.text import NO_ROOM, json_text, user_path, write_bytes, write_text
from p2pqg.recipe.own_files import FOLDER
from p2pqg.results.checkpoint import CHECKPOINTS, newest
from p2pqg.results.parquet import load_writer, write_columns, write_parquet
from p2pqg.results.schemas import CLIENT_COLUMNS, LINK_COLUMNS, ROUND_COLUMNS

try:
    import fcntl
except ImportError:  # Windows: no locks
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:  # reading needs pandas, writing does not: a run starts sooner without it
    import pandas as pd

SECONDS_BETWEEN_WRITES = 2.0
SHARE_OF_WRITES = 0.05
"""Share of the time, about: files that have become long are written less often."""
MOST_SECONDS_BETWEEN = 300.0
"""But so often, also where a disk was once slow: people look at runs while they go on."""
LOCK = ".lock"
FAILED = "failed.json"
SEEDS = "seeds.json"
"""The file of a directory that holds a run for each of several seeds, see `p2pqg.results.seeds`."""


def _not_writable(out: Path, error: OSError) -> P2pqgError:
    if error.errno in NO_ROOM:  # no setting is to blame, and no run of a sweep
        return StorageError(f"{out}: cannot be written ({error.strerror}); make room, start again")
    # A file, or a link to nothing; that a folder exists is no error.
    why = "it is none" if isinstance(error, FileExistsError) else error.strerror
    return ConfigError(
        f"out must be a folder that can be written, got {str(out)!r} ({why}); set --out"
    )


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
            with directory.told_if_not_writable():
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
        self._written = self._rest = 0.0
        self._lock: IO[str] | None = None
        self._own_files: Mapping[str, bytes] = {}
        self._config = ""
        with self.told_if_not_writable():  # a name may be too long even to be looked for
            self._made = [folder for folder in (path, *path.parents) if not folder.exists()]

    def _open(self) -> None:
        with self.told_if_not_writable():
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / ".probe").touch()
            (self.path / ".probe").unlink()

    @contextmanager
    def told_if_not_writable(self) -> Iterator[None]:
        """Inside, something is written here; ConfigError where that fails, or StorageError."""
        try:
            yield
        except OSError as error:
            self.discard()
            there = os.path.exists(self.path)
            raise _not_writable(self.path if there else self.path.parent, error) from None

    def _check_it_is_free(self) -> None:
        if self.holds_a_run:
            raise ConfigError(f"{self.path} already holds a run; choose another --name or --out")

    @property
    def holds_a_run(self) -> bool:
        """Whether there is something to go on from, be it without its recipe, or of seeds."""
        checkpoint = next(newest(self.path / CHECKPOINTS), None)
        return bool(checkpoint) or (self.path / "config.yaml").exists() or any_begun(self.path)

    def reserve(self) -> None:
        """Nobody else may write here while this process lives.

        Raises:
            ConfigError: another process does, or has just done so.
        """
        if fcntl is None or self._lock is not None:
            return
        for attempt in itertools.count():
            with self.told_if_not_writable():
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
            lock, self._lock = self._lock, None
            with suppress(OSError):
                (self.path / LOCK).unlink()
            with suppress(OSError):
                lock.close()

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
        """The recipe of what begins now; that it failed, or was to be of seeds, is past."""
        self._config = yaml_text.dump(config)
        for past in (FAILED, SEEDS):
            (self.path / past).unlink(missing_ok=True)
        write_text(self.path / "config.yaml", self._config)

    def _make_again(self) -> None:
        """Somebody has deleted the directory while the run goes on; all that it held is known."""
        if self._config and not (self.path / "config.yaml").exists():
            self.path.mkdir(parents=True, exist_ok=True)
            self.write_own_files(self._own_files)
            write_text(self.path / "config.yaml", self._config)

    @property
    def is_due(self) -> bool:
        """Whether `write_rows` would write now."""
        rest = min(max(SECONDS_BETWEEN_WRITES, self._rest), MOST_SECONDS_BETWEEN)
        return time.monotonic() - self._written > rest

    def write_rows(
        self,
        rounds: Sequence[dict[str, Any]],
        clients: Sequence[dict[str, Any]],
        *,
        now: bool = False,
        columns: dict[str, str] = ROUND_COLUMNS,
        of_clients: dict[str, str] = CLIENT_COLUMNS,
    ) -> bool:
        """Bring the Parquet files up to date, at most every few seconds unless `now`.

        All of a file is written anew, so of long ones the more seldom.

        Returns:
            Whether they were written.
        """
        is_due = now or self.is_due
        if is_due:
            self._make_again()
            load_writer()
            began = time.monotonic()
            write_parquet(self.path / "rounds.parquet", rounds, columns)
            write_parquet(self.path / "clients.parquet", clients, of_clients)
            self._written = time.monotonic()
            self._rest = (self._written - began) / SHARE_OF_WRITES
        return is_due

    def write_table(self, name: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
        write_parquet(self.path / f"{name}.parquet", rows, columns)

    def write_links(self, links: pd.DataFrame) -> None:
        """What went over each link; there may be a million of them."""
        began = time.monotonic()
        arrays = {name: links[name].to_numpy() for name in links}
        write_columns(self.path / "links.parquet", arrays, LINK_COLUMNS)
        self._rest += (time.monotonic() - began) / SHARE_OF_WRITES

    def write_summary(self, summary: dict[str, Any]) -> None:
        self.write_json("summary.json", summary)

    def write_failure(self, message: str) -> None:
        """Say why the run came to nothing."""
        with suppress(OSError):
            self.write_json(FAILED, {"message": message})

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        write_text(self.path / name, json_text(content) + "\n")


COPIES = ("runtime_resources", "working_dir_files")
"""Folders of Ray's in which a job finds the working directory that it was submitted with."""


def does_not_stay(path: Path) -> Iterator[str]:
    """A line if the directory lies where somebody else will clear it away."""
    parents = path.absolute().parts
    if COPIES in zip(parents, parents[1:], strict=False):
        yield (
            "the results lie in Ray's copy of the job's working directory, which Ray deletes; set "
            "--out to a folder of your own"
        )


def any_begun(path: Path) -> bool:
    """Whether a directory of seeds holds anything to go on from, or to repeat.

    One that was killed while the first seed started has its seeds.json, and nothing else.
    """
    return any(path.glob("seed*/config.yaml"))


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
