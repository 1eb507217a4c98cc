"""The traffic of a round: what it takes, as the simulated clock and the books reckon with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from p2pqg.algorithms.effects import AllReduce, Decide, Effect, Exchange, Gossip

Taken = tuple[str, Any]
Traffic = tuple[Taken, ...]
"""What one round took, in order: ("gradient", how many each client computed), ("gossip", bytes of
one client's message to one neighbor; or [clients], where they differ), ("allreduce", bytes of the
tensor), ("allgather", bytes of one client's message to all)."""


def computed(taken: list[Taken], gradients: int) -> None:
    """Add so many gradients to the traffic; those one after the other are one entry."""
    before = taken.pop()[1] if taken and taken[-1][0] == "gradient" else 0
    taken.append(("gradient", before + gradients))


def of_all(parts: Sequence[list[Traffic]], clients: Sequence[int]) -> list[Traffic]:
    """What rounds took, from what each host put down of its own clients.

    Args:
        parts: of each host, the same rounds.
        clients: of each host, how many.
    """
    first, *others = parts
    if all(part == first for part in others) and not any(_differ(taken) for taken in first):
        return first
    return [
        tuple(_of_all(same, clients) for same in zip(*taken, strict=True))
        for taken in zip(*parts, strict=True)
    ]


def _differ(taken: Traffic) -> bool:
    return any(isinstance(size, tuple) for _, size in taken)


def _of_all(same: Sequence[Taken], clients: Sequence[int]) -> Taken:
    """One entry of all hosts; sizes are told client by client only where they differ."""
    kind = same[0][0]
    sizes: list[float] = []
    for (_, size), count in zip(same, clients, strict=True):
        sizes += size if isinstance(size, tuple) else [size] * count
    return kind, sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def weighed(effect: Effect) -> tuple[str, float]:
    """What an exchange sends, in bytes per client; it may have no rows to measure.

    Of messages that each client compresses to a size of its own, what they were before.
    """
    if isinstance(effect, AllReduce | Decide):
        return exact_mean(effect)
    if isinstance(effect, Gossip) and isinstance(effect.message_bytes, Real):
        return "gossip", float(effect.message_bytes)
    skipped = 2 if isinstance(effect, Exchange) else 1  # clients; and slots, one per message
    size = sum(math.prod(t.shape[skipped:]) * t.itemsize for t in effect.tensors)
    return "gossip", float(size)


def exact_mean(effect: AllReduce | Decide) -> tuple[str, float]:
    """What a mean over all clients takes, as of `Traffic`."""
    if isinstance(effect, AllReduce) and effect.message_bytes is not None:
        return "allgather", float(effect.message_bytes)
    size = sum(math.prod(t.shape[1:]) * t.itemsize for t in effect.tensors)
    return "allreduce", float(size)
