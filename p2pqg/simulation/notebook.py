"""A bar in a notebook while a simulation advances.

Plain HTML, no widgets: it is seen in Jupyter, VS Code and Colab alike, and stays when the notebook
is exported. Outside of a notebook it costs nothing. What a simulation shows there of itself is in
`card.py`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, TypeVar

from p2pqg.simulation.card import BLUE, FAINT, FONT, GREEN, LINE, style_sheet

if TYPE_CHECKING:
    from p2pqg.results.standing import Live

Sim = TypeVar("Sim", bound="Live")

SECONDS_BETWEEN_LOOKS = 0.25


def watched(
    after: Callable[[Sim], None] | None, simulation: Sim, until: int
) -> Callable[[Sim], None] | None:
    """`after`, and in a notebook a bar that follows the simulation.

    Args:
        after: called with the simulation whenever rounds are done, or None.
        simulation: about to advance.
        until: rounds done at the end.
    """
    shell = notebook_shell()
    in_a_cell = threading.current_thread() is threading.main_thread()
    if shell is None or not in_a_cell or simulation.round >= until:
        return after
    spot, way = Spot.of_cell(shell), Way(simulation.round, until)

    def both(sim: Sim) -> None:
        way.pass_by(sim.round)
        spot.show(lambda: bar(sim, way))
        if after:
            after(sim)

    spot.show(lambda: bar(simulation, way))
    return both


@dataclass
class Way:
    """From one round to another, and how fast.

    Attributes:
        first, last: rounds done at the beginning and at the end.
        reports: (round, monotonic time) of the first and of the last one; the first comes late, as
            actors have to start before it.
    """

    first: int
    last: int
    began: float = field(default_factory=time.monotonic)
    reports: list[tuple[int, float]] = field(default_factory=list)

    def pass_by(self, done: int) -> None:
        """Note how many rounds are done by now."""
        self.reports = [*self.reports[:1], (done, time.monotonic())]

    @property
    def rounds_per_second(self) -> float | None:
        """Since the first report; None: not known yet."""
        if len(self.reports) < 2:
            return None
        (first, before), (last, now) = self.reports
        return (last - first) / (now - before) if now > before else None


def notebook_shell() -> Any:
    """The shell of the kernel that runs this; None outside of notebooks."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell if getattr(shell, "kernel", None) is not None else None


@dataclass
class Spot:
    """Where the bars of one cell are shown, one after the other, a few times a second.

    Attributes:
        handle: of what is displayed; waiting: how to draw what was too early to show.
    """

    cell: tuple[int, int]
    handle: Any = None
    shown_at: float = -1.0
    waiting: Callable[[], str] | None = None

    @classmethod
    def of_cell(cls, shell: Any) -> Spot:
        """That of the cell that is running; it is brought up to date when the cell ends."""
        global _spot
        cell = (id(shell), shell.execution_count)
        if _spot is None or _spot.cell != cell:
            _spot = spot = cls(cell)

            def last(*_: object) -> None:
                spot.flush()
                shell.events.unregister("post_run_cell", last)

            shell.events.register("post_run_cell", last)
        return _spot

    def show(self, draw: Callable[[], str]) -> None:
        """Show it, or keep it until it is time to."""
        self.waiting = draw
        if time.monotonic() - self.shown_at >= SECONDS_BETWEEN_LOOKS:
            self.flush()

    def flush(self) -> None:
        """Show what waits."""
        if self.waiting is None:
            return
        from IPython.display import HTML, display

        html, self.waiting = HTML(self.waiting()), None
        if self.handle is None:
            self.handle = display(html, display_id=True)
        else:
            self.handle.update(html)
        self.shown_at = time.monotonic()


_spot: Spot | None = None
"""The place below the cell that ran last."""


def bar(simulation: Live, way: Way) -> str:
    """How far it is on its way."""
    from p2pqg.base.wording import duration, pace, seen

    done, config = simulation.round, simulation.experiment.config
    share = 100 * min(1.0, (done - way.first) / (way.last - way.first))
    told, speed = [f"round {done:,} of {way.last:,}"], way.rounds_per_second
    if not way.reports:
        told.append("starting" if done == 0 else "")
    elif done >= way.last:
        told.append(duration(way.reports[-1][1] - way.began))
    elif speed:
        told.append(f"{duration((way.last - done) / speed)} left")
    told += [pace(speed).strip(), seen(simulation.rows[0], done)]
    color = GREEN if done >= way.last else BLUE
    return (
        f'{style_sheet()}<div class="p2pqg" style="{FONT};display:flex;flex-wrap:wrap;'
        'gap:2px 12px;align-items:center">'
        f'<span style="font-weight:600">{escape(config.algorithm["name"])} on '
        f"{escape(config.topology)}</span>"
        f'<span style="flex:0 0 160px;height:8px;border-radius:4px;background:{LINE}">'
        f'<span style="display:block;width:{share:.1f}%;height:8px;border-radius:4px;'
        f'background:{color}"></span></span>'
        f'<span style="color:{FAINT};font-variant-numeric:tabular-nums;white-space:pre">'
        f"{escape('   '.join(filter(None, told)))}</span></div>"
    )
