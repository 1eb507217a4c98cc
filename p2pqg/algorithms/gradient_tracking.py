"""Gradient tracking: Di Lorenzo, Scutari 2016; Nedic, Olshevsky, Shi 2017.

Besides the model every client carries an estimate y of everybody's mean gradient: mixed, then
corrected by the change of its own gradient. The mean of y is always the mean of what it tracks, the
gradients (`cta`) or the local steps (`atc`), so the fixed point is the exact optimum. With momentum
there are two forms: that of the code of Lin et al., ICML 2021 (`cta`), and that of Vogels et al.,
NeurIPS 2021 (`atc`). With one client, and with form = atc on the complete graph from a common
start, this is SGD(m, m-N).

    cta    y = W y_prev + g - g_prev             x <- W x - lr u(y)    momentum acts on y
    atc    y = W y_prev + lr u - (lr u)_prev     x <- W (x - y)        y holds momentum and lr

Without momentum and with constant lr, atc is x <- W (x - lr y) with the y of cta.
    x     [clients, params]  model                          lr    step size of this round
    wy    [clients, params]  W y of the last round          beta  memory of m
    last  [clients, params]  what y tracks, one round ago
    m     [clients, params]  momentum, never mixed (zero for dsgd-gt)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    form: Literal["cta", "atc"] = "cta"
    """cta: combine, then adapt (official code of QG); atc: adapt, then combine (RelaySGD's)."""


@dataclass(frozen=True, kw_only=True)
class MomentumParams(Params):
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum, in [0, 1). 0: without momentum."""


class State(NamedTuple):
    x: torch.Tensor
    wy: torch.Tensor
    last: torch.Tensor
    m: torch.Tensor


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)  # the first y is the first gradient
    return State(x=x0, wy=zero, last=zero, m=zero)


def _round(s: State, g: torch.Tensor, p: Params, beta: float, nesterov: bool) -> Round[State]:
    """Both forms; y of the new model is finished a round later, when its gradient is known."""
    if p.form == "cta":
        y = s.wy + g - s.last
        m = beta * s.m + y
        mixed, wy = yield gossip(s.x, y)
        x = mixed - p.lr * (y + beta * m if nesterov else m)
        return State(x=x, wy=wy, last=g, m=m)
    m = beta * s.m + g
    step = p.lr * (g + beta * m if nesterov else m)
    y = s.wy + step - s.last
    x, wy = yield gossip(s.x - y, y)
    return State(x=x, wy=wy, last=step, m=m)


@algorithm(
    "dsgd-gt",
    params=Params,
    start=start,
    needs=("doubly-stochastic",),
    fixed=("form",),
    source="Di Lorenzo, Scutari 2016; Nedic et al. 2017; code of QG and RelaySGD",
)
def dsgd_gt(s: State, grad: Grad, p: Params) -> Round[State]:
    """Gradient tracking: every client follows an estimate of the mean gradient."""
    return (yield from _round(s, grad(s.x), p, beta=0.0, nesterov=False))


@algorithm(
    "dsgdm-gt",
    params=MomentumParams,
    start=start,
    needs=("doubly-stochastic",),
    fixed=("form",),
    source="code of Lin et al., ICML 2021",
)
def dsgdm_gt(s: State, grad: Grad, p: MomentumParams) -> Round[State]:
    """Gradient tracking with heavy-ball momentum."""
    return (yield from _round(s, grad(s.x), p, p.beta, nesterov=False))


@algorithm(
    "dsgdm-n-gt",
    params=MomentumParams,
    start=start,
    needs=("doubly-stochastic",),
    fixed=("form",),
    source="code of Lin et al., ICML 2021",
)
def dsgdm_n_gt(s: State, grad: Grad, p: MomentumParams) -> Round[State]:
    """Gradient tracking with Nesterov momentum."""
    return (yield from _round(s, grad(s.x), p, p.beta, nesterov=True))
