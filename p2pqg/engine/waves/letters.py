"""Letters: messages on their way, and the steps in which they are sent and read; arrays only.

`pushes.py` makes them: the timeline of clients that push.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from p2pqg.engine.waves.timeline import Window

NOTHING = -1
"""In the place of a step, or of a message: none."""


class Letters(NamedTuple):
    """Messages on their way, each to one receiver, or there and not yet read; [letters].

    Attributes:
        receiver: int64.
        arrival: float64, seconds on the clock at which it arrives.
        sender: int64.
        serial: int64, its number among all messages that were ever sent.
        weight: float64.
        sent: float64, seconds on the clock at which it was sent.
        number: int64, the steps that its sender had done by then.
    """

    receiver: np.ndarray
    arrival: np.ndarray
    sender: np.ndarray
    serial: np.ndarray
    weight: np.ndarray
    sent: np.ndarray
    number: np.ndarray

    @classmethod
    def none(cls) -> Letters:
        """No letters."""
        floats = {"arrival", "weight", "sent"}
        return cls(*(np.empty(0, float if name in floats else int) for name in cls._fields))

    def of(self, at: np.ndarray) -> Letters:
        """Some of them."""
        return Letters(*(column[at] for column in self))

    def then(self, others: Letters) -> Letters:
        """These, and others after them."""
        return Letters(*map(np.concatenate, zip(self, others, strict=True)))

    def by_receiver(self) -> Letters:
        """One receiver's after the other's, each one's in the order in which they are."""
        return self.of(np.argsort(self.receiver, kind="stable"))

    def needed(self, last: np.ndarray) -> np.ndarray:
        """Rows of `Posts.needed`, also of those not needed beyond the portion they are sent in."""
        return np.column_stack([self.serial, self.receiver, last])


@dataclass(frozen=True, eq=False, kw_only=True)
class Posts(Window):
    """A window of messages.

    Attributes:
        serial: int64 [steps], the message that it sends, -1: none.
        kept: float64 [steps], see `push`.
        read_by: int64 [reads], which step reads a message, counted in this window; it rises.
        read: int64 [reads], the message's serial; read_weight: float64 [reads], what it counts.
        needed: int64 [letters, 3], serial and receiver, and the last portion in which it is read,
            or at whose end it is on its way or kept. A letter has several rows, or none.
    """

    serial: np.ndarray
    kept: np.ndarray
    read_by: np.ndarray
    read: np.ndarray
    read_weight: np.ndarray
    needed: np.ndarray


class Steps(NamedTuple):
    """The steps of a window, in the order in which they are done.

    Those of one moment are a group: all of them send before any reads.

    Attributes:
        client, number: int64 [steps].
        time: float64 [steps], when each is done; begun: when its gradient was begun.
        group: int64 [steps], the last step of its group.
        before: int64 [steps], the client's step before it, -1: that is in no step of this window.
        codes: int64 [steps], client * `size` + step, rising.
        first: int64 [clients + 1], client i's steps are codes[first[i]] .. codes[first[i + 1] - 1].
        size: more than there are steps.
    """

    client: np.ndarray
    number: np.ndarray
    time: np.ndarray
    begun: np.ndarray
    group: np.ndarray
    before: np.ndarray
    codes: np.ndarray
    first: np.ndarray
    size: int

    @classmethod
    def of(
        cls,
        made: np.ndarray,
        client: np.ndarray,
        number: np.ndarray,
        time: np.ndarray,
        begun: np.ndarray,
    ) -> Steps:
        """Some in order; made: int64 [clients], how many of each."""
        count = len(client)
        size = count + 1
        codes = np.sort(client * size + np.arange(count))
        whose, step = np.divmod(codes, size)
        before, again = np.full(count, NOTHING), whose[1:] == whose[:-1]
        before[step[1:][again]] = step[:-1][again]
        # A step that takes no time at all is a moment of its own.
        last = np.append((time[1:] != time[:-1]) | (client[1:] <= client[:-1]), True)[:count]
        ends = np.flatnonzero(last)
        group = np.repeat(ends, np.diff(ends, prepend=-1))
        first = np.concatenate([[0], np.cumsum(made)])
        return cls(client, number, time, begun, group, before, codes, first, size)

    def reading(self, receiver: np.ndarray, arrival: np.ndarray) -> np.ndarray:
        """int64: the step in which a receiver reads what arrives then; -1: in none of these."""
        earliest = np.searchsorted(self.time, arrival, side="left")
        at = np.searchsorted(self.codes, receiver * self.size + earliest)
        client, step = np.divmod(np.append(self.codes, -1)[at], self.size)
        return np.where(client == receiver, step, NOTHING)

    def last(self) -> list[tuple[int, int]]:
        """(client, step) of the last one of each client."""
        made = np.flatnonzero(np.diff(self.first))
        return list(
            zip(
                made.tolist(),
                (self.codes[self.first[made + 1] - 1] % self.size).tolist(),
                strict=True,
            )
        )

    def made_by(self, client: np.ndarray, step: np.ndarray) -> np.ndarray:
        """int64: how many steps clients have made in this window when the group of `step` has."""
        after = client * self.size + self.group[step] + 1
        return np.searchsorted(self.codes, after) - self.first[client]


class Borders:
    """Where the portions of a window end.

    Attributes:
        rounds: int64 [portions], rounds done at the end of each.
        done: int64 [rounds], steps done at the end of each round; steps: [portions], the same.
    """

    def __init__(self, rounds: np.ndarray, done: np.ndarray) -> None:
        self.rounds, self.done, self.steps = rounds, done, done[rounds - 1]

    def of(self, step: np.ndarray) -> np.ndarray:
        """int64: the portion of each step; of `NOTHING`, which is in none, their number."""
        if len(self.steps) == 1:
            return np.where(step == NOTHING, 1, 0)
        portion = np.searchsorted(self.steps, step, side="right")
        return np.where(step == NOTHING, len(self.steps), portion)
