"""Who watches a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # brings torch
    from p2pqg.results.run import Run
    from p2pqg.simulation.simulation import Simulation


class Observer(Protocol):
    """Somebody who watches a run: the screen, a notebook."""

    def begin(self, simulation: Simulation, path: Path) -> None: ...

    def recorded(self, simulation: Simulation) -> None: ...

    def noted(self, text: str) -> None: ...

    def end(self, run: Run) -> None: ...
