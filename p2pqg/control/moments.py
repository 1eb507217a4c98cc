"""Moments that one can go back to: as many as memory is set aside for, spread over all rounds."""

from __future__ import annotations

from typing import Any

MOST_MOMENTS = 60
"""As many as a scrubber shows; more could not be told apart."""


class Moments:
    """Moments of one simulation, by the rounds that were done.

    Attributes:
        most_bytes: for all of them.
        every: rounds from one to the next; grows as they become too many.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.every = most_bytes, 1
        self._kept: dict[int, Any] = {}

    def copy(self) -> Moments:
        """For a fork: the moments are shared, since none changes."""
        twin = Moments(self.most_bytes)
        twin.every, twin._kept = self.every, dict(self._kept)
        return twin

    @property
    def rounds(self) -> list[int]:
        """Rounds done at each, in order."""
        return sorted(self._kept)

    @property
    def num_bytes(self) -> int:
        """About what all moments take in memory."""
        return sum(map(size_of, self._kept.values()))

    def at(self, round: int) -> Any:
        """The moment of that round; None: there is none."""
        return self._kept.get(round)

    def wants(self, round: int) -> bool:
        """Whether it is time to keep another one."""
        return not self._kept or round >= max(self._kept) + self.every

    def keep(self, moment: Any) -> None:
        """Put one by; where there is no room, every second one is let go, but the first."""
        self._kept[moment.log.round] = moment
        while len(self._kept) > 1 and (
            len(self._kept) > MOST_MOMENTS or self.num_bytes > self.most_bytes
        ):
            self.every *= 2
            self._kept = {round: self._kept[round] for round in self.rounds[::2]}

    def forget_after(self, round: int) -> None:
        """What was later is no more."""
        self._kept = {known: kept for known, kept in self._kept.items() if known <= round}


def size_of(moment: Any) -> int:
    """Bytes that a moment takes, about; rows of results are shared, and only pointed to."""
    snapshot, log = moment.snapshot, moment.log
    parts = (snapshot.rows, snapshot.totals, snapshot.timeline, snapshot.mail)
    arrays = [array for part in parts for array in part.values()]
    return sum(array.nbytes for array in arrays) + 8 * (len(log.rounds) + len(log.clients))
