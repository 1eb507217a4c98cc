"""What happened in a round, for the books: the same from every host, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # brings torch, which the driver does without
    from p2pqg.engine.waves.timeline import Window


class Journal(NamedTuple):
    """What happened in a round, in the whole network.

    Attributes:
        seconds: on the clock at its end.
        steps: int64 [clients], made by each.
        behind, age: of the news that were used, see `Window`.
        senders, receivers, messages: how many messages were sent over each link.
        message_bytes: of each.
    """

    seconds: float
    steps: np.ndarray
    behind: np.ndarray
    age: np.ndarray
    senders: np.ndarray
    receivers: np.ndarray
    messages: np.ndarray
    message_bytes: float


def journals(window: Window, num_clients: int, message_bytes: float) -> list[Journal]:
    """What happened in each round of a window."""
    client = np.array(window.client, dtype=np.int64)
    behind, age = np.array(window.behind, dtype=np.float64), np.array(window.age)
    arcs = np.array([window.senders, window.receivers], dtype=np.int64)
    found = []
    for k, seconds in enumerate(window.seconds):
        steps, news, sent = (
            slice(ends[k - 1] if k else 0, ends[k])
            for ends in (window.done, window.news, window.sent)
        )
        codes, counts = np.unique(arcs[0, sent] * num_clients + arcs[1, sent], return_counts=True)
        made = np.bincount(client[steps], minlength=num_clients)
        senders, receivers = np.divmod(codes, num_clients)
        found.append(
            Journal(
                seconds, made, behind[news], age[news], senders, receivers, counts, message_bytes
            )
        )
    return found
