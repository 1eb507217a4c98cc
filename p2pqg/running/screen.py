"""What a run, a sweep and a comparison look like on a terminal, or in a plain log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from p2pqg.base.wording import (
    duration,
    pace,
    percent,
    seen,
)
from p2pqg.data.skew import label_picture
from p2pqg.running.told import about, counts_of, outcome

if TYPE_CHECKING:  # torch takes seconds to import; by then the screen should say something
    from p2pqg.results.run import Run
    from p2pqg.simulation.simulation import Simulation

ROOM_FOR_TEXT = 16
"""Columns of a terminal beside the names of a table; with fewer what is said stands below them."""
ROOM_FOR_A_BAR = 36
"""Columns of a terminal: a bar that can be seen, its count, its pace and the time left."""


def console_for_stdout() -> Console:
    """Stdout: live and in colour on a terminal, plain elsewhere."""
    return Console(highlight=False, emoji=False)  # `column:hospital:` is none


class NowAndThen:
    """When a log that nobody may be watching gets a line: every 10 s, after a minute every 60 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts now. `clock`: seconds."""
        self._clock = clock
        self._began = clock()
        self._last = 0.0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return self._clock() - self._began

    def due(self) -> bool:
        """Whether it is time for a line; then the next one is due later."""
        now = self.seconds
        if now - self._last < (10 if now <= 60 else 60):
            return False
        self._last = now
        return True


class Screen:
    """Watches one run; a context manager, so that the bar ends with it (see Observer).

    Without a terminal there is no bar, but a line now and then.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Draw on `console`; default: stdout. `clock`: seconds."""
        self.console = console or console_for_stdout()
        self._clock = clock
        self._waiting = self.console.status("starting") if self.console.is_terminal else None
        self._bar: Progress | None = None

    def __enter__(self) -> Screen:
        if self._waiting:
            self._waiting.start()
        return self

    def __exit__(self, *error: object) -> None:
        for live in (self._waiting, self._bar):
            if live:
                live.stop()

    def several(self) -> SeedsBar:
        """Watches several seeds side by side."""
        if self._waiting:
            self._waiting.stop()
        return SeedsBar(self.console, self._clock)

    def begin(self, simulation: Simulation, path: Path) -> None:
        """Say what runs on what, and start the bar."""
        if self._waiting:
            self._waiting.stop()
        experiment = simulation.experiment
        self._say([*about(simulation), ("results", str(path.absolute()))])
        if not self.console.is_terminal:
            self._lines, self._since = NowAndThen(self._clock), (simulation.round, 0.0)
            self._last = simulation.round
            return
        picture = label_picture(counts_of(experiment))
        self.console.print(*picture, "", sep="\n", style="dim")
        self._bar = _Bar(self.console, TextColumn("[dim]{task.fields[pace]}"), refresh_per_second=5)
        self._bar.add_task("rounds", total=experiment.num_rounds, told="", pace="")
        self._bar.start()

    def recorded(self, simulation: Simulation) -> None:
        """Move the bar to the last row."""
        if self._bar:
            task = self._bar.tasks[0]
            self._bar.update(
                task.id,
                total=simulation.num_rounds,
                completed=simulation.round,
                told=seen(simulation.rows[0], simulation.round),
                pace=pace(task.speed),
            )
        elif not self.console.is_terminal:
            self._count_from_the_second(simulation.round)
            self._last = simulation.round
            if not self._lines.due():
                return
            self.console.print(self._standing(simulation), markup=False, soft_wrap=True)

    def _count_from_the_second(self, round: int) -> None:
        """The first round is not like the others: whatever is needed once is made in it.

        So is that after a run went back to its checkpoint.
        """
        if self._since == (round - 1, 0.0) or round < self._last:
            self._since = round, self._lines.seconds

    def _standing(self, simulation: Simulation) -> str:
        """Where a run stands, in a line; the time left is that of rounds like those so far."""
        first, began = self._since
        total, done = simulation.num_rounds, simulation.round - first
        parts = [
            f"round {simulation.round:,}/{total:,}",
            seen(simulation.rows[0], simulation.round),
        ]
        if done > 0:
            left = (self._lines.seconds - began) / done * (total - simulation.round)
            parts.append(f"{duration(left)} left")
        return "  ".join(filter(None, parts))

    def noted(self, text: str) -> None:
        """Something happened that a user should know."""
        self.console.print(f"note: {text}", markup=False, soft_wrap=True)

    def end(self, run: Run) -> None:
        """Stop the bar; the closing table and where the results are."""
        if self._bar:
            self._bar.stop()
        self.console.print()
        self._say([*outcome(run), ("results", str(run.path.absolute()))])

    def _say(self, rows: list[tuple[str, str]]) -> None:
        _in_columns(self.console, rows)


def _in_columns(console: Console, rows: list[tuple[str, str]]) -> None:
    """Names and what there is to say about them, in two columns."""
    width = max(len(name) for name, _ in rows)
    if not console.is_terminal:
        for name, text in rows:
            console.print(f"{name:<{width}}  {text}", markup=False, soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    if console.width - width - 2 < ROOM_FOR_TEXT:
        for name, text in rows:
            console.print(Text(name, "cyan"), Text(text), sep="\n", overflow="fold")
        return
    for name, text in rows:
        grid.add_row(name, escape(text))
    console.print(grid)


class _Bar(Progress):
    """A bar, its count, `told` of its task, and the time left.

    What is told stands below the bar where it has no room beside it: cut off it might lose what it
    is of, or of when.
    """

    def __init__(self, console: Console, *more: TextColumn, **options: Any) -> None:
        """`more`: columns between what is told and the time left; options as of `Progress`."""
        self._drawn_on = console
        self._told = TextColumn("{task.fields[told]}")
        self._all = (
            BarColumn(bar_width=None, complete_style="cyan", finished_style="cyan"),
            MofNCompleteColumn(),
            self._told,
            *more,
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        )
        super().__init__(*self._all, console=console, expand=True, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar, and what is told."""
        told = [Text.from_markup(task.fields["told"]) for task in self.tasks]
        room = self._drawn_on.width - ROOM_FOR_A_BAR
        fits = all(text.cell_len <= room for text in told)
        self.columns = tuple(one for one in self._all if fits or one is not self._told)
        yield self.make_tasks_table(self.tasks)
        if not fits:
            yield from told


