"""Algorithms of a single test: as `@algorithm` files them, but nobody else finds them."""

from typing import NamedTuple

import torch

from p2pqg.algorithms import ALGORITHMS, algorithm
from p2pqg.algorithms.dsgd import Params
from p2pqg.base.registry import Entry


class State(NamedTuple):
    x: torch.Tensor
    t: int


def unfiled(method, **said) -> Entry:
    """The method's entry; `said` is what is said to `@algorithm`, by default of a `State`."""
    usual = {"params": Params, "start": lambda x0: State(x0, 0)}
    algorithm(method.__name__, **usual | said)(method)
    return ALGORITHMS._entries.pop(method.__name__)
