"""build(): settings -> the parts of a run, put together; the one file that knows every part.

Every problem is reported before anything starts.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from p2pqg.algorithms.control import Controller
from p2pqg.algorithms.gossip_rules import GossipRule
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.user_code import neighbors
from p2pqg.engine.outlook import Outlook
from p2pqg.engine.personal import Personal
from p2pqg.engine.rule import Rule, Shapes
from p2pqg.engine.scouting import first_traffic
from p2pqg.engine.spec import Task
from p2pqg.engine.suits import check_gossips_models, check_network
from p2pqg.network import ClockParams, Network
from p2pqg.network.compute import read_compute
from p2pqg.network.scenario import Scenario, read_scenario
from p2pqg.recipe import own_files
from p2pqg.recipe.ignored import (
    ignored,
    never_due,
    never_out_of_patience,
    of_the_clock,
    of_the_rounds,
)
from p2pqg.recipe.learning import Learning
from p2pqg.recipe.own import NOTHING, Own
from p2pqg.recipe.settings import RunConfig
from p2pqg.results.schemas import (
    ALL_ROUND_COLUMNS,
    RULE_COLUMNS,
    STALENESS_COLUMNS,
    TIMING_COLUMNS,
)
from p2pqg.simulation.callbacks import callbacks_of
from p2pqg.simulation.clocked import with_clock
from p2pqg.simulation.experiment import Experiment
from p2pqg.simulation.found import Found, find
from p2pqg.simulation.length import Length, length_of, outlook_of
from p2pqg.simulation.method import Method
from p2pqg.simulation.rates import step_sizes, target_of, too_steep
from p2pqg.simulation.rehearsal import Rehearsal
from p2pqg.simulation.resolved import resolved
from p2pqg.simulation.task import (
    check_columns,
    check_lies_of_data,
    check_privacy,
    task_of,
    untested,
)
from p2pqg.topology.schedule import ROUNDS_SEEN

MOST_SEEN = 1000
"""Rounds of a network's period that are looked at, at most, to see whether anything takes time."""


