"""What users write, as a type checker sees it: run by mypy (see pyproject.toml), and not executed.

Every line with `type: ignore` is a mistake that the checker must find: it fails if there is none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from typing_extensions import Unpack, assert_type

import p2pqg
from p2pqg.algorithms import Grad, Round
from p2pqg.errors import ConfigError


def runs(x0: np.ndarray) -> None:
    run = p2pqg.run(topology="social32", alpha=0.1, algorithm="qg-dsgdm-n", rounds=200, seed=1)
    assert_type(run, p2pqg.Run)
    assert_type(run.path, Path)
    assert_type(run.summary, dict[str, Any])
    assert_type(run.model(3), nn.Module)
    assert_type(run.model("averaged"), nn.Module)
    assert_type(run.save_models("models"), Path)
    # Of several seeds they are `Runs`; `Any` spares who knows that it is one run the question.
    assert_type(p2pqg.load(run.path), p2pqg.Run | Any)
    assert_type(p2pqg.resume(run.path, rounds=400, quiet=False), p2pqg.Run | Any)
    p2pqg.resume(run.path, topology=lambda round: np.eye(4), metrics={"share": share})
    p2pqg.run(algorithm={"name": "dmsgd", "mu": 0.3}, impairments={"loss": 0.1}, engine="local")
    p2pqg.run(model=nn.Linear(64, 10), metrics={"share": share}, personal=["bias"], seed=1)
    p2pqg.run(model={"name": "mlp", "hidden": [32]}, metrics=["f1"], validation=0.1, loss="mse")
    p2pqg.run(topology=p2pqg.mixing_matrix("ring8"), dataset=(x0, x0), partition=[[0, 1], [2, 3]])
    p2pqg.run(topology=lambda round: np.eye(4), partition=halves, test=(x0, x0))
    p2pqg.run(topolgy="ring16")  # type: ignore[call-overload]
    p2pqg.run(rounds="many")  # type: ignore[call-overload]
    p2pqg.run(engine="spark")  # type: ignore[call-overload]
    p2pqg.resume(run.path, alpha=0.1)  # type: ignore[call-arg]


def several_seeds() -> None:
    seeds = p2pqg.run(seed=[1, 2, 3], alpha=0.1)
    assert_type(seeds, p2pqg.Runs)
    assert_type(seeds[0], p2pqg.Run)
    assert_type([run.path for run in seeds], list[Path])
    assert_type(seeds.summary, pd.DataFrame)
    p2pqg.compare(seeds, seeds[0], to_accuracy=0.9)
    p2pqg.run(seed=["one", "two"])  # type: ignore[list-item]


def halves(labels: np.ndarray, clients: int, rng: np.random.Generator) -> list[np.ndarray]:
    return np.array_split(rng.permutation(len(labels)), clients)


def share(logits: Tensor, targets: Tensor) -> float:
    return float((logits.argmax(1) == targets).float().mean())


def many(**settings: Unpack[p2pqg.Settings]) -> list[p2pqg.Run]:
    found = []
    for seed in range(3):
        settings["seed"] = seed
        found.append(p2pqg.run(**settings))
    return found


def from_a_mapping() -> None:
    recipe: p2pqg.Settings = {"topology": "ring16", "lr_schedule": {"warmup_epochs": 5}}
    p2pqg.run(**recipe)
    p2pqg.run(**recipe, seed=2)  # type: ignore[call-overload]  # the mapping may have one
    wrong: p2pqg.Settings = {"clients": "16"}  # type: ignore[typeddict-item]
    p2pqg.run(**wrong)
    unchecked: dict[str, Any] = {"topology": "ring16", "rounds": 5}
    p2pqg.run(**unchecked)


def live() -> None:
    with p2pqg.Simulation(topology="ring16", alpha=0.1, engine="local") as sim:
        assert_type(sim, p2pqg.Simulation)
        sim.advance(rounds=50)
        assert_type(sim.round, int)
        assert_type(sim.parameters(), np.ndarray)
        branch = sim.fork()
        assert_type(branch, p2pqg.Simulation)
        branch.drop_links(["0-1"])
        branch.set_impairments(loss=0.05, by="link")
        branch.set_impairments(los=0.05)  # type: ignore[call-arg]
        branch.restore_clients([3], how="average")
        branch.restore_links("all")
        branch.set_impairments("none")
        branch.restore_clients([3], how="best")  # type: ignore[arg-type]
        both = p2pqg.compare(sim, branch, names=["left alone", "link cut"], to_accuracy=0.9)
        assert_type(both, p2pqg.Comparison)
        path = sim.checkpoint("moment")
        assert_type(p2pqg.Simulation.restore(path, engine="ray"), p2pqg.Simulation)
    p2pqg.Simulation(topology="ring16", round=5)  # type: ignore[call-arg]


def networks_and_models(labels: np.ndarray) -> None:
    assert_type(p2pqg.mixing_matrix("social32", round=0), np.ndarray)
    assert_type(p2pqg.partition("qg-dirichlet", labels, clients=16, alpha=0.1), list[np.ndarray])
    assert_type(p2pqg.build_model("resnet20-gn", 10, (3, 32, 32)), nn.Module)
    assert_type(p2pqg.average_consensus("ring16", rounds=30), np.ndarray)
    p2pqg.mixing_matrix("social32", rund=0)  # type: ignore[call-arg]


def trajectories(x0: np.ndarray) -> None:
    def gradient(x: np.ndarray, round: int) -> np.ndarray:
        return x - round

    def torch_gradient(x: Tensor, round: int) -> Tensor:
        return x - round

    path = p2pqg.trajectory("qg-dsgdm", gradient, x0, topology="ring8", rounds=30, lr=0.05, mu=0.9)
    assert_type(path, np.ndarray)
    start = torch.from_numpy(x0)
    tensors = p2pqg.trajectory("dsgd", torch_gradient, start, topology="ring8", rounds=3, lr=0.1)
    assert_type(tensors, Tensor)
    falling: Callable[[int], float] = lambda round: 0.1 / (round + 1)  # noqa: E731  (a user's)
    p2pqg.trajectory("dsgd", gradient, x0, topology=p2pqg.mixing_matrix, rounds=3, lr=falling)
    p2pqg.trajectory("dsgd", gradient, x0, topology="ring8", lr=0.1)  # type: ignore[call-arg]


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float
    share: float = 0.5


class State(NamedTuple):
    x: Tensor


def start(x0: Tensor) -> State:
    return State(x=x0)


@p2pqg.algorithm("half-way", params=Params, start=start)
def half_way(s: State, grad: Grad, p: Params) -> Round[State]:
    half = s.x - p.lr * grad(s.x)
    mixed = yield p2pqg.gossip(half)
    return State(x=half + p.share * (mixed - half))


def one_round(x: Tensor, grad: Grad) -> None:
    assert_type(half_way(State(x), grad, Params(lr=0.1)), Round[State])


@p2pqg.model("mine")
def mine(num_classes: int, input_shape: tuple[int, ...], params: object) -> nn.Module:
    return nn.Linear(input_shape[0], num_classes)


assert_type(mine(2, (3,), None), nn.Module)


def mistakes() -> None:
    try:
        p2pqg.run(topology="ring16")
    except p2pqg.DivergedError as error:
        assert_type(error.exit_code, int)
    except ConfigError as error:
        assert_type(error, p2pqg.ConfigError)
    assert issubclass(p2pqg.TopologyError, p2pqg.ConfigError)
    assert_type(p2pqg.__version__, str)
    p2pqg.rnu()  # type: ignore[attr-defined]
