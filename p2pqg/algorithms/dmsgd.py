"""DMSGD, decentralized momentum SGD, option I: Balu et al., ICASSP 2021, arXiv:2010.11166.

Heavy ball whose last displacement is part the client's own, part the neighborhood's. Written from
secondary sources (reconstruction); option II is not known well enough to be here. With beta = 0
this is DSGD in its combine-then-adapt form, W x - lr g.
    x           [clients, params]  model               lr    step size of this round
    x_prev      [clients, params]  model before that   beta  weight of the last displacement
    mixed_prev  [clients, params]  W x_prev            mu    the neighborhood's share of it
    t           [clients, 1]  rounds that each has taken part in

W x of the last round is kept, so that W (x - x_prev) costs no message of its own. On a network that
changes it is kept as it was then: W_t x - W_(t-1) x_prev. The authors' network is fixed; where it
is not, what the change of W does to the models counts as momentum, and beta = 0.9 diverges on
onepeer-exponential, base and onepeer-hypercube.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Weight of the last displacement, in [0, 1). 0: DSGD."""
    mu: Annotated[float, "[0, 1]"] = 0.5
    """Share of consensus momentum, in [0, 1]. 0: only the client's own; 1: the neighborhood's."""
    option: Literal[1] = 1
    """1: option I of the paper, the one compared in Lin et al., ICML 2021."""


class State(NamedTuple):
    x: torch.Tensor
    x_prev: torch.Tensor
    mixed_prev: torch.Tensor
    t: torch.Tensor


def start(x0: torch.Tensor) -> State:
    none = torch.zeros_like(x0[:, :1], dtype=torch.int64)
    return State(x=x0, x_prev=x0, mixed_prev=x0, t=none)


def needs(params: Params) -> tuple[str, ...]:
    return ("steady",) if params.beta else ()


@algorithm(
    "dmsgd",
    params=Params,
    start=start,
    needs=needs,
    source="Balu et al., ICASSP 2021 (reconstruction)",
    reconstruction=True,
)
def dmsgd(s: State, grad: Grad, p: Params) -> Round[State]:
    """Decentralized momentum SGD: local and consensus momentum, mixed by mu."""
    g = grad(s.x)
    mixed = yield gossip(s.x)
    mixed_prev = torch.where(s.t > 0, s.mixed_prev, mixed)  # before its first, nothing moved
    d = p.mu * (mixed - mixed_prev) + (1 - p.mu) * (s.x - s.x_prev)
    return State(x=mixed - p.lr * g + p.beta * d, x_prev=s.x, mixed_prev=mixed, t=s.t + 1)
