"""SGD, SGDm, SGDm-N: the centralized baselines; gradients are all-reduced, all clients stay equal.

Where some sit out a round, the mean is that of the others' gradients, and the step is everybody's.

x    [clients, params]  model          lr    step size of this round
m    [clients, params]  momentum       beta  memory of m, no dampening (torch.optim.SGD)
"""

from __future__ import annotations

from p2pqg.algorithms import dsgd, dsgdm
from p2pqg.algorithms.effects import Grad, Round, algorithm, allreduce


@algorithm(
    "sgd",
    params=dsgd.Params,
    start=dsgd.start,
    centralized=True,
    shared=("x",),
    source="parallel SGD",
)
def sgd(s: dsgd.State, grad: Grad, p: dsgd.Params) -> Round[dsgd.State]:
    """Centralized SGD on the mean of the clients' gradients."""
    g = yield allreduce(grad(s.x))
    return dsgd.State(x=s.x - p.lr * g)


@algorithm(
    "sgdm",
    params=dsgdm.Params,
    start=dsgdm.start,
    centralized=True,
    shared=("x", "m"),
    source="Polyak 1964",
)
def sgdm(s: dsgdm.State, grad: Grad, p: dsgdm.Params) -> Round[dsgdm.State]:
    """Centralized SGD with heavy-ball momentum."""
    g = yield allreduce(grad(s.x))
    m = p.beta * s.m + g
    return dsgdm.State(x=s.x - p.lr * m, m=m)


@algorithm(
    "sgdm-n",
    params=dsgdm.Params,
    start=dsgdm.start,
    centralized=True,
    shared=("x", "m"),
    source="torch.optim.SGD",
)
def sgdm_n(s: dsgdm.State, grad: Grad, p: dsgdm.Params) -> Round[dsgdm.State]:
    """Centralized SGD with Nesterov momentum."""
    g = yield allreduce(grad(s.x))
    m = p.beta * s.m + g
    return dsgdm.State(x=s.x - p.lr * (g + p.beta * m), m=m)
