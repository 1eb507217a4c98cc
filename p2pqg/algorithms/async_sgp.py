"""Asynchronous SGP: push-sum SGD that waits for no message, Assran et al., ICML 2019, Section 5.

What is on its way belongs to nobody, but its weight travels with it: the sum of all z, in clients
and in messages, changes by gradients only, and z / w agrees with it however late messages are. As
in the authors' code, who has sent goes on alone until it hears of somebody, before it sends again;
else its weight would shrink with every step. Clients of equal speed on perfect links are SGP.
    z    [clients, params]  scaled model        lr    step size of this round
    w    [clients, 1]       push-sum weight     beta  memory of m, no dampening
    m    [clients, params]  local momentum      patience  steps after which silence is loss
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from p2pqg.algorithms import sgp
from p2pqg.algorithms.asynchronous import OwnPace, Step, arrived, push
from p2pqg.algorithms.effects import Grad, algorithm
from p2pqg.algorithms.sgp import State, model, start


@dataclass(frozen=True, kw_only=True)
class Params(sgp.Params):
    patience: Annotated[int, ">= 1"] = 20
    """Steps after which a client sends again though nothing has come, >= 1. 1: always."""


@algorithm(
    "async-sgp",
    params=Params,
    start=start,
    model=model,
    needs=("column-stochastic",),
    asynchronous=OwnPace(),
    source="Assran et al., ICML 2019, overlapped; arXiv:1811.10792",
)
def async_sgp(s: State, grad: Grad, p: Params) -> Step[State]:
    """Stochastic gradient push without waiting, also on directed networks."""
    g = grad(model(s))
    m = p.beta * s.m + g
    half = s.z - p.lr * (g + p.beta * m if p.nesterov else m)
    kept = yield push(half, s.w, patience=p.patience)
    inbox = yield arrived()
    z, w = inbox.sum()
    return State(z=kept * half + z, w=kept * s.w + w, m=m)
