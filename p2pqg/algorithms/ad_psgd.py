"""AD-PSGD, asynchronous decentralized SGD: Lian, Zhang, Zhang, Liu, ICML 2018, arXiv:1710.06952.

A client computes at its own pace. When it has a gradient, of its model as it stood when it began,
it makes the step and averages with one neighbor, whoever that is and whatever it is doing: that
leaves the mean of all models where it is. The paper has no momentum; that of beta > 0 is local, as
in the code of Assran et al. (stochastic_gradient_push). Clients of equal speed without delays, each
with one neighbor at a time, are DSGD on random matchings.
    x    [clients, params]  model          lr    step size of this round
    m    [clients, params]  momentum       beta  memory of m, no dampening
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from p2pqg.algorithms.asynchronous import OwnPace, Step, meet
from p2pqg.algorithms.effects import Grad, algorithm
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: float = 0.0
    """Memory of the momentum, in [0, 1). 0: the paper's."""
    nesterov: bool = False
    """Step along g + beta m rather than m."""

    def problems(self) -> Iterator[str]:
        if not 0 <= self.beta < 1:
            yield f"algorithm.beta must be in [0, 1), got {self.beta}"


class State(NamedTuple):
    x: torch.Tensor
    m: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, m=torch.zeros_like(x0))


@algorithm(
    "ad-psgd",
    params=Params,
    start=start,
    needs=("undirected",),
    asynchronous=OwnPace(),
    source="Lian et al., ICML 2018",
)
def ad_psgd(s: State, grad: Grad, p: Params) -> Step[State]:
    """Asynchronous SGD: a client averages with one neighbor at a time, and nobody waits for all."""
    g = grad(s.x)
    m = p.beta * s.m + g if p.beta else g
    half = s.x - p.lr * (g + p.beta * m if p.nesterov else m)
    x = yield meet(half)
    return State(x=x, m=m)
