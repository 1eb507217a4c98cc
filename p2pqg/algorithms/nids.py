"""NIDS: Li, Shi, Yan, IEEE Transactions on Signal Processing 2019, arXiv:1704.07807.

Exact diffusion whose step size may be as long as on one machine, whatever the network is: with one
step size for all clients it mixes with (W + I) / 2, and only from the second round on. y remembers
what mixing did. After the first round this is `d2` with lazy, while lr is constant.

    x <- x - lr g                                                    in the first round
    half = x - lr g - y,   x <- (W + I) / 2 half,   y <- y + half - x        from then on

    x    [clients, params]  model                    lr    step size of this round
    y    [clients, params]  it is zero over the clients from the second round on
    t    rounds done
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
    y: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    return State(x=x0, y=torch.zeros_like(x0), t=0)


@algorithm(
    "nids",
    params=Params,
    start=start,
    needs=("symmetric",),
    source="Li, Shi, Yan, IEEE TSP 2019; code of decent-bench",
)
def nids(s: State, grad: Grad, p: Params) -> Round[State]:
    """NIDS: exact diffusion whose step size does not depend on the network."""
    half = s.x - p.lr * grad(s.x) - s.y
    if s.t == 0:
        return State(x=half, y=s.y, t=1)
    mixed = yield gossip(half)
    x = (half + mixed) / 2
    return State(x=x, y=s.y + half - x, t=s.t + 1)
