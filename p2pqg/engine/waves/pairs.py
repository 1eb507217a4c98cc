"""What the two of a meeting leave it with: their mean, the same bits for both."""

from __future__ import annotations

import torch
from torch import Tensor

from p2pqg.engine.answers import Parcel


def averaged(mine: Parcel, theirs: Parcel, joint: int) -> tuple[Parcel, Parcel]:
    """What pairs leave a meeting with, where both are in this block.

    Args:
        mine: [steps, ...]; its first rows are with those of `theirs`, in their order. Then come
            the ones of the joint pairs, then the others, and at last those who are alone.
        theirs: [met, ...].
        joint: how many pairs.
    """
    found = list[tuple[Tensor, Tensor]]()
    for k, own in enumerate(mine):
        asked = theirs[0].shape[0] if theirs else 0
        means = (own[:asked] + theirs[k]).div_(2) if asked else own[:0]
        parts = [means] if asked else []
        if joint:
            ones, others = own[asked : asked + 2 * joint].chunk(2)
            parts += [(ones + others).div_(2)] * 2
        if asked + 2 * joint < own.shape[0]:
            parts.append(own[asked + 2 * joint :])
        found.append((parts[0] if len(parts) == 1 else torch.cat(parts), means))
    return tuple(one for one, _ in found), tuple(other for _, other in found) if theirs else ()


def averaged_with(pool: Parcel, other: Tensor, steps: int) -> tuple[Parcel, Parcel]:
    """The means where some clients are in other blocks.

    Args:
        pool: [steps + met, ...], then the rows that came from other blocks.
        other: int64 [steps + met], the position of whom each averages with.
        steps: how many.
    """
    count = len(other)
    mixed = [(t[:count] + t.index_select(0, other)).div_(2) for t in pool]
    return tuple(t[:steps] for t in mixed), tuple(t[steps:] for t in mixed)
