"""CHOCO-SGD, gossip of compressed differences: Koloskova, Stich, Jaggi, ICML 2019, and its code.

Everybody keeps public copies of the neighbors' models and sends only a compressed correction of
its own copy, so what compression loses is sent later. With compressor = identity, gamma = 1 and
order = paper this is DSGD; with order = code and a common start, its combine-then-adapt form.
    x      [clients, params]  model                            lr     step size of this round
    m      [clients, params]  local momentum                   beta   memory of m, no dampening
    hat    [clients, params]  public copy of x                 gamma  consensus step size
    mixed  [clients, params]  W hat, summed up from messages

W must not change from round to round, or `mixed` would not be W hat; the analysis asks for a
symmetric one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from p2pqg.algorithms.compressors import Compression
from p2pqg.algorithms.effects import Draw, Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params(Compression):
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.0
    """Memory of the local momentum, in [0, 1). 0: without."""
    gamma: Annotated[float, "(0, 1]"] = 0.5
    """Consensus step size, in (0, 1]. 1: as DSGD; the stronger the compression, the smaller."""
    order: Literal["code", "paper"] = "code"
    """code: move towards the copies of the last round, then send; paper: send first."""


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor
    hat: torch.Tensor
    mixed: torch.Tensor


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)
    return State(x=x0, m=zero, hat=zero, mixed=zero)


@algorithm(
    "choco-sgd",
    params=Params,
    start=start,
    needs=("static",),
    source="Koloskova et al., ICML 2019, and its code",
    draws=True,
)
def choco_sgd(s: State, grad: Grad, p: Params, draw: Draw) -> Round[State]:
    """CHOCO-SGD: gossip of compressed differences, with memory for what was lost."""
    m = p.beta * s.m + grad(s.x)
    x = s.x - p.lr * m
    if p.order == "code":
        x = x + p.gamma * (s.mixed - s.hat)
    q, size = p.compress(x - s.hat, draw)
    news = yield gossip(q, message_bytes=size)
    hat, mixed = s.hat + q, s.mixed + news
    if p.order == "paper":
        x = x + p.gamma * (mixed - hat)
    return State(x=x, m=m, hat=hat, mixed=mixed)
