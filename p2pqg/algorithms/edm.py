"""EDM, exact diffusion with momentum: arXiv:2501.19082.

D2 fed with a momentum instead of the gradient, in correction form: c remembers what the network
did to the last step and takes it back. Written from secondary sources (reconstruction); the
momentum is beta m + g, as in the other methods here. With beta = 0 and constant lr this is D2; on
the complete graph from a common start, SGDm.
    x    [clients, params]  model          lr    step size of this round
    m    [clients, params]  momentum       beta  memory of m, no dampening
    c    [clients, params]  correction

Stable only if the smallest eigenvalue of W is above -1/3; (W + I) / 2 always is: `lazy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms import d2
from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params(d2.Params):
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum, in [0, 1). 0: D2."""


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor
    c: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, m=torch.zeros_like(x0), c=torch.zeros_like(x0))


@algorithm(
    "edm",
    params=Params,
    start=start,
    needs=d2.needs,
    source="arXiv:2501.19082 (reconstruction); code of RelaySGD, D2 with momentum",
    reconstruction=True,
)
def edm(s: State, grad: Grad, p: Params) -> Round[State]:
    """Exact diffusion with momentum: D2 fed with a heavy-ball momentum."""
    m = p.beta * s.m + grad(s.x)
    stepped = s.x - p.lr * m
    half = stepped + s.c
    x = yield gossip(half)
    if p.lazy:
        x = (half + x) / 2
    return State(x=x, m=m, c=x - stepped)
