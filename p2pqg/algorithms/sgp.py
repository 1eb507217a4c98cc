"""SGP, stochastic gradient push: Assran, Loizou, Ballas, Rabbat, ICML 2019, arXiv:1811.10792.

For directed networks where a client knows to how many it sends, not from how many it hears: the
columns of W sum to 1. A weight travels with the scaled model z, and z / w is the model. If the rows
of W sum to 1 as well, w stays 1 and this is DSGDm(-N), with beta = 0 DSGD.
    z    [clients, params]  scaled model        lr    step size of this round
    w    [clients, 1]       push-sum weight     beta  memory of m, no dampening
    m    [clients, params]  local momentum
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p2pqg.algorithms import dsgdm
from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params(dsgdm.Params):
    nesterov: bool = True
    """Step along g + beta m rather than m."""


class State(NamedTuple):
    z: torch.Tensor
    w: torch.Tensor
    m: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(z=x0, w=torch.ones_like(x0[:, :1]), m=torch.zeros_like(x0))


def model(s: State) -> torch.Tensor:
    return s.z / s.w


@algorithm(
    "sgp",
    params=Params,
    start=start,
    model=model,
    needs=("column-stochastic",),
    source="Assran et al., ICML 2019, and its code",
)
def sgp(s: State, grad: Grad, p: Params) -> Round[State]:
    """Stochastic gradient push: push-sum averaging on directed networks."""
    g = grad(model(s))
    m = p.beta * s.m + g
    half = s.z - p.lr * (g + p.beta * m if p.nesterov else m)
    z, w = yield gossip(half, s.w)
    return State(z=z, w=w, m=m)
