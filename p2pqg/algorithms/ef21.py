"""EF21, error feedback: Richtarik, Sokolov, Fatkhullin, NeurIPS 2021, arXiv:2106.05203.

A centralized baseline of compressed methods. Each client keeps an estimate h of its own gradient,
sends a compressed correction of it, and all step along the mean of the estimates, which everybody
has. With memory (beta > 0) it is EF21-SGDM (Fatkhullin, Tyurin, Richtarik, NeurIPS 2023), in which
not the noisy gradient is followed but its moving average. With compressor = identity and beta = 0
this is SGD.

    v <- beta v + (1 - beta) g       (the first v is the first g)
    c =  C(v - h),  h <- h + c,  mean <- mean + mean of all c,  x <- x - lr mean

    x      [clients, params]  model                       lr    step size of this round
    v      [clients, params]  moving average of g         beta  memory of v
    h      [clients, params]  what others know of v
    mean   [clients, params]  of everybody's h            t     rounds done

The mean is that of all h while all take part in every round, which is asked for. Compressed vectors
cannot be added up on the way, so each one goes round to all: n - 1 messages per client and round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from p2pqg.algorithms.compressors import Compression
from p2pqg.algorithms.effects import Draw, Grad, Round, algorithm, allreduce
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params(Compression):
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.0
    """Memory of v, in [0, 1). 0: EF21; 0.9: EF21-SGDM."""


class State(NamedTuple):
    x: torch.Tensor
    v: torch.Tensor
    h: torch.Tensor
    mean: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)
    return State(x=x0, v=zero, h=zero, mean=zero, t=0)


@algorithm(
    "ef21",
    params=Params,
    start=start,
    centralized=True,
    needs=("static",),
    source="Richtarik et al., NeurIPS 2021; Fatkhullin et al., NeurIPS 2023",
    draws=True,
)
def ef21(s: State, grad: Grad, p: Params, draw: Draw) -> Round[State]:
    """Centralized SGD on compressed gradients, with memory for what was lost."""
    g = grad(s.x)
    v = g if s.t == 0 else p.beta * s.v + (1 - p.beta) * g
    c, size = p.compress(v - s.h, draw)
    news = yield allreduce(c, message_bytes=size)
    mean = s.mean + news
    return State(x=s.x - p.lr * mean, v=v, h=s.h + c, mean=mean, t=s.t + 1)
