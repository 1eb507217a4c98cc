"""GUT and QG-GUTm, global update tracking: Aketi, Hashemi, Roy, NeurIPS 2023, arXiv:2305.04792.

Clients track the update of everybody's mean model as gradient tracking tracks the mean gradient,
from what they hear anyway: no second vector is sent. With u = (W - I) x, what the network does to a
client's model x, and the step n of the last round (x <- x - lr n), all of the paper's code:

    delta = g(x + u) - u / lr_prev
    y     = delta - mu (delta_prev + (W (x - x_prev) + b u_prev) / lr_prev)
    m     = beta m + y,   n = m or y + beta m (Nesterov),   x <- x - lr n

where b = 1 + beta (+ beta^2 with Nesterov): 1 for GUT. The model is x + u = W x, at which the
gradient is taken; with mu = beta = 0 and constant lr this is DSGD. Without momentum the mean of y
is always that of the gradients. It rests where DSGD does with a shorter step,
lr (1 - mu) / (1 - mu + mu b), on a network that stays, with mu + beta < 1, if no eigenvalue of W is
too small: GUT needs > -1 / (1 + 2 mu), or (W + I) / 2, which is `lazy`.

    x     [clients, params]  model, W own             lr    step size of this round
    own   [clients, params]  before it was mixed      beta  memory of m, no dampening
    m     [clients, params]  momentum (y for GUT)     mu    how much of the last round is tracked
    pull  [clients, params]  u / lr_prev
    past  [clients, params]  what the last round leaves: delta_prev - n_prev + (b - 1) u_prev /
                             lr_prev, for W (x - x_prev) = u - u_prev - lr_prev n_prev
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch
from p2pqg.base.ranges import broken


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    mu: Annotated[float, "[0, 1)"] = 0.9
    """How much of the last round is tracked, in [0, 1). 0: DSGD, while lr is constant."""
    lazy: bool = False
    """Mix with (W + I) / 2: slower, but stable on every symmetric W."""


@dataclass(frozen=True, kw_only=True)
class MomentumParams(Params):
    mu: float = 0.06
    """How much of the last round is tracked, in [0, 1 - beta)."""
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum, in [0, 1). 0: GUT."""
    nesterov: bool = False
    """Step along y + beta m rather than m."""

    def problems(self) -> Iterator[str]:
        if 0 <= self.mu < 1 and 0 <= self.beta < 1 and self.mu + self.beta > 1 - 1e-12:
            yield broken(
                f"algorithm.mu must be < 1 - beta, got {self.mu} and beta {self.beta}", "mu", "beta"
            )


def needs(p: Params) -> tuple[str, ...]:
    """Symmetric, as steady as can be, and no eigenvalue at which what is tracked would swing up."""
    beta, nesterov = getattr(p, "beta", 0.0), getattr(p, "nesterov", False)
    more = beta + beta**2 if nesterov else beta
    most = 2 * (1 + beta) / (1 + 2 * beta) if nesterov else 2 * (1 + beta)
    edge = -(most - 1 + p.mu * more) / (1 + 2 * p.mu - p.mu * more)
    steady = ("steady", "symmetric")
    return steady if p.lazy or edge <= -1 else (*steady, f"lambda-min:{edge}")


class State(NamedTuple):
    x: torch.Tensor
    own: torch.Tensor
    m: torch.Tensor
    pull: torch.Tensor
    past: torch.Tensor


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)
    return State(x=x0, own=x0, m=zero, pull=zero, past=zero)


def _round(s: State, g: torch.Tensor, p: Params, beta: float, nesterov: bool) -> Round[State]:
    delta = g - s.pull
    y = delta - p.mu * (s.pull + s.past)  # the second formula: what is of the last round is known
    m = beta * s.m + y
    n = y + beta * m if nesterov else m
    more = beta + beta**2 if nesterov else beta  # b - 1
    past = delta - n + more * (s.x - s.own) / p.lr
    own = s.own - p.lr * n  # the third, of the model before the network does anything to it
    x = yield gossip(own)
    if p.lazy:
        x = (own + x) / 2
    return State(x=x, own=own, m=m, pull=(x - own) / p.lr, past=past)


@algorithm(
    "gut",
    params=Params,
    start=start,
    needs=needs,
    source="Aketi et al., NeurIPS 2023, and its code",
)
def gut(s: State, grad: Grad, p: Params) -> Round[State]:
    """Global update tracking: as gradient tracking, at the cost of plain gossip."""
    return (yield from _round(s, grad(s.x), p, beta=0.0, nesterov=False))


@algorithm(
    "qg-gutm",
    params=MomentumParams,
    start=start,
    needs=needs,
    source="Aketi et al., NeurIPS 2023, and its code",
)
def qg_gutm(s: State, grad: Grad, p: MomentumParams) -> Round[State]:
    """Global update tracking with momentum, which what the network does is a part of."""
    return (yield from _round(s, grad(s.x), p, p.beta, p.nesterov))
