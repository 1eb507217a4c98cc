"""--watch: a page that shows the run as it goes, served by a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from p2pqg.running.sink import Sink

if TYPE_CHECKING:
    from p2pqg.simulation.simulation import Simulation


class Page(Sink):
    """The rows are in the run's Parquet files, which that process reads."""

    name: ClassVar[str] = "watch"
    _process: subprocess.Popen[str] | None = None

    def open(self, simulation: Simulation, path: Path) -> int:
        """Start it, and say where it is to be seen."""
        command = [sys.executable, "-m", "p2pqg.cli", "watch", str(path)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._tell, daemon=True).start()  # it takes a while to start
        return -1

    def _tell(self) -> None:
        """Pass on the address."""
        process = self._process
        if process is not None and process.stdout is not None:
            with suppress(ValueError):  # closed: the run was faster
                if line := process.stdout.readline().strip():
                    self.noted(line)

    def write(self, row: dict[str, Any]) -> None:
        """Nothing: it is read from disk."""

    def close(self) -> None:
        """End it with the run; `p2pqg watch` shows it again."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
