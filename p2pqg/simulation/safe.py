"""Safe: the last moment of a simulation that will be there after its actors have died."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pqg.simulation.experiment import Experiment
from p2pqg.simulation.moment import Moment


@dataclass
class Safe:
    """Where to go back to.

    Attributes:
        last: the moment itself, or the directory of a run with its checkpoints.
        saver: writes a moment to disk and says where; None, or None returned: keep it in memory.
        round: rounds done when it was kept.
        at: when, `time.monotonic()`.
    """

    last: Moment | Path
    saver: Callable[[Moment], Path | None] | None = None
    round: int = 0
    at: float = field(default_factory=time.monotonic)

    def is_stale(self, every: float, round: int) -> bool:
        """Whether it is time to keep another one; every: seconds, 0: never."""
        return bool(every) and round != self.round and time.monotonic() - self.at > every

    def keep(self, moment: Moment) -> None:
        """On disk where a run has a directory, else in memory."""
        self.last = (self.saver and self.saver(moment)) or moment.whole()
        self.round, self.at = moment.log.round, time.monotonic()

    def moment(self, experiment: Experiment, tell: Callable[[str], Any]) -> Moment:
        """The moment to go on from."""
        if isinstance(self.last, Path):
            return Moment.newest(self.last, experiment, tell)
        return self.last
