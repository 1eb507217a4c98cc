"""BEER, gradient tracking with compressed differences: Zhao et al., NeurIPS 2022, arXiv:2201.13320.

Gradient tracking in which models and estimates of the mean gradient are gossiped as in CHOCO-SGD:
everybody keeps public copies of the neighbors', and sends compressed corrections of its own ones.
The mean of v is always that of the clients' gradients, whatever compression loses, and the optimum
is found exactly. As in the paper's code:

    v <- v + gamma (W - I) G + g(x) - g(x_prev)        both gradients on the same batch
    G <- G + C(v - G)
    x <- x + gamma (W - I) H - lr v
    H <- H + C(x - H)

    x          [clients, params]  model               lr     step size of this round
    last       [clients, params]  x_prev              gamma  consensus step size
    v          [clients, params]  estimate of everybody's mean gradient
    hat, hat_v [clients, params]  public copies H of x and G of v
    mixed, mixed_v                W H and W G, summed up from messages
    t          rounds done

In the first round v is the gradient, only models are sent, and one gradient is computed. W must not
change from round to round, or `mixed` would not be W H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.compressors import Compression
from p2pqg.algorithms.effects import Draw, Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params(Compression):
    lr: float
    gamma: Annotated[float, "(0, 1]"] = 0.3
    """Consensus step size, in (0, 1]. The stronger the compression, the smaller."""


class State(NamedTuple):
    x: torch.Tensor
    last: torch.Tensor
    v: torch.Tensor
    hat: torch.Tensor
    mixed: torch.Tensor
    hat_v: torch.Tensor
    mixed_v: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)
    return State(x0, last=x0, v=zero, hat=zero, mixed=zero, hat_v=zero, mixed_v=zero, t=0)


@algorithm(
    "beer",
    params=Params,
    start=start,
    needs=("static", "doubly-stochastic"),
    source="Zhao et al., NeurIPS 2022, and its code",
    draws=True,
)
def beer(s: State, grad: Grad, p: Params, draw: Draw) -> Round[State]:
    """Gradient tracking of which only compressed differences are sent."""
    v = s.v + p.gamma * (s.mixed_v - s.hat_v) + grad(s.x)
    if s.t > 0:
        v = v - grad(s.last, again=True)
    x = s.x + p.gamma * (s.mixed - s.hat) - p.lr * v
    q, size = p.compress(x - s.hat, draw)
    hat_v, mixed_v = s.hat_v, s.mixed_v
    if s.t == 0:
        news = yield gossip(q, message_bytes=size)
    else:
        q_v, size_v = p.compress(v - s.hat_v, draw)
        news, news_v = yield gossip(q, q_v, message_bytes=size + size_v)
        hat_v, mixed_v = hat_v + q_v, mixed_v + news_v
    hat, mixed = s.hat + q, s.mixed + news
    return State(x, s.x, v, hat, mixed, hat_v, mixed_v, s.t + 1)
