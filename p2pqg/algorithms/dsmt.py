"""DSMT, momentum tracking with accelerated gossip: Huang, Pu, Nedic 2024, arXiv:2402.09714.

Gradient tracking of a momentum z, in which models and estimates y of everybody's mean momentum are
mixed by loopless Chebyshev acceleration: a step beyond what W does, away from what was mixed one
round ago. On badly connected networks that mixes as if the spectral gap were its square root. With
W' = (W + I) / 2 and [a, a_old] for what is mixed now and a round ago, all of the authors' code:

    z <- beta z + (1 - beta) g
    y <- L[y + dz, y_old + dz],   x <- L[x - lr y, x_old - lr y],   dz = z - z_prev
    L[a, a_old] = (1 + eta) W' a - eta a_old

    x, x_old  [clients, params]  model, and the one mixed a round ago    lr    step size
    y, y_old  [clients, params]  estimate of everybody's mean momentum   beta  memory of z
    z         [clients, params]  own momentum                            eta   of Chebyshev
    t         rounds done

In the first round z = y = (1 - beta) g, and y is not sent. The mean of y is always that of z. Two
messages a round, one after the other. With beta = eta = 0 and lazy = false it is gradient tracking
in a third form, y <- W (y + g - g_prev), x <- W (x - lr y).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, NamedTuple

from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    gap: Annotated[float | None, "(0, 1]"] = None
    """1 - the second largest eigenvalue of W, in (0, 1]: eta and beta follow from it as in the
    authors' code, whatever is said of them. None: as given."""
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum, in [0, 1). 0: gradients are tracked."""
    eta: Annotated[float, "[0, 1)"] = 0.0
    """Weight of Chebyshev acceleration, in [0, 1). 0: without."""
    lazy: bool = True
    """Mix with (W + I) / 2, as the authors do where they accelerate."""

    @property
    def chosen(self) -> tuple[float, float]:
        """(beta, eta)."""
        if self.gap is None:
            return self.beta, self.eta
        second = 1 - self.gap / 2 if self.lazy else 1 - self.gap
        root = sqrt(1 - second**2)
        eta = (1 + (1 - root) / (1 + root)) / 2
        return sqrt(eta), eta


class State(NamedTuple):
    x: torch.Tensor
    x_old: torch.Tensor
    y: torch.Tensor
    y_old: torch.Tensor
    z: torch.Tensor
    t: int


def start(x0: torch.Tensor) -> State:
    zero = torch.zeros_like(x0)
    return State(x=x0, x_old=x0, y=zero, y_old=zero, z=zero, t=0)


@algorithm(
    "dsmt",
    params=Params,
    start=start,
    needs=("symmetric",),
    source="Huang, Pu, Nedic 2024, and its code",
)
def dsmt(s: State, grad: Grad, p: Params) -> Round[State]:
    """Momentum tracking with accelerated gossip, for badly connected networks."""
    beta, eta = p.chosen

    def accelerated(
        now: torch.Tensor, old: torch.Tensor, models: bool = True
    ) -> Round[torch.Tensor]:
        mixed = yield gossip(now, models=models)
        if p.lazy:
            mixed = (mixed + now) / 2
        return (1 + eta) * mixed - eta * old

    z = beta * s.z + (1 - beta) * grad(s.x)
    y = y_old = s.y + z - s.z
    if s.t > 0:
        y = yield from accelerated(y_old, s.y_old + z - s.z, models=False)
    x_old = s.x - p.lr * y
    x = yield from accelerated(x_old, s.x_old - p.lr * y)
    return State(x=x, x_old=x_old, y=y, y_old=y_old, z=z, t=s.t + 1)
