"""K-GT, gradient tracking with local steps: Liu, Lin, Koloskova, Stich 2023, arXiv:2301.01313.

Corrections c, which sum to zero over the clients, make every local step one along an estimate of
everybody's mean gradient; what all steps of a round did tells the next corrections. With
local_steps = 1, outer_lr = 1 and constant lr this is dsgd-gt of form atc.
    x    [clients, params]  model          lr           step size of a local step (eta_c)
    c    [clients, params]  correction     outer_lr     of what they did together (eta_s)
    z    [clients, params]  mean step      local_steps  between two exchanges (K)
    t    rounds done
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, allreduce, gossip
from p2pqg.algorithms.local_steps import LocalSteps
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params(LocalSteps):
    lr: float
    local_steps: int = 5
    """Gradient steps between two exchanges, each on a batch of its own, >= 1."""
    outer_lr: Annotated[float, "> 0"] = 1.0
    """How much of what the local steps did is done, > 0. 1: all of it."""
    init: Literal["zero", "allreduce"] = "zero"
    """zero: c = 0; allreduce: c = mean g - g at the start, one more batch and one all-reduce."""


class State(NamedTuple):
    x: torch.Tensor
    c: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    return State(x=x0, c=torch.zeros_like(x0), t=0)


@algorithm(
    "k-gt",
    params=Params,
    start=start,
    needs=("doubly-stochastic",),
    fixed=("init",),
    source="Liu et al. 2023; code of decent-bench",
)
def k_gt(s: State, grad: Grad, p: Params) -> Round[State]:
    """Gradient tracking with local steps: sums of gradients are tracked."""
    c = s.c
    if s.t == 0 and p.init == "allreduce":
        g = grad(s.x)
        mean = yield allreduce(g)
        c = mean - g
    y = s.x
    for _ in range(p.local_steps):
        y = y - p.lr * (grad(y) + c)
    z = (s.x - y) / (p.local_steps * p.lr)
    x, mixed = yield gossip(s.x - p.outer_lr * (s.x - y), z)
    return State(x=x, c=c - z + mixed, t=s.t + 1)
