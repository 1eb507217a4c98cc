"""build(): settings -> the parts of a run; the one file that knows every part.

Every problem is reported before anything starts.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from p2pqg.algorithms.control import Controller
from p2pqg.algorithms.lr import learning_rate
from p2pqg.algorithms.user_code import find_algorithm
from p2pqg.base import config as machinery
from p2pqg.base.config import Tries
from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry
from p2pqg.base.user_code import neighbors
from p2pqg.data import Arrays
from p2pqg.engine.placement import Placement
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.engine.spec import HostSpec, Shards, Task
from p2pqg.models import MODELS, Cost
from p2pqg.network import Network, NetworkParams, Timing
from p2pqg.network.events import Event
from p2pqg.network.scenario import Scenario, read_scenario
from p2pqg.network.verbs import VERBS
from p2pqg.recipe import own_files
from p2pqg.recipe.parts import learning
from p2pqg.recipe.settings import RunConfig, chosen
from p2pqg.topology import Schedule
from p2pqg.topology import build as build_topology


@dataclass(frozen=True, eq=False)
class Experiment:
    """Everything a driver needs to run one simulation.

    Attributes:
        config: resolved: every default filled in.
        network: at the start; with its clock, if there is one.
        parts: for each client, the indices of its training samples.
        cost: of the model.
        num_rounds, rounds_per_epoch: the run's length; rounds in one pass over a mean-sized shard.
        warnings: what is allowed but should be known, a line each.
        scenario: what happens when; clock: the settings of the simulated clock.
        own_files: those of the user that the recipe names, as they are now: name -> content.
    """

    config: RunConfig
    network: Network
    arrays: Arrays
    parts: list[np.ndarray]
    rule: Rule
    task: Task
    cost: Cost
    num_rounds: int
    rounds_per_epoch: float
    warnings: list[str]
    scenario: Scenario
    clock: NetworkParams | None = None
    own_files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def schedule(self) -> Schedule:
        """The network while all is well."""
        return self.network.base

    @property
    def timing(self) -> Timing | None:
        """The simulated clock."""
        return self.network.timing

    @property
    def num_clients(self) -> int:
        return self.network.num_clients

    def with_clock(self, network: Network) -> Network:
        """A network with the simulated clock of this run."""
        return _with_clock(network, self.clock, self.rule, self.cost, self.task)

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return self.arrays.test_x, self.arrays.test_y

    def flops_per_client(self) -> float:
        """Operations of one client's gradient: forward once, backward about twice."""
        return 3 * 2 * self.cost.multiply_adds * self.task.batch_size

    @property
    def is_dense(self) -> bool:
        """The models are plain stacks of linear layers."""
        return "cost" in MODELS[self.task.model].traits

    def memory_bytes(self, device: str) -> int:
        """About what all clients need on the device, by what runs were seen to take.

        A round makes as much as five more vectors: the gradient, the step, rows before and after
        mixing, and room between them. In main memory the states are there once more, with Ray
        three times more, when a checkpoint is on its way; and so are the samples.
        """
        itemsize = 8 if self.config.precision == "float64" else 4
        row = self.cost.num_params * itemsize
        copies = 0 if device == "cuda" else 3 if self.config.engine == "ray" else 1
        states = (1 + copies) * _vectors(self.rule, self.cost.num_params)
        samples = max(1, copies) * self.arrays.train_x.nbytes
        return self.num_clients * row * (5 + states) + samples

    def hosts(
        self, placement: Placement, device: str, rule: Rule, schedule: Schedule
    ) -> list[HostSpec]:
        """One spec per block of clients, with the rule and the network as they are now."""
        routing = Routing(schedule, placement.bounds)
        specs = []
        for index in range(placement.num_actors):
            mine = self.parts[placement.bounds[index] : placement.bounds[index + 1]]
            rows = np.concatenate(mine)
            shards = Shards(
                np.ascontiguousarray(self.arrays.train_x[rows]),
                np.ascontiguousarray(self.arrays.train_y[rows]),
                np.array([len(part) for part in mine]),
            )
            specs.append(
                HostSpec(
                    index,
                    rule,
                    routing,
                    self.task,
                    shards,
                    device,
                    placement.num_threads,
                    self.config.profile,
                )
            )
        return specs


def _vectors(rule: Rule, num_params: int) -> int:
    """How many vectors of model size one client's state has."""
    state = rule.start(torch.empty(0, num_params))
    return sum(getattr(part, "shape", ())[-1:] == (num_params,) for part in state)


def _algorithm(config: RunConfig, tries: Tries) -> tuple[str, Entry | None, Any]:
    """Its name, its entry and its parameters."""
    name, given = chosen(config.algorithm, "qg-dsgdm-n")
    entry = tries.make(find_algorithm, name)
    if entry is None:
        return name, None, None
    given = {"lr": config.lr} | given
    if config.momentum is not None:
        if "beta" in entry.params.__dataclass_fields__:
            given["beta"] = config.momentum
        else:
            tries.problems.append(f"momentum cannot be set: {name} has none")
    return name, entry, tries.read(entry.params, given, "algorithm")


