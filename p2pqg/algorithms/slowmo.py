"""SlowMo, slow momentum over DSGDm(-N): Wang, Tantia, Ballas, Rabbat, ICLR 2020, arXiv:1910.00643.

After every tau rounds of the base method all clients average exactly, take their common progress
since the last time as a gradient of its own, and step with momentum along it. The first such step
comes after tau rounds (the released code of QG takes one after the first). Its unit is the lr of
that round, and every client keeps its momentum of the base method over it, as in that code. With
average = False nobody averages and every client keeps a slow momentum of its own. With
slow_beta = 0 and slow_alpha = 1 this is DSGDm(-N) with an exact average every tau rounds; then with
tau = 1 and beta = 0, SGD.
    x       [clients, params]  model                  lr           step size of this round
    m       [clients, params]  momentum of the base   beta         memory of m
    anchor  [clients, params]  last slow model        slow_alpha   slow step size, in units of lr
    u       [clients, params]  slow momentum          slow_beta    memory of u
    t       rounds done
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, allreduce, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the base method's momentum, in [0, 1). 0: DSGD."""
    nesterov: bool = True
    """Step along g + beta m rather than m."""
    tau: Annotated[int, ">= 1"] = 12
    """The slow step comes after every tau-th round, >= 1."""
    slow_beta: Annotated[float, "[0, 1)"] = 0.7
    """Memory of the slow momentum, in [0, 1). 0: periodic averaging."""
    slow_alpha: Annotated[float, "> 0"] = 1.0
    """Slow step size, > 0. 1: as far as the base method went."""
    average: bool = True
    """Average exactly before the slow step; False: every client for itself, at no cost."""


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor
    anchor: torch.Tensor
    u: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    return State(x=x0, m=torch.zeros_like(x0), anchor=x0, u=torch.zeros_like(x0), t=0)


@algorithm("slowmo", params=Params, start=start, source="Wang et al., ICLR 2020")
def slowmo(s: State, grad: Grad, p: Params) -> Round[State]:
    """SlowMo: every tau rounds a slow momentum step over decentralized SGD with momentum."""
    g = grad(s.x)
    m = p.beta * s.m + g
    half = s.x - p.lr * (g + p.beta * m if p.nesterov else m)
    x = yield gossip(half)
    t = s.t + 1
    if t % p.tau:
        return s._replace(x=x, m=m, t=t)
    if p.average:
        x = yield allreduce(x)
    u = p.slow_beta * s.u + (s.anchor - x) / p.lr
    anchor = s.anchor - p.slow_alpha * p.lr * u
    return State(x=anchor, m=m, anchor=anchor, u=u, t=t)