class SweepBar:
    """Progress over all the runs of a sweep: a bar on a terminal, elsewhere a line per run.

    Both say what time is left, if the runs to come take as long as those so far, and now and then
    where one stands that is under way.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Draw on `console`; default: stdout. `clock`: seconds."""
        self.console = console or console_for_stdout()
        self._lines = NowAndThen(clock)
        self._notes: set[str] = set()
        self._total = self._done = self._failed = self._done_before = 0
        self._bar = _Bar(
            self.console,
            refresh_per_second=2,
            speed_estimate_period=3600,  # runs differ in length; the time left is a mean over many
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("runs", total=None, told="")

    def __enter__(self) -> SweepBar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def grow(self, num_runs: int) -> None:
        """There are so many more runs to come."""
        self._total += num_runs
        self._bar.update(self._task, total=self._total)

    def skip(self, num_runs: int) -> None:
        """So many of the runs had been finished before."""
        self._done += num_runs
        self._done_before += num_runs
        self._bar.update(self._task, completed=self._done)

    def inside(self, name: str, text: str) -> None:
        """Where a run stands that is under way."""
        if self.console.is_terminal:
            self._bar.update(
                self._task, told=f"{self._failures()}[dim]{escape(name)}  {escape(text)}"
            )
        elif self._lines.due():
            line = f"{self._done}/{self._total}  {name}  {text}{self._time_left()}"
            self.console.print(line, markup=False, soft_wrap=True)

    def noted(self, name: str, text: str) -> None:
        """Something that a user should know, once, of the first run that says it."""
        if text not in self._notes:
            self._notes.add(text)
            told = ": ".join(filter(None, ["note", name, text]))
            self.console.print(told, markup=False, soft_wrap=True)

    def _failures(self) -> str:
        return f"[red]{self._failed} failed[/red]  " if self._failed else ""

    def done(self, name: str, accuracy: float | None, *, failed: bool) -> None:
        """One more run ended; where numbers are learned there is no accuracy."""
        self._done += 1
        self._failed += failed
        word = "failed" if failed else "done" if accuracy is None else percent(accuracy)
        last = f"{name}  {word}"
        self._bar.update(
            self._task, completed=self._done, told=f"{self._failures()}[dim]{escape(last)}"
        )
        if not self.console.is_terminal:
            line = f"{self._done}/{self._total}  {last}{self._time_left()}"
            self.console.print(line, markup=False, soft_wrap=True)

    def _time_left(self) -> str:
        here, left = self._done - self._done_before, self._total - self._done
        if not here:
            return ""
        each = self._lines.seconds / here
        return f"  {duration(left * each)} left" if left else ""


class SeedsBar(SweepBar):
    """The bar of seeds side by side, of which the first one says what runs on what."""

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin as `SweepBar` does."""
        super().__init__(console, clock)
        self._about = False

    def begun(self, name: str, rows: list[tuple[str, str]]) -> None:
        """A seed has begun."""
        if not self._about:
            self._about = True
            _in_columns(self.console, rows)
