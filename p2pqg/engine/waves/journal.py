"""What happened in a round, for the books: the same from every host, as plain data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # brings torch, which the driver does without
    from p2pqg.engine.waves.timeline import Window


class Journal(NamedTuple):
    """What happened in a window, in the whole network.

    Attributes:
        first: its first round.
        seconds: float64 [rounds], on the clock at the end of each.
        steps: int64 [rounds, clients], made by each.
        behind, age: of the news that were used, see `Window`.
        senders, receivers, messages: how many messages were sent over each link.
        message_bytes: of each.
    """

    first: int
    seconds: np.ndarray
    steps: np.ndarray
    behind: np.ndarray
    age: np.ndarray
    senders: np.ndarray
    receivers: np.ndarray
    messages: np.ndarray
    message_bytes: float

    @property
    def last(self) -> int:
        """Rounds done after it."""
        return self.first + len(self.seconds)

    @classmethod
    def of(cls, window: Window, num_clients: int, message_bytes: float) -> Iterator[Journal]:
        """What is to be told of each portion of a window."""
        n, ends = num_clients, window.portions - 1
        round = np.repeat(np.arange(window.num_rounds), np.diff(window.done, prepend=0))
        steps = np.bincount(round * n + window.client, minlength=window.num_rounds * n)
        steps, behind = steps.reshape(-1, n), window.behind.astype(np.float64)
        portion = np.repeat(np.arange(len(ends)), np.diff(window.sent[ends], prepend=0))
        arcs = window.senders * n + window.receivers
        codes, counts = np.unique(portion * n * n + arcs, return_counts=True)
        senders, receivers = np.divmod(codes % (n * n), n)
        links = np.searchsorted(codes, n * n * np.arange(1, len(ends) + 1))
        columns = window.portions, window.used[ends], links
        begin = 0, 0, 0
        for end in zip(*(column.tolist() for column in columns), strict=True):
            rounds, news, over = map(slice, begin, end)
            yield cls(
                window.first + begin[0],
                window.seconds[rounds],
                steps[rounds],
                behind[news],
                window.age[news],
                senders[over],
                receivers[over],
                counts[over],
                message_bytes,
            )
            begin = end
