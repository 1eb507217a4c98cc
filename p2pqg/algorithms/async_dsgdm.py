"""Asynchronous DSGDm-N: local Nesterov momentum, mixed with whatever has come.

The round of DSGDm-N (Lin et al., ICML 2021), made by each client at its own pace: it sends its half
step, and mixes with the newest one of every neighbor that has come since its last step. Who has not
been heard of counts as the client itself. Clients of equal speed on perfect links are DSGDm-N.
    x    [clients, params]  model          lr    step size of this round
    m    [clients, params]  momentum       beta  memory of m, no dampening
"""

from __future__ import annotations

from p2pqg.algorithms.asynchronous import OwnPace, Step, arrived, push
from p2pqg.algorithms.dsgdm import Params, State, start
from p2pqg.algorithms.effects import Grad, algorithm


@algorithm(
    "async-dsgdm-n",
    params=Params,
    start=start,
    asynchronous=OwnPace(),
    source="Lin et al., ICML 2021, without waiting",
)
def async_dsgdm_n(s: State, grad: Grad, p: Params) -> Step[State]:
    """DSGDm-N whose clients do not wait: each mixes with the newest that has come."""
    g = grad(s.x)
    m = p.beta * s.m + g
    half = s.x - p.lr * (g + p.beta * m)
    yield push(half)
    inbox = yield arrived("newest")
    return State(x=inbox.mix(half), m=m)
