"""A run's rows as TensorBoard events, for those who watch all their runs there.

`p2pqg run --tensorboard` (or `resume`), then `tensorboard --logdir runs/out`.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from p2pqg.running.sink import Sink, needed, scalars

if TYPE_CHECKING:
    from p2pqg.results.run import Run
    from p2pqg.running.observer import Observer
    from p2pqg.simulation.simulation import Simulation

FOLDER = "tensorboard"
"""Below the run's directory."""


class TensorBoard(Sink):
    """Every number of a row is a scalar under the name of its column, at the row's round."""

    name = "tensorboard"
    package = "tensorboard"
    leaves = FOLDER

    def __init__(self, then: Observer | None = None) -> None:
        """Watch, and tell another observer; see `Sink`."""
        super().__init__(then)
        self._make = needed("tensorboard.summary", TensorBoard).Writer
        self._writer: Any = None
        self._started = 0.0

    def __enter__(self) -> Self:
        """As of any sink."""
        self._of_threads, threading.excepthook = threading.excepthook, self._thread_failed
        return super().__enter__()

    def open(self, simulation: Simulation, path: Path) -> int:
        """Open a file of events in the run's directory; of a run that goes on, in place of the old.

        Its rows are all there, while what was told last before a kill may be in no file.
        """
        for old in (path / FOLDER).glob("events.*"):
            old.unlink()
        self._writer = self._make(str(path / FOLDER))
        rows = simulation.rows[0]
        self._started = time.time() - (rows[-1]["wall_seconds"] if rows else 0.0)
        return -1

    def write(self, row: dict[str, Any]) -> None:
        """Its scalars."""
        at = self._started + row["wall_seconds"]
        for name, value in scalars(row).items():
            self._writer.add_scalar(name, value, row["round"], wall_time=at)

    def end(self, run: Run) -> None:
        """All is on disk."""
        if self._simulation is not None:
            self._try(self._writer.flush)
        super().end(run)

    def __exit__(self, *error: object) -> None:
        """As of any sink; from then on threads fail as they did before."""
        super().__exit__(*error)
        threading.excepthook = self._of_threads

    def close(self) -> None:
        """No more events."""
        self._writer.close()

    def _thread_failed(self, what: threading.ExceptHookArgs) -> None:
        """Why TensorBoard's thread cannot write is told by the next call, not by a traceback."""
        if not type(what.thread).__module__.startswith("tensorboard."):
            self._of_threads(what)
