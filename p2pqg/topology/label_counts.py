"""Networks that look at the clients' labels: what they are told, and how they ask for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from p2pqg.base.errors import TopologyError

COUNTS = "label_counts"
"""Of a user's function the parameter, of a graph the attribute: [clients, classes], how many
samples of each class clients have."""


class LabelsWanted(TopologyError):
    """Nobody has said what the clients' labels are.

    Attributes:
        num_clients: of the network that wants to know.
    """

    def __init__(self, name: str, num_clients: int) -> None:
        super().__init__(
            f"{name!r:.80} looks at the clients' labels, which a run knows of from its start; "
            "elsewhere build it with label_counts, [clients, classes]."
        )
        self.num_clients = num_clients


def checked(label_counts: Any, num_clients: int, name: str) -> np.ndarray:
    """What the clients of a network see that looks at it.

    Raises:
        LabelsWanted: it was not said; TopologyError where it is wrong.
    """
    if label_counts is None:
        raise LabelsWanted(name, num_clients)
    counts = np.asarray(label_counts)
    if (
        counts.ndim != 2
        or len(counts) != num_clients
        or not (counts >= 0).all()
        or not counts.any()
    ):
        raise TopologyError(
            f"{name!r:.80}: label_counts must be [{num_clients}, classes], numbers >= 0 and not "
            f"all 0, got shape {list(counts.shape)}."
        )
    return counts
