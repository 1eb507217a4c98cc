"""Who watches a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from p2pqg.base.errors import notice

if TYPE_CHECKING:  # brings torch
    from p2pqg.results.run import Run
    from p2pqg.simulation.simulation import Simulation


class Observer(Protocol):
    """Somebody who watches a run: the screen, a notebook."""

    def begin(self, simulation: Simulation, path: Path) -> None: ...

    def recorded(self, simulation: Simulation) -> None: ...

    def noted(self, text: str) -> None: ...

    def end(self, run: Run) -> None: ...


def warn_unheard(observer: Observer | None, text: str) -> None:
    """Warn by `Notice` of what has to be known, where nobody watches; who does is told it anyhow.

    Args:
        observer: None, or one who may only pass on what it hears, and then knows: `unheard`.
        text: a line.
    """
    if observer is None:
        notice(text)
    elif passes_on := getattr(observer, "unheard", None):
        passes_on(text)
