"""A user's own method."""
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from p2pqg import algorithm, gossip


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float


class State(NamedTuple):
    x: Tensor


@algorithm("mine", params=Params, start=State)
def mine(s, grad, p):
    x = yield gossip(s.x - p.lr * grad(s.x))
    return State(x=x)
