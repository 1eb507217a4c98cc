"""rng(seed, purpose, client, ...) -> a random generator of its own.

Randomness is keyed by what it is for, never by the process or the packing that happens to draw it:
adding a client, a metric or an actor does not shift anybody else's draws.
"""

from __future__ import annotations

import hashlib

import numpy as np


def rng(seed: int, purpose: str, *keys: int) -> np.random.Generator:
    """A generator that depends on exactly (seed, purpose, keys).

    Args:
        seed: the run's seed, >= 0.
        purpose: what is drawn, e.g. "batches", "augment", "partition".
        keys: whom and when, e.g. client, round; integers >= 0.

    >>> rng(1, "batches", 3).random() == rng(1, "batches", 3).random()
    True
    >>> rng(1, "batches").random() == rng(1, "batches", 0).random()
    False
    """
    word = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    # The count comes first: SeedSequence pads with zeros, so (a,) and (a, 0) would be the same.
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([len(keys), word, seed, *keys]))
    )
