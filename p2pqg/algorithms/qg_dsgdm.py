"""QG-DSGDm(-N), quasi-global momentum: Lin, Karimireddy, Stich, Jaggi, ICML 2021, arXiv:2102.04761.

Momentum follows where the mixed model really went, not where one client wanted to go. Algorithm 1
and Eq. (3) of the paper; the Nesterov form is the authors' code's. With beta = 0 this is DSGD; with
one client it is quasi-hyperbolic momentum with beta_hat = mu + (1 - mu) beta, in the Nesterov form
mu + (1 - mu) beta^2. With tau > 1 the momentum is first refreshed after tau rounds (the released
code does it after the first, and divides that one step by tau as well). Several local steps (ours)
leave the momentum alone, as rounds within tau do; it then follows their mean.
    x    [clients, params]  model          lr    step size (eta in the paper) of this round
    m    [clients, params]  momentum       beta  weight of m in the step;  mu  memory of m
    acc  [clients, params]  sum of the last steps the network took, refreshed every tau rounds
    t    [clients, 1]  rounds that each has taken part in
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.algorithms.local_steps import LocalSteps
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class _Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Weight of the momentum in the step, in [0, 1). 0: DSGD."""
    mu: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum, in [0, 1). 0: the last step the network took."""
    tau: Annotated[int, ">= 1"] = 1
    """The momentum is refreshed after every tau-th round (Appendix D.8), >= 1."""


@dataclass(frozen=True, kw_only=True)
class Params(LocalSteps, _Params):
    """With local steps."""


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor
    acc: torch.Tensor
    t: torch.Tensor


def start(x0: torch.Tensor) -> State:
    none = torch.zeros_like(x0[:, :1], dtype=torch.int64)
    return State(x=x0, m=torch.zeros_like(x0), acc=torch.zeros_like(x0), t=none)


def _learn(s: State, x: torch.Tensor, p: Params) -> State:
    """The momentum follows the step that the network took."""
    d = (s.x - x) / (p.lr * p.local_steps)  # line 8 of Algorithm 1, Eq. (2)
    t = s.t + 1
    if p.tau == 1:
        return State(x=x, m=p.mu * s.m + (1 - p.mu) * d, acc=s.acc, t=t)  # line 9
    acc, due = s.acc + d, t % p.tau == 0
    m = torch.where(due, p.mu * s.m + (1 - p.mu) / p.tau * acc, s.m)
    return State(x=x, m=m, acc=acc.masked_fill(due, 0), t=t)


@algorithm(
    "qg-dsgdm",
    params=Params,
    start=start,
    source="Lin et al., ICML 2021, Algorithm 1",
    fixed=("tau",),
)
def qg_dsgdm(s: State, grad: Grad, p: Params) -> Round[State]:
    """Quasi-global momentum: local momentum is replaced by the direction of the mixed model."""
    half = s.x
    for _ in range(p.local_steps):
        half = half - p.lr * (grad(half) + p.beta * s.m)  # lines 5 and 6 of Algorithm 1
    x = yield gossip(half)  # line 7
    return _learn(s, x, p)


@algorithm(
    "qg-dsgdm-n",
    params=Params,
    start=start,
    source="Lin et al., ICML 2021, and its code",
    fixed=("tau",),
)
def qg_dsgdm_n(s: State, grad: Grad, p: Params) -> Round[State]:
    """Quasi-global momentum with a Nesterov step."""
    half = s.x
    for _ in range(p.local_steps):
        g = grad(half)
        b = g + p.beta * s.m
        half = half - p.lr * (g + p.beta * b)
    x = yield gossip(half)
    return _learn(s, x, p)
