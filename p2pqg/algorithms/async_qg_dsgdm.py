"""Asynchronous QG-DSGDm-N: quasi-global momentum, mixed with whatever has come.

The round of QG-DSGDm-N (Lin et al., ICML 2021), made by each client at its own pace, as
async-dsgdm-n is that of DSGDm-N. Momentum follows where the mixed model went since the last step.
Clients of equal speed on perfect links are QG-DSGDm-N.
    x    [clients, params]  model          lr    step size of this round
    m    [clients, params]  momentum       beta  weight of m in the step;  mu  memory of m
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from p2pqg.algorithms.asynchronous import OwnPace, Step, arrived, push
from p2pqg.algorithms.dsgdm import State, start
from p2pqg.algorithms.effects import Grad, algorithm


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    beta: Annotated[float, "[0, 1)"] = 0.9
    """Weight of the momentum in the step, in [0, 1). 0: DSGD without waiting."""
    mu: Annotated[float, "[0, 1)"] = 0.9
    """Memory of the momentum, in [0, 1). 0: the last step the network took."""


@algorithm(
    "async-qg-dsgdm-n",
    params=Params,
    start=start,
    asynchronous=OwnPace(),
    source="Lin et al., ICML 2021, without waiting",
)
def async_qg_dsgdm_n(s: State, grad: Grad, p: Params) -> Step[State]:
    """QG-DSGDm-N whose clients do not wait: each mixes with the newest that has come."""
    g = grad(s.x)
    b = g + p.beta * s.m
    half = s.x - p.lr * (g + p.beta * b)
    yield push(half)
    inbox = yield arrived("newest")
    x = inbox.mix(half)
    return State(x=x, m=p.mu * s.m + (1 - p.mu) * (s.x - x) / p.lr)
