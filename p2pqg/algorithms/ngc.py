"""NGC, neighborhood gradient clustering: Aketi, Kodge, Roy, arXiv:2209.14390, and its code.

A client tries its neighbors' models on its own batch, too, and sends each neighbor the gradient of
that neighbor's model. It steps along a weighted mean of its own gradient and of cross-gradients:
those of neighbors' models on its data (model-variant), and those of its model on neighbors' data
(data-variant), which cost a second message. As in the authors' code, with w_ij of W where they have
1 / (degree + 1), all on one batch of a client i:

    x  <- sum_j w_ij x_j
    n   = w_ii g_i(x) + sum_j w_ij ((1 - alpha) g_i(x_j) + alpha g_j(x_i))     x_i, x_j as sent
    m  <- beta m + n,   x <- x - lr (n + beta m)

    x    [clients, params]  model                          lr     step size of this round
    m    [clients, params]  local momentum (Nesterov)      beta   memory of m, no dampening
                                                           alpha  share of the data-variant ones

Weight decay is that of each model that is tried; the authors' code adds that of the mixed one once.
Each model that is tried counts as a gradient, for every slot of the client with most neighbors. On
the complete graph, from a common start and with alpha = 1, this is SGDm-N on the mean gradient.
`cga` replaces that mean by a quadratic program. That code's quasi-global momentum is not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from p2pqg.algorithms.dsgdm import State, start
from p2pqg.algorithms.effects import Grad, Round, algorithm, exchange, neighbors
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the local momentum, in [0, 1). 0: without."""
    alpha: Annotated[float, "[0, 1]"] = 1.0
    """Share of the data-variant cross-gradients, in [0, 1]. 0: none, and no second message."""


@algorithm(
    "ngc",
    params=Params,
    start=start,
    needs=("symmetric",),
    source="Aketi, Kodge, Roy 2022, and its code",
)
def ngc(s: State, grad: Grad, p: Params) -> Round[State]:
    """NGC: clients try neighbors' models on their own data, and tell them what comes of it."""
    peers = yield neighbors()
    inbox = yield exchange(s.x[:, None])
    weights = peers.weights[..., None]
    own = 1 - weights.sum(1)
    mixed = own * s.x + (weights * inbox).sum(1)
    g = grad(torch.cat([mixed[:, None], inbox], 1))  # [clients, 1 + slots, params], on one batch
    cross = g[:, 1:]
    if p.alpha > 0:
        told = yield exchange(cross)
        cross = cross + p.alpha * (told - cross)
    n = own * g[:, 0] + (weights * cross).sum(1)
    m = p.beta * s.m + n
    return State(x=mixed - p.lr * (n + p.beta * m), m=m)
