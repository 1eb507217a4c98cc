"""The paper's partition, with the draws of its official code: groups of ten, balanced, re-cut.

1. Shuffle the samples; put the clients into groups of ten (the last one takes the rest) and give
   each group a contiguous piece of the samples.
2. In each group: per class, shares from Dir(alpha), none for clients that are full already; again
   until the smallest client has half of the mean size.
3. Put all lists end to end and cut them into equal pieces: the clients. These straddle the borders
   of step 2, so they are a bit more mixed than the draw.

So alpha acts within a group, not over all clients: with 32 clients, the last group is a pair.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.data.partition import PARTITIONS

GROUP = 10
TRIES = 10_000


@dataclass(frozen=True, kw_only=True)
class Params:
    reslice: bool = True
    """Step 3. False: the lists of step 2, of unequal size, as RelaySGD's code uses them."""


@PARTITIONS.register(
    "qg-dirichlet",
    params=Params,
    uses_alpha=True,
    source="Lin et al., ICML 2021, official code (partition_data.py)",
)
def qg_dirichlet(
    labels: np.ndarray, num_clients: int, alpha: float, seed: int, params: Params
) -> list[np.ndarray]:
    """The paper's: per class Dir(alpha) in groups of ten clients, balanced, equal sizes.

    Equal to the official code, index by index, for RandomState(seed). The remainder of
    samples / clients is dropped.
    """
    # The official generator, for the same draws; shuffling indices or (index, label) is the same.
    random = np.random.RandomState(seed)  # noqa: NPY002 bit-compatible with the official code
    order = np.arange(len(labels))
    random.shuffle(order)
    classes = np.unique(labels, return_inverse=True)[1]

    num_groups = math.ceil(num_clients / GROUP)
    stride = int(GROUP / num_clients * len(labels))
    lists: list[np.ndarray] = []
    for group in range(num_groups):
        last = group == num_groups - 1
        piece = order[group * stride : len(labels) if last else (group + 1) * stride]
        size = min(GROUP, num_clients - group * GROUP)
        # Below two samples per client the official rule asks for nothing, and draws nothing.
        smallest = max(int(0.50 * len(piece) / size), 0 if params.reslice else 1)
        lists += _draw_group(random, piece, classes, size, alpha, smallest)
    if not params.reslice:
        return lists

    size = int(1.0 / num_clients * len(labels))
    if size == 0:
        raise DataError(
            f"partition qg-dirichlet: int(1 / {num_clients} * {len(labels)}) = 0 samples for each "
            "client, as the official code computes it; use one client less, or partition iid"
        )
    samples = np.concatenate(lists)
    return [samples[client * size : (client + 1) * size] for client in range(num_clients)]


def _draw_group(
    random: np.random.RandomState,
    piece: np.ndarray,
    classes: np.ndarray,
    num_clients: int,
    alpha: float,
    smallest: int,
) -> list[np.ndarray]:
    """Step 2 for one group: the indices in `piece`, as one array per client."""
    num_classes = classes.max() + 1
    members = [piece[classes[piece] == label] for label in range(num_classes)]
    mean_size = len(piece) / num_clients
    bounds = np.zeros((num_classes, num_clients + 1), dtype=np.int64)
    bounds[:, -1] = [len(own) for own in members]
    alphas = np.repeat(alpha, num_clients)
    for _ in range(TRIES):
        # One call for all classes consumes the same randomness as one call per class.
        shares = random.dirichlet(alphas, size=num_classes)
        # A tiny alpha underflows to a row of NaN and inf, which then counts as "nobody wants it".
        shares = np.nan_to_num(shares, nan=0.0, posinf=0.0)
        held = np.zeros(num_clients, dtype=np.int64)
        for share, bound in zip(shares, bounds, strict=True):
            wanted = share * (held < mean_size)
            total = wanted.sum()
            # If nobody with room wants the class, the official code divides 0 by 0, and cutting at
            # what the NaN is cast to leaves the whole class to the last client. Likewise here.
            bound[1:-1] = ((wanted / total).cumsum() * bound[-1])[:-1] if total > 0 else 0
            held += bound[1:] - bound[:-1]  # rounded down
        if held.min() >= smallest:
            break
    else:
        raise DataError(
            f"partition qg-dirichlet: in {TRIES} draws, always a client with fewer than {smallest} "
            f"samples ({num_clients} clients in the group, alpha {alpha}); use a larger alpha, "
            "fewer clients, or another seed"
        )
    pieces = [np.split(own, bound[1:-1]) for own, bound in zip(members, bounds, strict=True)]
    return [np.concatenate(own) for own in zip(*pieces, strict=True)]
