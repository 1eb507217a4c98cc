"""The batches of some clients, as a task prepares them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from p2pqg.data.feeding.feed import Feed, Looks
from p2pqg.data.feeding.file_feed import FileFeed
from p2pqg.engine.spec import Shards, Task


def feed_of(
    task: Task,
    shards: Shards,
    test: tuple[np.ndarray, np.ndarray],
    clients: Sequence[int],
    device: torch.device,
    dtype: torch.dtype,
) -> Feed:
    """What feeds a model: of samples that are arrays, or of the names of their files.

    Args:
        task: how samples become inputs.
        shards: of the clients.
        test: the test set.
        clients: their numbers in the whole network, which keys what is drawn.
        device: of inputs.
        dtype: of inputs.
    """
    looks = Looks(
        shape=tuple(task.input_shape),
        mean=task.mean,
        std=task.std,
        augmentation=task.augmentation,
        batch_size=task.batch_size,
        seed=task.seed,
        device=device,
        dtype=dtype,
    )
    kind = FileFeed if shards.x.dtype.kind == "S" else Feed
    return kind(shards.x, shards.y, shards.sizes, test, clients, looks)
