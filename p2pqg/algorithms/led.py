"""LED, local exact diffusion: Alghunaim, IEEE TAC 2024.

Exact diffusion (D2) with several local steps: y remembers what mixing did to the local steps of
all rounds and is taken back bit by bit in the next ones. It sums to zero over the clients, and at
rest y is what keeps each client from its own optimum. With local_steps = 1, beta = 1 and constant
lr this is d2.
    x    [clients, params]  model     lr           step size of a local step (alpha in the paper)
    y    [clients, params]  dual      beta         of y in a local step
                                      local_steps  between two exchanges (tau)

Stable as D2 is: the smallest eigenvalue of W above -1/3, or (W + I) / 2, as in the paper: `lazy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms import d2
from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.algorithms.local_steps import LocalSteps
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params(LocalSteps):
    lr: float
    local_steps: int = 5
    """Gradient steps between two exchanges, each on a batch of its own, >= 1."""
    beta: Annotated[float | None, "> 0"] = None
    """Weight of y in a local step, > 0; auto: 1 / local_steps: a round takes y back once."""
    lazy: bool = False
    """Mix with (W + I) / 2: slower, but stable on every symmetric W."""


class State(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, y=torch.zeros_like(x0))


@algorithm(
    "led",
    params=Params,
    start=start,
    needs=d2.needs,
    source="Alghunaim, IEEE TAC 2024; code of decent-bench",
)
def led(s: State, grad: Grad, p: Params) -> Round[State]:
    """Local exact diffusion: D2 with several local steps."""
    beta = 1 / p.local_steps if p.beta is None else p.beta
    half = s.x
    for _ in range(p.local_steps):
        half = half - (p.lr * grad(half) + beta * s.y)
    x = yield gossip(half)
    if p.lazy:
        x = (half + x) / 2
    return State(x=x, y=s.y + half - x)
