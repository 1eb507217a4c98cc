"""DecentLaM: Yuan et al., ICCV 2021, arXiv:2104.11981.

Momentum accumulates the step that the network would let plain DSGD take: it rests where DSGD does,
not, as DSGDm, where a step 1 / (1 - beta) as long would. For constant lr this is
x <- W (x - lr g) + beta (x - x_prev).
With beta = 0 this is DSGD; on the complete graph from a common start, SGDm.
    x    [clients, params]  model                        lr    step size of this round
    m    [clients, params]  momentum of those steps      beta  memory of m, no dampening

The analysis asks for a symmetric W. Steps are divided by the lr of their own round and kept so: the
paper's way with a changing lr is not known here.
"""

from __future__ import annotations

from p2pqg.algorithms import dsgdm
from p2pqg.algorithms.dsgdm import Params, State
from p2pqg.algorithms.effects import Grad, Round, algorithm, gossip


@algorithm(
    "decentlam",
    params=Params,
    start=dsgdm.start,
    source="Yuan et al., ICCV 2021, and code of Momentum Tracking",
)
def decentlam(s: State, grad: Grad, p: Params) -> Round[State]:
    """DecentLaM: momentum without the bias that local momentum adds."""
    half = s.x - p.lr * grad(s.x)
    mixed = yield gossip(half)
    m = p.beta * s.m + (s.x - mixed) / p.lr
    return State(x=s.x - p.lr * m, m=m)
