"""A run's rows in Weights & Biases.

`p2pqg run --wandb` (or `resume`). Without a key, with WANDB_MODE=offline or where there is no
network they are kept in the run's directory, and `wandb sync RUN_DIR/wandb/offline-run-*` sends
them. WANDB_PROJECT and the other variables of W&B count.
"""

from __future__ import annotations

import netrc
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from p2pqg.base.config import plain
from p2pqg.base.text import write_text
from p2pqg.running.sink import Sink, call_it, needed, scalars

if TYPE_CHECKING:
    from p2pqg.running.observer import Observer
    from p2pqg.simulation.simulation import Simulation

FOLDER = "wandb"
"""Below the run's directory."""

SECONDS_TO_BEGIN = 30.0
"""How long W&B is waited for."""


class Wandb(Sink):
    """Every number of a row is logged under the name of its column, at the row's round as step."""

    name = "wandb"
    package = "wandb"
    leaves = FOLDER

    def __init__(self, then: Observer | None = None) -> None:
        """Watch, and tell another observer; see `Sink`."""
        super().__init__(then)
        self._wandb = needed("wandb", Wandb)
        self.passing = (OSError, self._wandb.Error)
        self._run: Any = None

    def open(self, simulation: Simulation, path: Path) -> int:
        """The run of this directory, which keeps its id; offline, its rows are all logged anew.

        What was told last before a kill may be in no file, while the run has all of its rows.
        """
        folder = path / FOLDER
        folder.mkdir(exist_ok=True)
        known = folder / "id"
        if not known.exists():
            write_text(known, os.urandom(4).hex())
        for old in folder.glob("offline-run-*"):
            shutil.rmtree(old)
        mode = os.environ.get("WANDB_MODE") or ("online" if self._has_key() else "")
        here = folder.absolute()
        kept = f"rows are kept in {here}, `wandb sync {here}/offline-run-*` sends them"
        if not mode:
            mode = "offline"
            self.noted(f"nobody has logged in to W&B (`wandb login`): {kept}")
        try:
            self._run = self._begin(simulation, path, known, mode)
        except self._wandb.Error as error:
            if mode != "online":
                raise
            reason = " ".join(str(error).split())
            self.noted(f"W&B cannot be reached ({reason}): {kept}")
            write_text(known, os.urandom(4).hex())  # the other may be half begun
            self._run = self._begin(simulation, path, known, "offline")
        return int(self._run.step) - 1

    def _begin(self, simulation: Simulation, path: Path, known: Path, mode: str) -> Any:
        _, group, name = call_it(path)
        settings = self._wandb.Settings(silent=True, console="off")
        if "WANDB_INIT_TIMEOUT" not in os.environ:
            settings.init_timeout = SECONDS_TO_BEGIN
        return self._wandb.init(
            project=os.environ.get("WANDB_PROJECT", "p2pqg"),
            name=name,
            group=group,
            id=known.read_text(encoding="utf-8"),
            dir=str(path),
            config=plain(simulation.experiment.config),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",  # one that the user's own script has begun is not touched
            settings=settings,
        )

    def write(self, row: dict[str, Any]) -> None:
        """Its scalars, and the wall time."""
        numbers = scalars(row) | {"wall_seconds": row["wall_seconds"]}
        self._run.log(numbers, step=row["round"], commit=True)

    def close(self) -> None:
        """Wait until all is on disk, or sent."""
        self._run.finish(exit_code=0 if self.ended else 1)

    def _has_key(self) -> bool:
        """Whether somebody has logged in."""
        if os.environ.get("WANDB_API_KEY"):
            return True
        host = urlsplit(self._wandb.Settings().base_url).hostname or ""
        with suppress(OSError, netrc.NetrcParseError):
            return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
        return False
