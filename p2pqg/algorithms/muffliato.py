"""Muffliato, noise once and then gossip: Cyffers, Even, Bellet, Massoulie, NeurIPS 2022.

A gradient step with noise of one's own, then several gossips in which the noise of the clients
averages out: who is far away learns little, see `p2pqg topology NAME --privacy`. The noise is that
of `privacy: {clip: 1.0, sigma: 1.0}`, whatever the algorithm. With one gossip this is DSGD (unless
it is accelerated: omega W + (1 - omega) I is another W).
    x    [clients, params]  model          lr    step size of this round
    gap  1 - lambda_2(W); omega its weight of the newest: x <- omega W x + (1 - omega) x_before
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Annotated

from p2pqg.algorithms.dsgd import State, start
from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    gossips: Annotated[int, ">= 1"] = 5
    """After each step, >= 1."""
    gap: Annotated[float | None, "(0, 1]"] = None
    """Gossip is accelerated for this gap, 1 - lambda_2(W), in (0, 1]; nothing: it is not."""


@algorithm(
    "muffliato",
    params=Params,
    start=start,
    source="Cyffers et al., NeurIPS 2022, and its code",
    needs=("symmetric", "doubly-stochastic"),
)
def muffliato(s: State, grad: Grad, p: Params) -> Round[State]:
    """Muffliato: a step with noise of one's own (`privacy:`), then several gossips."""
    before = x = s.x - p.lr * grad(s.x)
    omega = 1.0 if p.gap is None else weight(p.gap)
    for _ in range(p.gossips):
        mixed = yield gossip(x)
        before, x = x, omega * mixed + (1 - omega) * before
    return State(x=x)


def weight(gap: float) -> float:
    """Omega, that of the newest, >= 1."""
    return 2 * (1 - sqrt(gap * (1 - gap / 4))) / (1 - gap / 2) ** 2
