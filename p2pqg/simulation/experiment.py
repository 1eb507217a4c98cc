"""Experiment: all parts of one simulation, ready to run; `build.py` makes it of settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from p2pqg.algorithms.privacy import EPSILONS, Accounts
from p2pqg.base.lazy import torch
from p2pqg.base.ranges import MOST_COUNTED
from p2pqg.base.records import OF_TESTS
from p2pqg.data import Arrays
from p2pqg.data.feeding import ENTRIES_AHEAD, STEPS_AHEAD
from p2pqg.engine.habits import coming
from p2pqg.engine.outlook import Outlook
from p2pqg.engine.parts import WORTH_IT
from p2pqg.engine.placement import Placement
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.engine.spec import HostSpec, Shards, Task
from p2pqg.engine.traffic import Traffic
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.models import Cost
from p2pqg.models._capture import Capture
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.network.scenario import Scenario
from p2pqg.network.units import seconds, still
from p2pqg.recipe.own import NOTHING, Own
from p2pqg.recipe.settings import ResolvedConfig
from p2pqg.results.schemas import CLIENT_COLUMNS, STEPS_COLUMNS
from p2pqg.simulation.callbacks import Callback
from p2pqg.simulation.clocked import in_time, with_clock
from p2pqg.simulation.task import check_lies_of_data
from p2pqg.topology import Schedule
from p2pqg.topology.build import asked_of

if TYPE_CHECKING:  # brings torch
    from p2pqg.engine.waves.timeline import Timeline

FULL_WAVE = 2048
"""Steps that are cut into waves together, about: then waves are as large as can be."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """Everything a driver needs to run one simulation.

    Attributes:
        config: resolved: every default filled in.
        network: at the start; with its clock, if there is one.
        parts: for each client, the indices of its training samples.
        cost: of the model.
        num_rounds: the run's length; planned_rounds: that of which milestones and phases are
            fractions, shorter where a run goes on.
        steps_per_epoch: batches in one pass over a mean-sized shard.
        steps_per_round: batches that a client draws in a round.
        warnings: what is allowed but should be known, a line each.
        scenario: what happens when; clock: the settings of the simulated clock.
        own: objects that the user gave where a recipe has names.
        own_files: those of the user that the recipe names, as they are now: name -> content.
        held_out: the indices of the validation samples.
        callbacks: told of rows and evaluations.
    """

    config: ResolvedConfig
    network: Network
    arrays: Arrays
    parts: list[np.ndarray]
    rule: Rule
    task: Task
    cost: Cost
    num_rounds: int
    planned_rounds: int
    steps_per_epoch: float
    steps_per_round: int
    warnings: list[str]
    scenario: Scenario
    clock: ClockParams | None = None
    own: Own = NOTHING
    own_files: Mapping[str, bytes] = field(default_factory=dict)
    held_out: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    callbacks: tuple[Callback, ...] = ()

    @property
    def rounds_per_epoch(self) -> float:
        """Rounds in one pass over a mean-sized shard."""
        return self.steps_per_epoch / self.steps_per_round

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

    def with_clock(self, network: Network, rule: Rule) -> Network:
        """A network with the simulated clock of this run, where that rule is played."""
        return with_clock(network, network.clock or self.clock, rule, self.cost, self.task)

    def in_time(self, network: Network, rule: Rule) -> Network:
        """A network with its clock, where that rule is played: who is in time depends on it."""
        return in_time(network, rule, self.cost, self.task)

    def coming(self, rule: Rule, network: Network, round: int) -> Iterator[Traffic]:
        """What rounds from that one on will take where the rule is played, as far as is known."""
        nobody = torch.empty(0, self.cost.num_params, dtype=self.task.dtype)
        first = self.rule.params  # a step size that was set is of no weight
        since_the_start = replace(rule.params, lr=first.lr) == first
        return coming(rule, nobody, network.slots, round, since_the_start)

    def check_lies_of_data(self, network: Network) -> None:
        """Whether what is learned can be lied about so; ConfigError if not."""
        check_lies_of_data(network, self.task)

    @property
    def num_test_samples(self) -> int:
        """Without those of the validation set, which are behind them."""
        return len(self.arrays.test_y) - len(self.held_out)

    @property
    def client_columns(self) -> dict[str, str]:
        """Name and type of the columns of clients.parquet."""
        steps = {} if self.waits else STEPS_COLUMNS
        more = dict.fromkeys([*self.task.measures, *self._spent], "float64")
        return {**CLIENT_COLUMNS, **steps, **more}

    @property
    def measured_columns(self) -> dict[str, str]:
        """More of rounds.parquet: means over the clients, and metrics of the averaged model.

        Of epsilon the largest, also of clients that left.
        """
        averaged = [f"averaged_{metric.name}" for metric in self.task.metrics]
        return dict.fromkeys([*self.task.measures, *averaged, *self._spent], "float64")

    @property
    def tested_columns(self) -> tuple[str, ...]:
        """Of these a row has one where clients were evaluated, if a metric of the user's alone."""
        return *OF_TESTS, *(metric.name for metric in self.task.metrics)

    @property
    def accounts(self) -> Accounts | None:
        """The books of privacy; None: no noise is added, and nothing is private."""
        if not self.task.privacy.sigma:
            return None
        sizes = np.array([len(part) for part in self.parts])
        return Accounts(self.task.privacy, self.task.batch_size, sizes)

    @property
    def _spent(self) -> tuple[str, ...]:
        return EPSILONS if self.task.privacy.sigma else ()

    @property
    def test(self) -> tuple[np.ndarray, np.ndarray]:
        return self.arrays.test_x, self.arrays.test_y

    def flops_per_client(self) -> float:
        """Operations of one client's gradient: forward once, backward about twice."""
        return 3 * 2 * self.cost.multiply_adds * self.task.batch_size

    @property
    def is_dense(self) -> bool:
        """The models are plain stacks of linear layers."""
        return "cost" in self.task.model.entry.traits

    @property
    def batch_bytes(self) -> int:
        """What a batch of every client takes, and the indices of the next ones."""
        sample = 4 * math.prod(self.task.input_shape)
        entries = self.num_clients * self.task.batch_size
        return entries * sample + 8 * max(entries, min(entries * STEPS_AHEAD, ENTRIES_AHEAD))

    def memory_bytes(self, device: str) -> int:
        """About what all clients need on the device, by what runs were seen to take.

        A round makes as much as five more vectors: the gradient, the step, rows before and after
        mixing, and room between them; where it is played part by part, what is sent and room for
        as much, and with Ray what actors send each other, twice. In main memory the states are
        there once more, with Ray three times more, when a checkpoint is on its way, unless they are
        many, which go there piece by piece. The samples are there as often.
        """
        itemsize = 8 if self.config.precision == "float64" else 4
        models = self.num_clients * self.cost.num_params * itemsize
        copies = 0 if device == "cuda" else 3 if self.config.engine == "ray" else 1
        states = _vectors(self.rule, self.cost.num_params)
        by_parts = device == "cpu" and self.waits and models >= WORTH_IT
        vectors = 5 + (1 + copies) * states
        if by_parts:
            vectors = (4 if self.config.engine == "ray" else 2) + states
        samples = max(1, copies) * self.arrays.train_x.nbytes
        return vectors * models + samples + self.batch_bytes

    @property
    def waits(self) -> bool:
        """Clients go from round to round together; otherwise each has its own pace."""
        return self.rule.waits

    @property
    def end(self) -> Callable[[Outlook], bool] | None:
        """Whether a run is over, where its length is not a number of rounds."""
        config = self.config
        if config.time is not None:
            end = seconds(config.time, "time")
            return lambda stand: still(stand.seconds) >= end
        if (steps := config.steps) is not None and not self.waits:
            return lambda stand: stand.steps >= steps
        return None

    def timeline(self, rule: Rule, network: Network) -> Timeline:
        """The timeline of clients that do not wait, at its start."""
        from p2pqg.engine.waves.calls import Asks
        from p2pqg.engine.waves.planner import timeline_of  # brings torch, as the algorithm does

        routing = self.routing(network, (0, network.num_clients))
        assert isinstance(routing, WaveRouting)
        return timeline_of(routing, Asks.of(rule, self.cost.num_params, self.task.dtype))

    @property
    def window(self) -> int:
        """Rounds that are cut into waves together, where clients do not wait; small waves cost."""
        if self.waits:
            return 1
        return max(1, min(self.config.record_every, FULL_WAVE // self.num_clients))

    def routing(self, network: Network, bounds: tuple[int, ...]) -> Routing | WaveRouting:
        """A network as blocks with such borders see it."""
        if self.waits:
            needs = self.rule.needs, self.rule.algorithm.name
            return Routing(network.schedule, bounds, network.attacks, needs)
        end = self.config.time
        end = math.inf if end is None else seconds(end, "time")
        return WaveRouting(network, bounds, self.window, end)

    def capture(self, share: float, session: str) -> Capture:
        """Whether hosts capture their steps; `share`: of a card, each; `session`: of this run."""
        own = any(not entry.is_ours for entry in (self.task.model.entry, self.task.objective.entry))
        return Capture(self.config.capture, share, session if own else "")

    def hosts(
        self,
        placement: Placement,
        device: str,
        rule: Rule,
        network: Network,
        session: str = "",
    ) -> list[HostSpec]:
        """One spec per block of clients, with the rule and the network as they are now."""
        capture = self.capture(placement.gpus_per_actor or 1.0, session)
        routing = self.routing(network, placement.bounds)
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
                    index=index,
                    rule=rule,
                    routing=routing,
                    task=self.task,
                    shards=shards,
                    device=device,
                    num_threads=placement.num_threads,
                    profile=self.config.profile,
                    own_network=asked_of(self.network.base),
                    capture=capture,
                )
            )
        return specs


def _vectors(rule: Rule, num_params: int) -> int:
    """How many vectors of model size one client's state has."""
    num_params = min(num_params, MOST_COUNTED // 2)  # a tensor has no more, even of no rows
    state = rule.start(torch.empty(0, num_params))
    return sum(getattr(part, "shape", ())[-1:] == (num_params,) for part in state)
