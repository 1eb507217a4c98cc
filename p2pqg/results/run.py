"""A run on disk, read again: its results, its recipe, its models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.base import yaml_text
from p2pqg.base.errors import ConfigError
from p2pqg.base.text import read_json, typed, user_path
from p2pqg.base.wording import counted, percent
from p2pqg.results.directory import FAILED

if TYPE_CHECKING:  # what only writes a run needs none of them: it starts sooner
    import pandas as pd
    from torch import nn


@contextmanager
def readable(file: Path) -> Iterator[Path]:
    """Inside, a file of a run is read; ConfigError where it cannot be."""
    try:
        yield file
    except FileNotFoundError:
        raise ConfigError(f"{file} is missing") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors, and NotYaml
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ConfigError(f"{file}: cannot be read ({reason})") from None


def mapping(file: Path, read: Callable[[Path], Any] = read_json) -> dict[str, Any]:
    """What a file of a run says.

    Raises:
        ConfigError: it is not there, it cannot be read, or is no mapping.
    """
    with readable(file):
        content = read(file)
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must be a mapping of keys to values")
    return content


def _recipe(file: Path) -> Any:
    return yaml_text.parse_own(file.read_text(encoding="utf-8"))


def _table(file: Path) -> pd.DataFrame:
    import pandas as pd

    with readable(file):
        return pd.read_parquet(file)


def _stamp(file: Path) -> tuple[int, ...] | None:
    """What is another one when a file is written anew; None: it is not there."""
    with suppress(OSError):
        found = file.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None


@dataclass(frozen=True)
class Run:
    """A run on disk, as it is now: a file that was written anew, by a resume, is read anew.

    Attributes:
        path: its directory.
    """

    path: Path

    def __repr__(self) -> str:
        told = []
        with suppress(ConfigError, OSError, KeyError, TypeError):  # not begun, or damaged
            told.append(f"{self.config['algorithm']['name']} on {self.config['topology']}")
            told.append(counted(self.summary["rounds"], "round"))
            if (accuracy := self.summary.get("test_accuracy")) is not None:
                told.append(f"test accuracy {percent(accuracy, 2)}")
        return f"<Run {self.path}: {', '.join(told) or 'nothing to be read'}>"

    def _content(self, name: str, read: Callable[[Path], Any]) -> Any:
        """What is in a file, which is read once as long as it stays the same."""
        return self._known(name, [name], lambda: read(self.path / name))

    def _known(self, what: str, files: list[str], find: Callable[[], Any]) -> Any:
        """What is found once as long as these files stay the same."""
        known: dict[str, Any] = self.__dict__.setdefault("_found", {})
        stamps = [_stamp(self.path / name) for name in files]
        # Taken before anything is read: what is written meanwhile is read next time.
        if what not in known or known[what][0] != stamps:
            known[what] = stamps, find()
        return known[what][1]

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        found: dict[str, Any] = self._content("summary.json", mapping)
        return found

    @property
    def config(self) -> dict[str, Any]:
        """config.yaml: the resolved recipe."""
        found: dict[str, Any] = self._content("config.yaml", partial(mapping, read=_recipe))
        return found

    @property
    def rounds(self) -> pd.DataFrame:
        """rounds.parquet: one row per recorded round."""
        return self._content("rounds.parquet", _table)

    @property
    def clients(self) -> pd.DataFrame:
        """clients.parquet: one row per evaluation and client."""
        return self._content("clients.parquet", _table)

    @property
    def profile(self) -> dict[str, dict[str, float]]:
        """profile.json: seconds of each kind of work, of each host and the driver; {} without."""
        known = "profile.json"
        return self._content(known, read_json) if (self.path / known).exists() else {}

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
        from p2pqg.results.model_files import ModelFiles  # brings torch
        from p2pqg.results.models import Kept

        return ModelFiles(Kept.of(self.path)).save(user_path(out))

    @property
    def has_summary(self) -> bool:
        """Whether there are results to be shown, be it finished, stopped or diverged."""
        return (self.path / "summary.json").exists()

    @property
    def is_known(self) -> bool:
        """Whether it has results, or a reason on record why a run of its settings has none."""
        failed = self.failure is not None and (self.path / "config.yaml").exists()
        return self.has_summary or failed

    @property
    def failure(self) -> str | None:
        """Why a run came to nothing (its failed.json), or None."""
        if not (self.path / FAILED).exists():
            return None
        return str(self._content(FAILED, mapping).get("message"))

    @property
    def finished(self) -> bool:
        """Whether the run reached its last round, or ended itself; broken off ones did not."""
        files = [FAILED, "summary.json", "config.yaml", "rounds.parquet"]
        found: bool = self._known("finished", files, self._has_finished)
        return found

    def _has_finished(self) -> bool:
        if self.failure is not None or not (self.path / "summary.json").exists():
            return False
        if not (self.path / "config.yaml").exists():  # who cleared it away was killed
            return False
        if self.summary.get("stopped"):
            return True
        if (end := self.config.get("time")) is not None:
            from p2pqg.network.units import seconds, still  # brings what a help text does without

            so_far = self.summary["sim_seconds"] or 0.0  # None: it was stopped before its first row
            return still(so_far) >= seconds(end, "time")
        if (steps := self.config.get("steps")) is not None:
            return self._steps >= steps
        if self.config["epochs"] is None:
            return self.summary["rounds"] >= self.config["rounds"]
        # Rows beyond the summary's are of a resume that was killed: they are written before it.
        rows = self.rounds[self.rounds["round"] < self.summary["rounds"]]
        return bool((rows["epoch"] >= self.config["epochs"] * (1 - 1e-9)).any())

    @property
    def _steps(self) -> int:
        """Steps of every client, or, where clients wait, of one that took part in every round."""
        found = self.summary.get("least_steps", self.summary.get("steps"))
        if found is None:  # of a time when it was not on record
            found = self.summary["rounds"] * self.config["algorithm"].get("local_steps", 1)
        return int(found)


def load(path: str | Path) -> Run:
    """The run in a directory.

    Raises:
        ConfigError: there is none, or it has no summary yet.
    """
    path = user_path(path)
    if not (path / "summary.json").exists():
        more = (
            f"; `p2pqg resume {typed(path)}` goes on with it"
            if (path / "checkpoints").exists()
            else ""
        )
        raise ConfigError(f"{path}: no finished run here (summary.json is missing){more}")
    return Run(path)
