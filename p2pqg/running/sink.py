"""A sink: where the rows of a run go beside its directory. What is the same for all of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import Self

from p2pqg.base.errors import ConfigError
from p2pqg.results.seeds import is_of_seeds
from p2pqg.running.observer import Observer, warn_unheard

if TYPE_CHECKING:
    from p2pqg.results.run import Run
    from p2pqg.simulation.simulation import Simulation

AXES = {"round", "wall_seconds"}
"""Columns that those who plot have axes for."""


class Sink(ABC):
    """An observer (see `running.observer.Observer`) that gets each row once; a context manager.

    A run that goes on hands all its rows over again: those that the sink has are not written.
    A sink that cannot write is no reason to stop; what it missed is tried with the next row.

    Attributes:
        name: of its flag.
        package: what it needs, as pip calls it.
        leaves: a file or folder that a run's directory has of it; "": none.
        passing: errors that may pass.
        ended: whether the run came to its end.
    """

    name: ClassVar[str]
    package: ClassVar[str | None] = None
    leaves: ClassVar[str] = ""
    passing: tuple[type[Exception], ...] = (OSError,)
    ended = False

    def __init__(self, then: Observer | None = None) -> None:
        """Watch, and tell another observer.

        Args:
            then: who else watches the run.

        Raises:
            ConfigError: its package is not installed.
        """
        self._then = then
        self._simulation: Simulation | None = None
        self._last = -1  # the last round written
        self._trouble = ""

    @abstractmethod
    def open(self, simulation: Simulation, path: Path) -> int:
        """Begin, below the run's directory; returns the last round that it has, -1: none."""

    @abstractmethod
    def write(self, row: dict[str, Any]) -> None:
        """A row, with a value or None for every column of rounds.parquet."""

    @abstractmethod
    def close(self) -> None:
        """All rows are written, and the run is over or broken off."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """What came last before a failure is written, too."""
        self._finish()

    def _finish(self) -> None:
        if self._simulation is not None:
            self._write_new(self._simulation)
            self._try(self.close)
            self._simulation = None

    def begin(self, simulation: Simulation, path: Path) -> None:
        """Bring it up to date: of a run that goes on there may be rows; another's is finished."""
        self._finish()
        self.ended = False
        if self._try(self._open, simulation, path):
            self._simulation = simulation
            self._write_new(simulation)
        if self._then:
            self._then.begin(simulation, path)

    def _open(self, simulation: Simulation, path: Path) -> None:
        self._last = self.open(simulation, path)

    def recorded(self, simulation: Simulation) -> None:
        """Write the rows that are new."""
        if self._simulation is not None:
            self._write_new(simulation)
        if self._then:
            self._then.recorded(simulation)

    @property
    def sinks(self) -> tuple[str, ...]:
        """The names of this one and of those that it tells."""
        return (self.name, *getattr(self._then, "sinks", ()))

    def unheard(self, text: str) -> None:
        """Of somebody who has to know: see `warn_unheard`."""
        warn_unheard(self._then, text)

    def noted(self, text: str) -> None:
        """Not for a sink."""
        if self._then:
            self._then.noted(text)

    def end(self, run: Run) -> None:
        """All is on disk."""
        self.ended = True
        if self._then:
            self._then.end(run)

    def _write_new(self, simulation: Simulation) -> None:
        """Rounds that run again after a crash are known already."""
        rows = simulation.rows[0]
        news = len(rows)
        while news and rows[news - 1]["round"] > self._last:
            news -= 1
        columns = simulation.columns
        for row in rows[news:]:
            if not self._try(self.write, {key: row.get(key) for key in columns}):
                return
            self._last = row["round"]

    def _try(self, what: Any, *given: Any) -> bool:
        """Whether it went well; if not, the reason is told once."""
        try:
            what(*given)
        except self.passing as error:
            reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
            if reason != self._trouble:
                self._trouble = reason
                self.noted(f"cannot write to {self.name} ({reason}); going on")
            return False
        return True


def needed(module: str, sink: type[Sink]) -> Any:
    """A module that only this sink needs.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        raise ConfigError(
            f"--{sink.name} needs the package {sink.package}; "
            f"pip install 'p2pqg[{sink.name}]', or leave it"
        ) from None


def call_it(path: Path) -> tuple[Path, str | None, str]:
    """What a run is called where there are others.

    Args:
        path: its directory.

    Returns:
        The folder of results, absolute; the name of the directory of several seeds, if it is of
        one; and its own.
    """
    parent = path.absolute().parent
    if is_of_seeds(parent):
        return parent.parent, parent.name, f"{parent.name}/{path.name}"
    return parent, None, path.name


def scalars(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row that can be plotted over its round."""
    return {
        name: value
        for name, value in row.items()
        if name not in AXES and value is not None and math.isfinite(value)
    }
