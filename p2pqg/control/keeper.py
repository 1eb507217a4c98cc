"""What is left of a control room when its kernel is gone: a checkpoint of each network."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from p2pqg.base.errors import ConfigError, P2pqgError
from p2pqg.base.text import user_path
from p2pqg.control.branch import NAMES, Branch
from p2pqg.control.playable import Playable
from p2pqg.results.checkpoint import CHECKPOINTS, newest

SHARE = 0.05
"""Share of a run's time that may go into checkpoints."""
SECONDS_BETWEEN = 5.0


class Keeper:
    """Keeps networks in a folder: A in `A/`, its forks in `B/` and so on, as runs are kept.

    There `p2pqg.Simulation.restore(folder / "A")` finds them.

    Attributes:
        folder: where.
        spent: seconds that it took so far while networks played.
        problem: why the last one could not be written, or "".
        aside: where the last one is that another room had kept under such a name, or None.
    """

    def __init__(self, folder: str | Path) -> None:
        """Make the folder.

        Raises:
            ConfigError: it cannot be made.
        """
        self.folder, self.spent, self.problem = user_path(folder), 0.0, ""
        self.aside: Path | None = None
        self._at = -SECONDS_BETWEEN
        self._known: dict[str, tuple[int, ...]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"control: the folder {str(folder)!r} cannot be made ({error.strerror}); "
                "choose another"
            ) from None

    def restoring(self, branch: Branch) -> str:
        """The line that goes on with a network after a restart of the kernel."""
        home = str(self.folder / branch.name)
        return f"p2pqg.Simulation.restore({home!r}).control(folder={str(self.folder)!r})"

    def is_of(self, sim: Playable) -> bool:
        """Whether it was restored from what is kept of A here."""
        if sim.restored is None:
            return False
        return user_path(sim.restored[0]).resolve() == (self.folder / NAMES[0]).resolve()

    def forks(self) -> dict[int, Path]:
        """Networks that are kept beside A: number -> where."""
        folders = {number: self.folder / name for number, name in enumerate(NAMES) if number}
        return {n: at for n, at in folders.items() if any(newest(at / CHECKPOINTS))}

    def goes_on(self, branch: Branch) -> None:
        """What is kept of it is its own: it was restored from there."""
        self._known[branch.name] = ()

    def is_due(self, played: float) -> bool:
        """Whether it is time, while it plays, to keep another one; played: seconds so far."""
        waited = time.monotonic() - self._at >= SECONDS_BETWEEN
        return waited and self.spent <= SHARE * played

    def keep(self, branches: Sequence[Branch], *, while_playing: bool = False) -> None:
        """Bring the folder up to date. What diverged stays as it was before."""
        began = time.perf_counter()
        try:
            for branch in branches:
                if not (branch.sim.closed or branch.diverged):
                    self._keep(branch)
            self.problem = ""
        except P2pqgError as error:  # a full disk: what was kept before is still there
            self.problem = str(error)
        finally:
            self.spent += while_playing * (time.perf_counter() - began)
            self._at = time.monotonic()

    def _keep(self, branch: Branch) -> None:
        sim = branch.sim
        stands = id(sim), branch.turns, sim.round, len(sim.events), len(sim.interventions)
        if self._known.get(branch.name) == stands:
            return
        if branch.name not in self._known:
            self._put_aside(branch)
        home = self.folder / branch.name / CHECKPOINTS
        path = home / f"round-{sim.round:09d}"
        sim.checkpoint(path)
        for other in (
            *home.glob("round-*"),
            *home.glob(".round-*"),
        ):  # drafts of a dead kernel, too
            if other != path:  # also those of later rounds, when one has gone back
                shutil.rmtree(other, ignore_errors=True)
        self._known[branch.name] = stands

    def _put_aside(self, branch: Branch) -> None:
        """What another room kept there, perhaps of another network."""
        home = self.folder / branch.name
        if any(newest(home / CHECKPOINTS)):
            free = (home.with_name(f"{branch.name}-{number}") for number in itertools.count(2))
            try:
                self.aside = home.rename(next(path for path in free if not path.exists()))
            except OSError as error:
                raise P2pqgError(f"{home} cannot be renamed ({error.strerror})") from None

    def forget(self, branch: Branch) -> None:
        """Remove what was kept of a branch: it was closed by hand."""
        self._known.pop(branch.name, None)
        shutil.rmtree(self.folder / branch.name, ignore_errors=True)
