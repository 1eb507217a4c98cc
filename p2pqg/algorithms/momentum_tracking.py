"""Momentum Tracking: Takezawa, Bao, Niwa, Sato, Yamada, TMLR 2023, arXiv:2209.15505.

Gradient tracking whose tracked quantity is the momentum: u - c estimates everybody's mean
momentum, and the corrections c sum to zero over the clients. With beta = 0 and init = zero this is
gradient tracking (dsgd-gt of the same form).
    x    [clients, params]  model             lr    step size of this round
    u    [clients, params]  momentum          beta  memory of u, no dampening
    c    [clients, params]  correction        t     rounds done
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, allreduce, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum, in [0, 1). 0: gradient tracking."""
    form: Literal["cta", "atc"] = "cta"
    """cta: W x - lr (u - c), the authors' code; atc: W (x - lr (u - c))."""
    init: Literal["zero", "allreduce"] = "zero"
    """zero: u = c = 0; allreduce: (g - mean g) / (1 - beta), one all-reduce, the authors' code."""


class State(NamedTuple):
    x: torch.Tensor
    u: torch.Tensor
    c: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    return State(x=x0, u=torch.zeros_like(x0), c=torch.zeros_like(x0), t=0)


@algorithm(
    "momentum-tracking",
    params=Params,
    start=start,
    needs=("doubly-stochastic",),
    fixed=("init",),
    source="Takezawa et al., TMLR 2023, and its code",
)
def momentum_tracking(s: State, grad: Grad, p: Params) -> Round[State]:
    """Momentum tracking: every client follows an estimate of the mean momentum."""
    g = grad(s.x)
    u, c = s.u, s.c
    if s.t == 0 and p.init == "allreduce":
        mean = yield allreduce(g)
        u = c = (g - mean) / (1 - p.beta)
    u = p.beta * u + g
    step = p.lr * (u - c)
    if p.form == "cta":
        mixed, change = yield gossip(s.x, c - u)
        x = mixed - step
    else:
        x, change = yield gossip(s.x - step, c - u)
    return State(x=x, u=u, c=change + u, t=s.t + 1)
