"""EXTRA: Shi, Ling, Wu, Yin, SIAM Journal on Optimization 2015, arXiv:1404.6264.

DSGD (combine, then adapt) with a memory of all that mixing ever did to the models, half of which
is added in each round: at rest it outweighs the client's own gradient, and the optimum is found
exactly. In one line, with (W + I) / 2 as the second matrix of the paper:

    x_{t+1} = W x_t + sum_{s < t} (W - I) / 2 x_s - lr_t g_t

    x    [clients, params]  model                    lr    step size of this round
    c    [clients, params]  that sum; it is zero over the clients

While lr is constant, x_{t+1} - x_t = W x_t - (W + I) / 2 x_{t-1} - lr (g_t - g_{t-1}). Every
symmetric W whose eigenvalues are > -1 will do; near -1 only small steps are stable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float


class State(NamedTuple):
    x: torch.Tensor
    c: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, c=torch.zeros_like(x0))


@algorithm(
    "extra",
    params=Params,
    start=start,
    needs=("static", "symmetric"),
    source="Shi et al., SIAM J. Optim. 2015; code of decent-bench",
)
def extra(s: State, grad: Grad, p: Params) -> Round[State]:
    """EXTRA: a memory of what mixing did, that outweighs the clients' own gradients."""
    g = grad(s.x)
    mixed = yield gossip(s.x)
    return State(x=mixed + s.c - p.lr * g, c=s.c + (mixed - s.x) / 2)
