"""D2 (exact diffusion): Tang et al., ICML 2018; D2+ for changing step sizes: Lin et al., ICML 2021.

A step along the change of the gradient, from the model extrapolated by its last displacement: the
difference between the clients' data cancels, and the mean follows mean SGD. On the complete graph
from a common start, and with W = I, this is DSGD. D2+ is D2 while lr is constant; when lr falls,
D2 keeps a part of the old step for ever, D2+ rescales it.
    x       [clients, params]  model                  lr       step size of this round
    x_prev  [clients, params]  model one round ago    lr_prev  [clients, 1]  step size then
    g_prev  [clients, params]  gradient there

Stable only if the smallest eigenvalue of W is above -1/3; (W + I) / 2 always is: `lazy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    lazy: bool = False
    """Mix with (W + I) / 2: slower, but stable on every symmetric W."""


class State(NamedTuple):
    x: torch.Tensor
    x_prev: torch.Tensor
    g_prev: torch.Tensor
    lr_prev: torch.Tensor


def start(x0: torch.Tensor) -> State:
    # Nothing has moved and no gradient was seen: the first step is W (x - lr g), whatever lr_prev.
    return State(x=x0, x_prev=x0, g_prev=torch.zeros_like(x0), lr_prev=torch.ones_like(x0[:, :1]))


def needs(p: Params) -> tuple[str, ...]:
    """What W must be; lazy mixing moves the smallest eigenvalue above 0 by itself."""
    return ("symmetric",) if p.lazy else ("symmetric", "lambda-min")


@algorithm(
    "d2", params=Params, start=start, needs=needs, source="Tang et al., ICML 2018, and code of QG"
)
def d2(s: State, grad: Grad, p: Params) -> Round[State]:
    """D2: heterogeneity cancels in the difference of two gradients."""
    g = grad(s.x)
    half = 2 * s.x - s.x_prev - p.lr * (g - s.g_prev)
    x = yield gossip(half)
    if p.lazy:
        x = (half + x) / 2
    return State(x=x, x_prev=s.x, g_prev=g, lr_prev=torch.full_like(s.lr_prev, p.lr))


@algorithm(
    "d2-plus", params=Params, start=start, needs=needs, source="Lin et al., ICML 2021, footnote 9"
)
def d2_plus(s: State, grad: Grad, p: Params) -> Round[State]:
    """D2+: D2 whose last displacement is rescaled when the step size changes."""
    g = grad(s.x)
    half = s.x - p.lr * ((s.x_prev - s.x) / s.lr_prev + g - s.g_prev)
    x = yield gossip(half)
    if p.lazy:
        x = (half + x) / 2
    return State(x=x, x_prev=s.x, g_prev=g, lr_prev=torch.full_like(s.lr_prev, p.lr))
