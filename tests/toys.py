"""A simulation so small that a round takes a millisecond, for tests of what happens to one."""

import torch

from p2pqg.algorithms import ALGORITHMS
from p2pqg.running.observer import Observer

TOY = {
    "topology": "ring6",
    "dataset": {"name": "synthetic", "samples": 120, "features": 8, "classes": 3},
    "model": {"name": "mlp", "hidden": [4]},
    "alpha": 0.5,
    "batch_size": 4,
    "lr": 0.05,
    "seed": 3,
}


def few_steps(algorithm):
    """Parameters with which no round takes long: those who take 50 local steps take 3."""
    params = ALGORITHMS[algorithm].params
    return {"local_steps": 3} if getattr(params, "local_steps", 1) > 10 else {}


def gradients(sim):
    """(x, round) -> every client's gradient on its batch of that round."""
    learner = sim._driver.engine.hosts[0].learner.fork()
    return lambda x, round: learner.gradient(torch.from_numpy(x), round).numpy()


def assert_same(a, b):
    """Two simulations are equal bit for bit, apart from wall time."""
    assert (a.parameters() == b.parameters()).all()
    for one, other in (
        (a.history.drop(columns="wall_seconds"), b.history.drop(columns="wall_seconds")),
        (a.clients, b.clients),
        (a.links, b.links),
    ):
        assert one.equals(other)
    assert a.events == b.events


DSGD = """
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from p2pqg import algorithm, gossip


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float


class State(NamedTuple):
    x: Tensor


@algorithm("own-dsgd", params=Params, start=lambda x0: State(x0))
def own_dsgd(s, grad, p):
    x = yield gossip(s.x - p.lr * grad(s.x))
    return State(x)
"""
"""A user's own file with an algorithm that p2pqg has too."""


class Notes(Observer):
    """An observer of a run that writes down what is noted."""

    def __init__(self):
        self.notes = []

    def noted(self, text):
        self.notes.append(text)


class Dies(Observer):
    """An observer of a run that ends after some rounds, as if its process was killed."""

    def __init__(self, rounds=4):
        self.rounds = rounds

    def recorded(self, simulation):
        if simulation.round >= self.rounds:
            raise KeyboardInterrupt
