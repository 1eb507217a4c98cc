"""The traffic of a round: what it takes, as the simulated clock and the books reckon with it."""

from __future__ import annotations

import math

from p2pqg.algorithms.effects import AllReduce, Decide, Effect, Exchange

Traffic = tuple[tuple[str, float], ...]
"""What one round took, in order: ("gradient", how many each client computed), ("gossip", bytes of
one client's message to one neighbor), ("allreduce", bytes of the tensor), ("allgather", bytes of
one client's message to all)."""


def computed(taken: list[tuple[str, float]], gradients: int) -> None:
    """Add so many gradients to the traffic; those one after the other are one entry."""
    before = taken.pop()[1] if taken and taken[-1][0] == "gradient" else 0
    taken.append(("gradient", before + gradients))


def weighed(effect: Effect) -> tuple[str, float]:
    """What an exchange sends, in bytes per client; it may have no rows to measure."""
    if isinstance(effect, AllReduce | Decide):
        return exact_mean(effect)
    skipped = 2 if isinstance(effect, Exchange) else 1  # clients; and slots, one per message
    size = sum(math.prod(t.shape[skipped:]) * t.itemsize for t in effect.tensors)
    return "gossip", float(size)


def exact_mean(effect: AllReduce | Decide) -> tuple[str, float]:
    """What a mean over all clients takes, as of `Traffic`."""
    if isinstance(effect, AllReduce) and effect.message_bytes is not None:
        return "allgather", float(effect.message_bytes)
    size = sum(math.prod(t.shape[1:]) * t.itemsize for t in effect.tensors)
    return "allreduce", float(size)