def build(config: RunConfig, own: Own = NOTHING) -> Experiment:
    """Put the parts together.

    Args:
        config: perhaps not resolved yet.
        own: objects that the user gave where the recipe has names.

    Raises:
        ConfigError: with every problem found, a line each.
    """
    with _undisturbed():
        return _put_together(config, own, find(config, own))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Whatever a script has chosen of torch for itself, such as a default type, models see not."""
    if "torch" not in sys.modules:  # and of a driver of actors nobody asks that it loads it
        yield
        return
    from p2pqg.engine.guest import undisturbed

    with undisturbed(), torch.autocast("cpu", enabled=False):
        yield


def _put_together(config: RunConfig, own: Own, parts: Found) -> Experiment:
    """What the parts are together; ConfigError where they do not suit each other."""
    method, network, clock, found = parts.method, parts.network, parts.clock, parts.learning
    task = task_of(config, found)
    shapes = _shapes(method, task)
    personal = _personal(config, method, task)
    plain = Rule(
        method.algorithm, method.params, LearningRate(config.lr), config.seed, None, shapes
    )
    plain = plain.with_changes(personal=personal)
    live = with_clock(network, clock, plain, found.cost, task)
    outlook = partial(outlook_of, plain, live, found.cost, task)
    length = length_of(config, method, found, outlook)
    rule = _rule(config, method, network.num_clients, length, shapes, parts.gossip_rule, own)
    if personal:
        rule = rule.with_changes(personal=personal)
        first_traffic(rule, found.cost.num_params, torch.float32)  # refuses messages of its own
    told = [*_check_together(rule, live, task, found), *untested(task, found)]
    target = target_of(config, network.num_clients)
    told += ignored(config, method.params, target, length.num_rounds)
    if isinstance(rule.lr, LearningRate):
        told += of_the_rounds(config, rule.lr, length.num_rounds)
    still = clock is not None and _is_still(clock, network, outlook)
    told += of_the_clock(config, still, method.centralized)
    told += [*_cautions(config, rule, length), *too_steep(config, rule)]
    start = dataclasses.replace(network, clock=clock)
    scenario = read_scenario(
        config.scenario,
        start,
        length.num_rounds,
        timed=clock is not None,
        reckoned=config.ends == "time" or (config.ends == "steps" and not method.waits),
        check=Rehearsal(rule, live, (found.cost, task), (found.arrays, found.held_out)),
    )
    told += never_due(config, scenario)
    _check_length(config, scenario)
    settled = resolved(config, method, network, length, found, parts.gossip_rule)
    told += never_out_of_patience(settled, length.num_rounds)
    callbacks = callbacks_of(config.callbacks, own.get("callbacks") or {})
    experiment = Experiment(
        config=settled,
        network=live,
        arrays=found.arrays,
        parts=found.parts,
        rule=rule,
        task=task,
        cost=found.cost,
        **dataclasses.asdict(length),
        warnings=[*parts.warnings, *told, *scenario.notes, *found.arrays.notes, *found.notes],
        scenario=scenario,
        clock=clock,
        own=own,
        own_files=own_files.with_imported(
            {
                **own_files.read(vars(config), _neighbors(rule, network, found)),
                **own.files,
                **found.files,
            }
        ),
        held_out=found.held_out,
        callbacks=callbacks,
    )
    check_columns([metric.name for metric in task.metrics])
    columns = {**ALL_ROUND_COLUMNS, **experiment.measured_columns}
    config.stop.check(columns, _absent(experiment, found))
    return experiment


def _absent(experiment: Experiment, found: Learning) -> dict[str, str]:
    """Columns that no row of a run has, or has a value for; and why."""
    absent: dict[str, str] = {}
    if experiment.timing is None:
        absent |= dict.fromkeys(TIMING_COLUMNS, "there is no simulated clock; add network")
    if experiment.waits:
        absent |= dict.fromkeys(STALENESS_COLUMNS, "its clients wait for each other")
    else:
        absent |= dict.fromkeys(RULE_COLUMNS, "its clients do not wait for each other")
    if not found.objective.has_accuracy:
        of_classes = [name for name in ALL_ROUND_COLUMNS if "accuracy" in name]
        why = "targets are numbers; take test_loss, mse or r2"
        if found.objective.kind == "own":
            why = "targets are for a loss of your own; take test_loss or a metric of yours"
        absent |= dict.fromkeys([*of_classes, "validation_accuracy"], why)
    return absent


def _is_still(
    clock: ClockParams, network: Network, outlook: Callable[[float], Iterator[Outlook]]
) -> bool:
    """Whether nothing takes time, in any round: in some of them nobody may send."""
    compute = read_compute(clock.compute)
    last = max(network.schedule.rounds(ROUNDS_SEEN))
    if compute.seconds or compute.trace or last >= MOST_SEEN:
        return False
    return all(ahead.seconds == 0 for ahead in islice(outlook(math.inf), 2 + last))


def _check_length(config: RunConfig, scenario: Scenario) -> None:
    """Whether it can be said beforehand after how many rounds the run ends; ConfigError if not."""
    key = next((key for key in ("epochs", "steps") if getattr(config, key) is not None), None)
    for event in (*scenario.rounds, *scenario.seconds):
        if key and event.action == "set_algorithm_params" and "local_steps" in event.arguments:
            raise ConfigError(
                f"{event.where}: other local_steps make rounds that are no longer so many of the "
                f"run's {key}; say rounds in place of {key}"
            )


def _cautions(config: RunConfig, rule: Rule, length: Length) -> Iterator[str]:
    """What may not be as it seems, a line each."""
    stop, schedule = config.stop, config.lr_schedule
    if stop.patience and config.validation and stop.metric.startswith("test_"):
        yield (
            f"stop.patience goes by {stop.metric}: the run ends when it suits the test set, though "
            "samples are held out; set stop.metric: validation_accuracy"
        )
    fractions = schedule.milestones or schedule.kind == "cosine" or config.consensus.phases
    part = config.impairments.participation
    if config.steps is not None and part < 1 and rule.waits:
        yield (
            f"steps {config.steps} are those of a client that takes part in every round: with "
            f"impairments.participation {part:g} others make fewer"
        )
    if config.time is not None and fractions and rule.control and rule.control.repeats:
        yield (
            f"milestones, cosines and phases are fractions of {length.num_rounds:,} rounds, as "
            "many as the time allows without the exchanges that consensus repeats: they come late"
        )


def _check_together(rule: Rule, network: Network, task: Task, found: Learning) -> list[str]:
    """Whether rule, network and task suit each other; ConfigError if not.

    Returns:
        What should be known and was not told when the network was found, a line each.
    """
    check_lies_of_data(network, task)
    check_privacy(task, np.array([len(part) for part in found.parts]))
    told = check_network(rule, network)  # a deadline draws W every round, which not all can do
    if rule.control and "delay" in network.drawn:
        raise ConfigError(
            "impairments.delay does not go with consensus: exchanges repeated within a round have "
            "no messages of the round before; set one of them"
        )
    return told if rule.centralized else []


def _rule(
    config: RunConfig,
    method: Method,
    num_clients: int,
    length: Length,
    shapes: Shapes,
    gossip_rule: GossipRule | None,
    own: Own,
) -> Rule:
    """The algorithm with its step sizes, consensus control and rule of gossip, if there are any.

    Fractions of the run are of its length as first planned.
    """
    lr = step_sizes(config, num_clients, length, own)
    rule = Rule(
        method.algorithm,
        dataclasses.replace(method.params, lr=lr(0)),
        lr,
        config.seed,
        Controller.of(config.consensus, length.planned_rounds),
        shapes,
        gossip_rule,
        length.planned_rounds,
    )
    check_gossips_models(rule)
    return rule


def _shapes(method: Method, task: Task) -> Shapes:
    """Shapes of the model's tensors, if the algorithm asks for them: a model is built for it."""
    if not method.algorithm.traits["shapes"](method.params):
        return ()
    return task.model.shapes(task.num_classes, task.input_shape)


def _personal(config: RunConfig, method: Method, task: Task) -> Personal | None:
    """The columns that stay with their client.

    Raises:
        ConfigError: the algorithm cannot do without them.
    """
    if not config.personal:
        return None
    if not method.waits:
        raise ConfigError(
            f"personal does not go with {method.name}, whose clients do not wait; take an "
            "algorithm with rounds, such as dsgdm-n, or leave it out"
        )
    if "column-stochastic" in method.needs or method.algorithm.traits["shapes"](method.params):
        raise ConfigError(
            f"personal does not go with {method.name}, which sends models in a form of its own; "
            "take another algorithm, such as dsgdm-n, or leave it out"
        )
    columns = task.model.columns(task.num_classes, task.input_shape, config.personal)
    return Personal(columns)


def _neighbors(rule: Rule, network: Network, found: Learning) -> list[Path]:
    """Files of the user's beside those that the recipe names."""
    lies = [attack.lie.entry for attack in network.attacks]
    entries = [*rule.parts, *lies, found.blueprint.entry, found.objective.entry, *found.entries]
    entries += [metric.entry for metric in found.metrics]
    return [file for entry in entries for file in neighbors(entry)]
