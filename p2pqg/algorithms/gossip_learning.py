"""Gossip learning: Ormandi, Hegedus, Jelasity, Concurrency and Computation 2013, arXiv:1109.1396.

Models walk through the network. A client sends its own to one neighbor, merges what has come with
it, and updates the result on its own data. It wakes whenever a gradient is done (the paper has a
timer), and what came in the meantime is merged at once.

    x <- (w x + sum_j w_j x_j) / (w + sum_j w_j),   age <- max(age, age_j),   of what came from j
    where each w is 1 (average), or the age of its model (age)

    x    [clients, params]  model         lr  step size of this round
    age  [clients, 1]       updates that a model has seen
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from p2pqg.algorithms.asynchronous import Inbox, OwnPace, Step, arrived, push
from p2pqg.algorithms.effects import Grad, algorithm
from p2pqg.base.lazy import torch


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    merge: Literal["average", "age"] = "average"
    """What models count in a merge: "average", all alike; "age", by the updates they have seen."""


class State(NamedTuple):
    x: torch.Tensor
    age: torch.Tensor


def start(x0: torch.Tensor) -> State:
    return State(x=x0, age=torch.zeros_like(x0[:, :1]))


@algorithm(
    "gossip-learning",
    params=Params,
    start=start,
    asynchronous=OwnPace(),
    source="Ormandi et al. 2013; makgyver/gossipy",
)
def gossip_learning(s: State, grad: Grad, p: Params) -> Step[State]:
    """Gossip learning: models walk from client to client, merged and updated where they arrive."""
    x, age = s.x - p.lr * grad(s.x), s.age + 1
    yield push(x, age, to="one")
    inbox = yield arrived()
    return _merged(x, age, inbox, by_age=p.merge == "age")


def _merged(x: torch.Tensor, age: torch.Tensor, inbox: Inbox, by_age: bool) -> State:
    """The weighted mean of a model and those that have come; as old as the oldest of them."""
    ages = inbox[1]
    own, theirs = (age, ages[:, 0]) if by_age else (1.0, torch.ones_like(ages[:, 0]))
    came, _ = inbox.sum(theirs)
    total = own + torch.zeros_like(age).index_add(0, inbox.to, theirs[:, None])
    oldest = age.scatter_reduce(0, inbox.to[:, None], ages, "amax")
    return State(x=(own * x + came) / total, age=oldest)
