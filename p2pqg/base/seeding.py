"""rng(seed, purpose, client, ...) -> a random generator of its own; uniforms: one draw per key.

Randomness is keyed by what it is for, never by the process or the packing that happens to draw it:
adding a client, a metric or an actor does not shift anybody else's draws.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from operator import index

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
    words = list(_prefix(len(keys), purpose, index(seed)))
    for key in map(index, keys):
        words += [key] if 0 <= key < 2**32 else _words(key)
    # As of a list of the numbers, which NumPy takes five times as long to cut into words.
    sequence = np.random.SeedSequence(np.array(words, dtype=np.uint32))
    return np.random.Generator(np.random.PCG64(sequence))


def uniforms(seed: int, purpose: str, *keys: int | np.ndarray) -> np.ndarray:
    """A uniform draw for each combination of keys, without a generator for each of them.

    Every entry depends on exactly (seed, purpose, its own keys): who else is drawn with it, and in
    which order, makes no difference.

    Args:
        seed: the run's seed, >= 0.
        purpose: what is drawn, e.g. "loss", "jitter".
        keys: whom and when, e.g. senders, receivers, round; integers >= 0 that broadcast.

    Returns:
        float64 in [0, 1), multiples of 2**-53, of the shape that the keys broadcast to.

    Source: the keys are hashed one after the other by the finalizer of SplitMix64 (Steele, Lea,
    Flood, OOPSLA 2014; constants of Stafford's variant 13).

    >>> both = uniforms(1, "loss", np.array([3, 4]), 7)
    >>> bool(both[1] == uniforms(1, "loss", 4, 7))
    True
    """
    bits: np.ndarray | np.uint64 = _first_word(index(seed), purpose, len(keys))
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is what is meant
        for key in keys:
            bits = _scramble(_scramble(bits ^ np.asarray(key).astype(np.uint64)))
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53)


@lru_cache(maxsize=1024)
def _prefix(num_keys: int, purpose: str, seed: int) -> tuple[int, ...]:
    # The count comes first: SeedSequence pads with zeros, so (a,) and (a, 0) would be the same.
    return (*_words(num_keys), *_words(_word(purpose)), *_words(seed))


def _words(number: int) -> list[int]:
    """Its 32-bit words, the lowest first."""
    if number < 0:
        raise ValueError(f"seeds and keys must be >= 0, got {number}")
    words = [number & 0xFFFFFFFF]
    while number := number >> 32:
        words.append(number & 0xFFFFFFFF)
    return words


@lru_cache(maxsize=1024)
def _first_word(seed: int, purpose: str, num_keys: int) -> np.uint64:
    return np.uint64(int(rng(seed, purpose, num_keys).integers(2**64, dtype=np.uint64)))


def _scramble(bits: np.ndarray | np.uint64) -> np.ndarray | np.uint64:
    """A bijection of 64 bits in which every bit of the result depends on every bit."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    spare = bits >> np.uint64(30)
    out = spare if isinstance(spare, np.ndarray) else None  # arrays may be large
    bits ^= spare
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= np.right_shift(bits, np.uint64(27), out=out)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= np.right_shift(bits, np.uint64(31), out=out)
    return bits


def _word(purpose: str) -> int:
    """64 bits for a text."""
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
