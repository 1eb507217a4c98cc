"""GT-HSGD, tracking of hybrid gradients: Xin, Khan, Kar, ICML 2021, arXiv:2102.06752.

Every client corrects its estimate v of its own gradient by what its model's last step changed, both
gradients on the same batch (as SARAH does), and lets a share beta of the new gradient in. y tracks
everybody's mean v. So the noise of a batch fades, without large batches in between.

    v <- g(x) + (1 - beta) (v - g(last))     both gradients on the same batch
    y <- W (y + v - v_last)
    x <- W (x - lr y)

With beta = 1, or gradients without noise, v is the gradient, and this is gradient tracking that
steps along its mixed estimate; on the complete graph from a common start it is then SGD.
    x     [clients, params]  model                  lr    step size of this round
    last  [clients, params]  that of the round before
    v     [clients, params]  estimate of the own gradient
    y     [clients, params]  estimate of everybody's mean gradient, mixed
    new   [clients, 1]       1 before a client's first round, then 0
    t     rounds done

In a client's first round v is the gradient: the larger first batch of the paper is one of the usual
size here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "(0, 1]"] = 0.1
    """How much of a new gradient counts, in (0, 1]. 1: nothing is kept of those before."""


class State(NamedTuple):
    x: torch.Tensor
    last: torch.Tensor
    v: torch.Tensor
    y: torch.Tensor
    new: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)
    return State(x=x0, last=x0, v=zero, y=zero, new=torch.ones_like(x0[:, :1]), t=0)


@algorithm(
    "gt-hsgd",
    params=Params,
    start=start,
    needs=("doubly-stochastic",),
    source="Xin, Khan, Kar, ICML 2021; code of DoCoM",
)
def gt_hsgd(s: State, grad: Grad, p: Params) -> Round[State]:
    """Gradient tracking whose gradients lose their noise, by two gradients on each batch."""
    v = grad(s.x)
    if s.t > 0:
        v = v + (1 - p.beta) * (1 - s.new) * (s.v - grad(s.last, again=True))
    y = yield gossip(s.y + v - s.v, models=False)
    x = yield gossip(s.x - p.lr * y)
    return State(x=x, last=s.x, v=v, y=y, new=torch.zeros_like(s.new), t=s.t + 1)
