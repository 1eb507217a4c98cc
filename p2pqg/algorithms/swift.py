"""SWIFT, wait-free learning: Bornstein, Rabbani, Wang, Bedi, Huang, ICLR 2023, arXiv:2210.14026.

After each step a client sends its model to all neighbors; every s-th step it mixes its own with the
last one that came from each, however old that is. A neighbor not heard of yet counts as the client
itself (in the authors' code, as the model all start from). W is the network's; the paper's weights,
which depend on how often each client acts, are not there.
    x    [clients, params]  model             lr     step size of this round
    t    [clients, 1]       steps done        every  s, steps between mixings
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.asynchronous import OwnPace, Step, arrived, push
from p2pqg.algorithms.effects import Grad, algorithm
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    every: Annotated[int, ">= 1"] = 1
    """Steps between mixings, >= 1."""


class State(NamedTuple):
    x: torch.Tensor
    t: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, t=torch.zeros_like(x0[:, :1]))


@algorithm(
    "swift",
    params=Params,
    start=start,
    asynchronous=OwnPace(),
    source="Bornstein et al., ICLR 2023, and its code",
)
def swift(s: State, grad: Grad, p: Params) -> Step[State]:
    """SWIFT: wait-free; mixes with the last model that came from each neighbor."""
    half, t = s.x - p.lr * grad(s.x), s.t + 1
    yield push(half)
    inbox = yield arrived("last")
    return State(x=torch.where(t % p.every == 0, inbox.mix(half), half), t=t)
