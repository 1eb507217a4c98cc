"""How fast a simulation is: steps that clients made, over the time in which rounds were run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Speed:
    """The speed of the rounds after the first, in which whatever is needed once is made.

    The time between two calls of `advance` does not count: who thinks between two cells of a
    notebook does not slow clients down.

    Attributes:
        steps: that clients made; who sits out a round, or left, makes none.
        seconds: in which rounds were run, recorded and evaluated, until the last call ended.
    """

    steps: int = 0
    seconds: float = 0.0
    _since: float | None = None

    @contextmanager
    def running(self, from_now: bool) -> Iterator[None]:
        """Rounds are run inside; `from_now`: the first round of all is over."""
        self._since = time.perf_counter() if from_now else None
        try:
            yield
        finally:
            self.seconds, self._since = self._so_far, None

    def first_round_is_over(self) -> None:
        """What comes now counts."""
        self._since = time.perf_counter()

    @property
    def _so_far(self) -> float:
        return self.seconds + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def per_second(self) -> float | None:
        """Steps of clients per second, all clients together; None: there are none yet."""
        return self.steps / self._so_far if self.steps else None

    def copy(self) -> Speed:
        """For a fork, which has made the steps of before, too."""
        return Speed(self.steps, self.seconds)
