"""DSGDm with synchronised buffers or gradients: the variants of Table 5 of Lin et al., ICML 2021.

What if momentum were simply shared? Every round the momentum, or the gradient that feeds it, is
mixed too: with the neighbors (`gossip`) or with everyone (`allreduce`). Written from the paper's
text, not in its released code (reconstruction). With beta = 0 and what = momentum this is DSGD;
with W = I and over = gossip, every client alone.
    x    [clients, params]  model          lr    step size of this round
    m    [clients, params]  momentum       beta  memory of m, no dampening
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from p2pqg.algorithms import dsgdm
from p2pqg.algorithms.dsgdm import State
from p2pqg.algorithms.effects import Grad, Round, algorithm, allreduce, gossip


@dataclass(frozen=True, kw_only=True)
class Params(dsgdm.Params):
    nesterov: bool = True
    """Step along g + beta m rather than m."""
    what: Literal["momentum", "gradient"] = "momentum"
    """momentum: mixed after the step, in the model's message; gradient: mixed before the step."""
    over: Literal["gossip", "allreduce"] = "gossip"
    """With whom: the neighbors, or everyone."""


@algorithm(
    "dsgdm-sync",
    params=Params,
    start=dsgdm.start,
    source="Lin et al., ICML 2021, Table 5 (reconstruction)",
    reconstruction=True,
)
def dsgdm_sync(s: State, grad: Grad, p: Params) -> Round[State]:
    """Decentralized SGD with momentum that is synchronised every round."""
    g = grad(s.x)
    if p.what == "gradient":
        g = yield (gossip(g, models=False) if p.over == "gossip" else allreduce(g))
    m = p.beta * s.m + g
    half = s.x - p.lr * (g + p.beta * m if p.nesterov else m)
    if p.what == "momentum" and p.over == "gossip":
        x, m = yield gossip(half, m)
        return State(x=x, m=m)
    x = yield gossip(half)
    if p.what == "momentum":
        m = yield allreduce(m)
    return State(x=x, m=m)
