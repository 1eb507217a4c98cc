"""What happened in a round, for the books: the same from every host, as plain data."""

from __future__ import annotations

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
    def of(cls, window: Window, num_clients: int, message_bytes: float) -> Journal:
        """What is to be told of a window."""
        round = np.repeat(np.arange(len(window.done)), np.diff(window.done, prepend=0))
        size = len(window.done) * num_clients
        steps = np.bincount(round * num_clients + window.client, minlength=size)
        arcs = window.senders * num_clients + window.receivers
        codes, counts = np.unique(arcs, return_counts=True)
        senders, receivers = np.divmod(codes, num_clients)
        return cls(
            window.first,
            window.seconds,
            steps.reshape(-1, num_clients),
            window.behind.astype(np.float64),
            window.age,
            senders,
            receivers,
            counts,
            message_bytes,
        )
