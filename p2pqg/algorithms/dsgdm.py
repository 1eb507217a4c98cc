"""DSGDm(-N), DSGD with local momentum: Algorithm 1 of Lin et al., ICML 2021, arXiv:2102.04761.

Every client keeps a momentum of its own, which never travels, also through several local steps.
With beta = 0 this is DSGD; on the complete graph from a common start it is SGDm(-N) on the mean
gradient.
    x    [clients, params]  model          lr    step size of this round
    m    [clients, params]  momentum       beta  memory of m, no dampening
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.algorithms.local_steps import LocalSteps
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum, in [0, 1). 0: DSGD."""


@dataclass(frozen=True, kw_only=True)
class LocalParams(LocalSteps, Params):
    """With local steps."""


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, m=torch.zeros_like(x0))


@algorithm("dsgdm", params=LocalParams, start=start, source="Lin et al., ICML 2021, Algorithm 1")
def dsgdm(s: State, grad: Grad, p: LocalParams) -> Round[State]:
    """Decentralized SGD with local heavy-ball momentum."""
    half, m = s.x, s.m
    for _ in range(p.local_steps):
        m = p.beta * m + grad(half)  # line 4 of Algorithm 1
        half = half - p.lr * m  # line 6
    x = yield gossip(half)  # line 7
    return State(x=x, m=m)


@algorithm("dsgdm-n", params=LocalParams, start=start, source="Lin et al., ICML 2021, and its code")
def dsgdm_n(s: State, grad: Grad, p: LocalParams) -> Round[State]:
    """Decentralized SGD with local Nesterov momentum."""
    half, m = s.x, s.m
    for _ in range(p.local_steps):
        g = grad(half)
        m = p.beta * m + g
        half = half - p.lr * (g + p.beta * m)
    x = yield gossip(half)
    return State(x=x, m=m)