def _network(
    config: RunConfig, tries: Tries, needs: tuple[str, ...]
) -> tuple[Network | None, NetworkParams | None]:
    """The network as it is at the start, and the settings of its clock."""
    network = clock = None
    schedule = tries.make(build_topology, config.topology, clients=config.clients, needs=needs)
    if schedule:
        network = tries.make(
            Network,
            schedule,
            seed=config.seed,
            impairments=config.impairments,
            by_columns="column-stochastic" in needs,
        )
    if config.network is not None:
        clock = tries.read(NetworkParams, config.network, "network")
    if clock and network:
        tries.make(Timing.of, clock, network.num_clients, schedule.labels, config.seed)
    return network, clock


def build(config: RunConfig) -> Experiment:
    """Put the parts together.

    Raises:
        ConfigError: with every problem found, a line each.
    """
    tries = Tries()
    algorithm, entry, params = _algorithm(config, tries)
    needs = entry.traits["needs"](params) if params else ()
    network, clock = _network(config, tries, needs)
    warnings = []
    if network and params and not entry.traits["centralized"]:
        warnings = tries.make(network.check_needs, needs, algorithm) or []
    found = learning(config, tries, network and network.num_clients)
    if tries.problems:
        raise ConfigError.of(tries.problems)

    arrays, parts, n = found.arrays, found.parts, network.num_clients
    rounds_per_epoch = sum(len(part) for part in parts) / n / config.batch_size
    num_rounds = config.rounds or 500
    if config.epochs is not None:
        num_rounds = math.ceil(config.epochs * rounds_per_epoch)
    lr = learning_rate(
        config.lr, config.lr_schedule, n, config.batch_size, num_rounds, rounds_per_epoch
    )
    resolved = dataclasses.replace(
        config,
        topology=str(config.topology),
        clients=n,
        algorithm={"name": algorithm}
        | {k: v for k, v in machinery.plain(params).items() if k != "lr"},
        rounds=None if config.epochs is not None else num_rounds,
        momentum=None,
        eval_every=config.eval_every or _evaluation_period(num_rounds, config, arrays),
        record_every=config.record_every or max(1, num_rounds // 100),
        **found.resolved,
    )
    model_params = dict(resolved.model)
    task = Task(
        model_params.pop("name"),
        model_params,
        arrays.num_classes,
        arrays.input_shape,
        arrays.mean,
        arrays.std,
        arrays.augmentation,
        config.batch_size,
        config.weight_decay,
        config.precision,
        config.seed,
    )
    control = Controller.of(config.consensus, num_rounds)
    rule = Rule(entry, dataclasses.replace(params, lr=lr(0)), lr, config.seed, control)
    live = _with_clock(network, clock, rule, found.cost, task)
    rule.check_network(live)  # a deadline draws W anew every round, which not all can do
    scenario = read_scenario(
        config.scenario,
        network,
        num_rounds,
        timed=clock is not None,
        check=partial(_check_event, rule, network.base),
    )
    if control and "delay" in network.drawn:
        raise ConfigError(
            "impairments.delay does not go with consensus: exchanges repeated within a round have "
            "no messages of the round before; set one of them"
        )
    return Experiment(
        config=resolved,
        network=live,
        arrays=arrays,
        parts=parts,
        rule=rule,
        task=task,
        cost=found.cost,
        num_rounds=num_rounds,
        rounds_per_epoch=rounds_per_epoch,
        warnings=warnings,
        scenario=scenario,
        clock=clock,
        own_files=own_files.read(vars(config), neighbors(entry)),
    )


def _check_event(rule: Rule, start: Schedule, event: Event, network: Network) -> None:
    """Whether an event of the scenario suits the algorithm; ConfigError if not."""
    if VERBS[event.action].rule:
        VERBS[event.action].rule(rule, event.arguments)
    else:
        rule.check_network(network, moved=event.at > 0 and network.schedule is not start)


def _with_clock(
    network: Network, clock: NetworkParams | None, rule: Rule, cost: Cost, task: Task
) -> Network:
    """The network with its simulated clock, which knows what messages weigh if some may be late."""
    if clock is None:
        return network
    timing = Timing.of(clock, network.num_clients, network.base.labels, network.seed)
    message_bytes = 0.0
    if timing.deadline < math.inf:
        dtype = torch.float64 if task.precision == "float64" else torch.float32
        exchanges = rule.traffic(cost.num_params, dtype)
        message_bytes = sum(size for kind, size in exchanges if kind == "gossip")
    deadline = None if math.isinf(timing.deadline) else timing.deadline
    return dataclasses.replace(
        network, timing=timing, deadline=deadline, message_bytes=message_bytes
    )


def _evaluation_period(num_rounds: int, config: RunConfig, arrays: Arrays) -> int:
    """Rounds between evaluations: ten a run, fewer where that would cost over a tenth of it.

    A test sample costs one forward pass, a training sample about three.
    """
    affordable = 0.1 * 3 * num_rounds * config.batch_size / len(arrays.test_y)
    return math.ceil(num_rounds / max(1, min(10, int(affordable))))
