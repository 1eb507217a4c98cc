"""A run's rows as TensorBoard events, for those who watch all their runs there.

`p2pqg run --tensorboard` (or `resume`), then `tensorboard --logdir runs/out`.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pqg.base.errors import ConfigError

if TYPE_CHECKING:
    from p2pqg.results.records import Run
    from p2pqg.running.single import Observer
    from p2pqg.simulation.simulation import Simulation

FOLDER = "tensorboard"
"""Below the run's directory."""
AXES = {"round", "wall_seconds"}
"""Columns that TensorBoard has axes for."""


class TensorBoard:
    """An observer (see `running.Observer`) that writes events; a context manager, which ends them.

    Every number of a row is a scalar under the name of its column, at the row's round.
    """

    def __init__(self, then: Observer | None = None) -> None:
        """Watch, and tell another observer.

        Args:
            then: who else watches the run.

        Raises:
            ConfigError: the package tensorboard is not installed.
        """
        try:
            from tensorboard.summary import Writer
        except ImportError:
            raise ConfigError(
                "--tensorboard needs the package tensorboard; pip install tensorboard, or leave it"
            ) from None
        self._make, self._then = Writer, then
        self._writer: Any = None
        self._last = -1  # the last round written

    def __enter__(self) -> TensorBoard:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def begin(self, simulation: Simulation, path: Path) -> None:
        """Open a file of events in the run's directory; of a run that goes on, in place of the old.

        Its rows are all there, while what was told last before a kill may be in no file.
        """
        if self._writer is not None:  # of the seed before
            self._writer.close()
        self._last = -1
        for old in (path / FOLDER).glob("events.*"):
            old.unlink()
        self._writer = self._make(str(path / FOLDER))
        self._write_new(simulation)
        if self._then:
            self._then.begin(simulation, path)

    def recorded(self, simulation: Simulation) -> None:
        """Write the rows that are new."""
        self._write_new(simulation)
        if self._then:
            self._then.recorded(simulation)

    def _write_new(self, simulation: Simulation) -> None:
        """Rounds that run again after a crash are known already."""
        rows = simulation.rows[0]
        started = time.time() - rows[-1]["wall_seconds"] if rows else 0.0
        for row in rows:
            if row["round"] > self._last:
                self._write({key: row.get(key) for key in simulation.columns}, started)

    def _write(self, row: dict[str, Any], started: float) -> None:
        self._last = row["round"]
        at = started + row["wall_seconds"]
        for name, value in row.items():
            if name not in AXES and value is not None and math.isfinite(value):
                self._writer.add_scalar(name, value, self._last, wall_time=at)

    def noted(self, text: str) -> None:
        """Nothing to plot."""
        if self._then:
            self._then.noted(text)

    def end(self, run: Run) -> None:
        """All is on disk."""
        self._writer.flush()
        if self._then:
            self._then.end(run)
