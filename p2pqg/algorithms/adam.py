"""Adam and DAdam: Kingma, Ba, ICLR 2015; decentralized as in the code of Lin et al., ICML 2021.

Every client keeps its own two moments and gossips the model it steps to; the centralized Adam is
the same step on the all-reduced gradient. With one client both are torch.optim.Adam.
    x    [clients, params]  model                    lr     step size of this round
    m    [clients, params]  mean of the gradients    beta1  memory of m
    v    [clients, params]  mean of their squares    beta2  memory of v
    t    [clients, 1]  steps that each has made, for the bias correction
                                                     eps    keeps the division finite
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, allreduce, gossip
from p2pqg.algorithms.local_steps import LocalSteps
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta1: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the first moment, in [0, 1). 0: the last gradient."""
    beta2: Annotated[float, "[0, 1)"] = 0.99
    """Memory of the second moment, in [0, 1). The paper says 0.99; its code defaults to 0.999."""
    eps: Annotated[float, ">= 0"] = 1e-8
    """Added to the root of the second moment, >= 0."""


@dataclass(frozen=True, kw_only=True)
class LocalParams(LocalSteps, Params):
    """With local steps."""


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor
    v: torch.Tensor
    t: torch.Tensor


def start(x0: torch.Tensor) -> State:
    none = torch.zeros_like(x0[:, :1], dtype=torch.int64)
    return State(x=x0, m=torch.zeros_like(x0), v=torch.zeros_like(x0), t=none)


def correction(beta: float, t: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """[clients, 1]: 1 - beta^t, what a mean of t steps that began at zero is short of."""
    return (1 - beta ** t.double()).to(like)


def adam_step(s: State, g: torch.Tensor, p: Params) -> State:
    """One step of Adam with bias correction."""
    t = s.t + 1
    m = p.beta1 * s.m + (1 - p.beta1) * g
    v = p.beta2 * s.v + (1 - p.beta2) * g * g
    m_hat = m / correction(p.beta1, t, m)
    v_hat = v / correction(p.beta2, t, v)
    return State(x=s.x - p.lr * m_hat / (v_hat.sqrt() + p.eps), m=m, v=v, t=t)


@algorithm(
    "adam",
    params=Params,
    start=start,
    centralized=True,
    shared=("x", "m", "v", "t"),
    source="Kingma, Ba, ICLR 2015",
)
def adam(s: State, grad: Grad, p: Params) -> Round[State]:
    """Centralized Adam on the mean of the clients' gradients."""
    g = yield allreduce(grad(s.x))
    return adam_step(s, g, p)


@algorithm("dadam", params=LocalParams, start=start, source="Lin et al., ICML 2021, and its code")
def dadam(s: State, grad: Grad, p: LocalParams) -> Round[State]:
    """Decentralized Adam: local moments, then gossip."""
    for _ in range(p.local_steps):
        s = adam_step(s, grad(s.x), p)
    x = yield gossip(s.x)
    return s._replace(x=x)
