"""Texts as the frozen part of a model sees them: computed once, and remembered."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Protocol

import numpy as np

from p2pqg.data._arrays import Arrays
from p2pqg.data._cache import Part, remembered


class Encoder(Protocol):
    """What is the same for all clients in all rounds.

    Attributes:
        key: changes when its results do, but for their last digits.
        place: what computes; the last digits change with it.
    """

    @property
    def key(self) -> str: ...

    @property
    def place(self) -> str: ...

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """int32 tokens [texts, length] -> float32 states [texts, length, width]."""
        ...


def encoded(arrays: Arrays, encoder: Encoder | None) -> Arrays:
    """The data set with states in place of tokens; as it is without an encoder."""
    if encoder is None:
        return arrays
    key = encoder.key
    train, test = (
        _states(encoder, key, x, y)
        for x, y in ((arrays.train_x, arrays.train_y), (arrays.test_x, arrays.test_y))
    )
    return dataclasses.replace(arrays, train_x=train, test_x=test, frozen=key)


def _states(encoder: Encoder, key: str, tokens: np.ndarray, y: np.ndarray) -> np.ndarray:
    content = hashlib.blake2b(np.ascontiguousarray(tokens).tobytes()).hexdigest()
    parts = (key, encoder.place, tokens.shape, content)
    return remembered("states", parts, lambda: Part(encoder(tokens), y)).x
