"""AD-PSGD, asynchronous decentralized SGD: Lian, Zhang, Zhang, Liu, ICML 2018, arXiv:1710.06952.

A client computes at its own pace. When it has a gradient, of its model as it stood when it began,
it makes the step and averages with one neighbor, whoever that is and whatever it is doing: that
leaves the mean of all models where it is. In the paper's Algorithm 1 it averages first and makes
the step then, alone; in the code of Assran et al. (stochastic_gradient_push) it is as here. Clients
of equal speed without delays, each with one neighbor at a time, are DSGD on random matchings.
    x    [clients, params]  model          lr    step size of this round
"""

from __future__ import annotations

from p2pqg.algorithms.asynchronous import OwnPace, Step, meet
from p2pqg.algorithms.dsgd import Params, State, start
from p2pqg.algorithms.effects import Grad, algorithm


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
    half = s.x - p.lr * grad(s.x)
    x = yield meet(half)
    return State(x=x)
