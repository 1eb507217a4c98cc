"""How long a run is, and how often it is evaluated, by its settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.ranges import MOST_COUNTED
from p2pqg.engine.outlook import Outlook, of_rounds, of_waves
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import batches_per_round, scouted
from p2pqg.engine.spec import Task
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.models import Cost
from p2pqg.network import Network, Timing
from p2pqg.network.units import seconds, still
from p2pqg.recipe.learning import Learning
from p2pqg.recipe.settings import DEFAULT_ROUNDS, RunConfig
from p2pqg.simulation.method import Method

ROUNDING = 1e-9
"""Share of a round's number that is the rounding of a product, see also `Run.finished`."""
MOST_ROUNDS = 10**6
"""Rounds that a run may take which ends by the clock or by steps."""
ROUNDS_OF_HOPE, MARGIN = 1000, 100
"""After so many it is seen whether MOST_ROUNDS will do, were those to come so much longer."""
MOST_STEPS = 10**7
"""Of a client in a round: more would only seem to hang."""


@dataclass(frozen=True)
class Length:
    """How long a run is.

    Attributes:
        num_rounds: after which it ends at the latest.
        planned_rounds: what fractions of the run, such as milestones, are of.
        steps_per_epoch: batches in a pass over a shard of mean size.
        steps_per_round: batches that each client draws in a round.
    """

    num_rounds: int
    planned_rounds: int
    steps_per_epoch: float
    steps_per_round: int


class EndSeen(NamedTuple):
    """How far a run that ends by a clock goes on, as long as nothing happens to it.

    Attributes:
        network, rule: those that it has until then.
        round: the next one after which it may be over.
        is_last: it will be, as far as can be known; if not, so far was looked.
    """

    network: Network
    rule: Rule
    round: int
    is_last: bool

    def holds(self, network: Network, rule: Rule, round: int) -> bool:
        """Whether that is still to come, and nothing has happened."""
        return self.network is network and self.rule is rule and round < self.round


def length_of(
    config: RunConfig,
    method: Method,
    found: Learning,
    outlook: Callable[[float], Iterator[Outlook]],
) -> Length:
    """Rounds planned, by whichever key ends the run.

    Args:
        config: the settings.
        method: the algorithm with its parameters.
        found: data and model.
        outlook: what the clock will show up to that many seconds, see `outlook_of`.

    Raises:
        ConfigError: there is no clock to end it by, or the end is too far away.
    """
    steps_per_epoch = steps_per_epoch_of(config, found)
    steps_per_round = batches_per_round(method.algorithm, method.params)
    if steps_per_round > MOST_STEPS:
        raise ConfigError(
            f"a round has {MOST_STEPS:,} steps of a client at most, got {steps_per_round:,}; make "
            "local_steps or local_epochs less"
        )

    def num_rounds(rounds: int | None, epochs: float | None) -> int | None:
        if epochs is None:
            return rounds
        exact = epochs * steps_per_epoch / steps_per_round
        if exact > MOST_COUNTED:
            raise ConfigError(
                f"{epochs:g} epochs are {exact:.3g} rounds; a run has {MOST_COUNTED:.4g} at most"
            )
        return math.ceil(exact * (1 - ROUNDING))  # 1.1 epochs of 10 steps are 11, not 12

    length = num_rounds(config.rounds, config.epochs) or DEFAULT_ROUNDS
    if config.time is not None:
        end = seconds(config.time, "time")
        length = _first(
            outlook(end), lambda ahead: still(ahead.seconds) / end, f"time {config.time}"
        )
    elif config.steps is not None and not method.waits:
        wanted = config.steps
        length = _first(outlook(math.inf), lambda ahead: ahead.steps / wanted, f"steps {wanted}")
    elif config.steps is not None:
        length = math.ceil(config.steps / steps_per_round)
    return Length(
        num_rounds=length,
        planned_rounds=num_rounds(config.planned_rounds, config.planned_epochs) or length,
        steps_per_epoch=steps_per_epoch,
        steps_per_round=steps_per_round,
    )


def steps_per_epoch_of(config: RunConfig, found: Learning) -> float:
    """Batches in a pass over a shard of mean size."""
    return sum(map(len, found.parts)) / len(found.parts) / config.batch_size


def outlook_of(
    rule: Rule, network: Network, cost: Cost, task: Task, end: float
) -> Iterator[Outlook]:
    """What the clock will show, from the start to `end`, if nothing is done on the way.

    Raises:
        ConfigError: there is no clock.
    """
    if not isinstance(network.timing, Timing):
        raise ConfigError(
            "time is that of the simulated clock, and there is none. Add network: {compute: 1 s, "
            "links: wan}, or say rounds"
        )
    n, dtype = network.num_clients, task.dtype
    if not rule.waits:
        from p2pqg.engine.waves.calls import Asks
        from p2pqg.engine.waves.planner import timeline_of  # brings torch, as the algorithm does

        routing = WaveRouting(network, (0, n), end=end)
        return of_waves(timeline_of(routing, Asks.of(rule, cost.num_params, dtype)))
    taken = scouted(rule, torch.empty(0, cost.num_params, dtype=dtype), MOST_ROUNDS, network.slots)
    return of_rounds(network, network.timing, 0, taken, np.zeros(n))


def _first(ahead: Iterator[Outlook], share: Callable[[Outlook], float], wanted: str) -> int:
    """Rounds done when it is so far: when that share of the way is 1."""
    seen, done = None, 0
    for done, seen in enumerate(islice(ahead, MOST_ROUNDS), 1):
        if share(seen) >= 1:
            return max(1, seen.round)
        if done == ROUNDS_OF_HOPE and share(seen) * MARGIN * MOST_ROUNDS < done:
            break
    shown = seen.seconds if seen else 0.0
    raise ConfigError(
        f"{wanted} is more than {MOST_ROUNDS:,} rounds; after {done:,} the simulated clock shows "
        f"{shown:.3g} s; make it less, or set network.compute"
    )


def evaluations(
    num_rounds: int, samples: int, config: RunConfig, found: Learning
) -> tuple[int, bool]:
    """Rounds between evaluations, and whether there is one after the first round.

    By default up to a hundred a run, fewer where they would cost over a tenth of it. A training
    sample (of a client, in a round) costs three times a test sample; in a stack of linear layers
    twelve times, as a small batch is mostly the cost of calling functions (measured on digits and
    its MLP).
    """
    ratio = 12 if "cost" in found.blueprint.entry.traits else 3
    cost = len(found.arrays.test_y) / (ratio * samples)  # in rounds
    affordable = max(1, min(100, int(0.1 * num_rounds / cost)))
    every = config.eval_every or math.ceil(num_rounds / affordable)
    first = config.eval_first
    if first is None:
        first = config.eval_every is None and affordable > 1
    return every, first
