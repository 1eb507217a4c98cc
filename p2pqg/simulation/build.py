"""build(): settings -> the parts of a run; the one file that knows every part.

Every problem is reported before anything starts.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.algorithms.control import Controller
from p2pqg.algorithms.gossip_rules import GossipRule, find_rule
from p2pqg.algorithms.lr import LearningRate, learning_rate, tabled
from p2pqg.base import config as machinery
from p2pqg.base.config import Problems
from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry, Registry
from p2pqg.base.user_code import find_in_file, neighbors
from p2pqg.data.skew import label_counts
from p2pqg.engine.personal import Personal
from p2pqg.engine.rule import Rule, Shapes
from p2pqg.engine.scouting import first_traffic
from p2pqg.engine.spec import Task
from p2pqg.engine.suits import check_gossips_models, check_network
from p2pqg.engine.waves.routing import check_clock
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.network.events import Event
from p2pqg.network.lies import Attack, read_attacks
from p2pqg.network.link_spec import read_links, spelled_out
from p2pqg.network.scenario import read_scenario
from p2pqg.network.verbs import VERBS
from p2pqg.recipe import own_files
from p2pqg.recipe.ignored import ignored
from p2pqg.recipe.own import NOTHING, Own, check_given
from p2pqg.recipe.parts import Learning, learning
from p2pqg.recipe.settings import ResolvedConfig, RunConfig
from p2pqg.results.schemas import ALL_ROUND_COLUMNS, CLIENT_COLUMNS
from p2pqg.simulation.callbacks import callbacks_of
from p2pqg.simulation.experiment import Experiment, check_attacks, with_clock, with_timing
from p2pqg.simulation.length import (
    Length,
    evaluations,
    length_of,
    outlook_of,
    steps_per_epoch_of,
)
from p2pqg.simulation.method import Method, method_of
from p2pqg.topology import Schedule
from p2pqg.topology import build as build_topology
from p2pqg.topology.label_counts import LabelsWanted


def _label_counts(config: RunConfig, found: Learning) -> np.ndarray:
    """[clients, classes]: what a network is told that looks at the clients' labels."""
    if found.objective.kind != "classes":
        raise ConfigError(
            f"topology {config.topology} looks at classes, and targets are "
            f"{found.objective.kind}; take another, such as ring"
        )
    return label_counts(found.parts, found.arrays.train_y, found.arrays.num_classes)


def _network(
    config: RunConfig, needs: tuple[str, ...], own: Own, label_counts: np.ndarray | None
) -> Network:
    """The network at the start, still without its clock."""
    given = own.get("topology")
    if given is None:
        check_given(config.topology, "topology")
    network = Network(
        build_topology(
            config.topology if given is None else given,
            clients=config.clients,
            label_counts=label_counts,
            needs=needs,
        ),
        seed=config.seed,
        impairments=config.impairments,
        by_columns="column-stochastic" in needs,
    )
    for said in read_attacks(config.attacks):
        network = network.attack(said.who, said.lie, said.first, said.last, said.where)
    return network


def _clock(config: RunConfig, network: Network | None) -> ClockParams | None:
    """The settings of the simulated clock, tried on the network if there is one."""
    if config.network is None:
        return None
    clock = machinery.made(ClockParams, config.network, "network.")
    if network:
        Timing.of(clock, network.num_clients, network.base.labels, config.seed)
        new = {"set_topology", "add_clients"}  # links may be there later that are not there yet
        if not any(isinstance(item, Mapping) and new & item.keys() for item in config.scenario):
            network.links_called(list(read_links(clock.links).edges), "network.links")
    return clock


@dataclass(frozen=True)
class _Parts:
    """What the settings name, each part by itself; the network is still without its clock."""

    method: Method
    network: Network
    clock: ClockParams | None
    gossip_rule: GossipRule | None
    learning: Learning
    warnings: list[str]


def build(config: RunConfig, own: Own = NOTHING) -> Experiment:
    """Put the parts together.

    Args:
        config: perhaps not resolved yet.
        own: objects that the user gave where the recipe has names.

    Raises:
        ConfigError: with every problem found, a line each.
    """
    return _put_together(config, own, _parts(config, own))


def _parts(config: RunConfig, own: Own) -> _Parts:
    """Find every part; what is wrong with one does not hide what is wrong with another.

    Raises:
        ConfigError: with every problem found, a line each.
    """
    problems, warnings = Problems(), list[str]()
    method = network = clock = gossip_rule = found = asked = None
    with problems:
        method = method_of(config)
    with problems:
        if config.rule is not None:
            gossip_rule = find_rule(config.rule)
    needs = method.needs if method else ()
    with problems:
        try:
            network = _network(config, needs, own, None)
        except LabelsWanted as wanted:
            asked = wanted.num_clients
    if asked is not None:  # samples first: the network looks at them
        with problems:
            found = learning(config, asked, own)
        problems.refuse()
        with problems:
            assert found is not None
            network = _network(config, needs, own, _label_counts(config, found))
    with problems:
        clock = _clock(config, network)
    with problems:
        if network and method and not method.entry.traits["centralized"]:
            waits = not method.entry.traits.get("asynchronous")
            warnings = network.check_needs(method.needs, method.name, waits)
    with problems:
        said = clock is not None or config.network is None  # one that is wrong has been told
        if network and method and said and method.entry.traits.get("asynchronous"):
            check_clock(method.name, with_timing(network, clock))
    with problems:
        if found is None:
            found = learning(config, network.num_clients if network else None, own)
    problems.refuse()
    assert method is not None
    assert network is not None
    assert found is not None
    if config.local_epochs is not None:
        method = method.with_local_epochs(config.local_epochs, steps_per_epoch_of(config, found))
    return _Parts(method, network, clock, gossip_rule, found, warnings)


def _put_together(config: RunConfig, own: Own, parts: _Parts) -> Experiment:
    """What the parts are together; ConfigError where they do not suit each other."""
    method, network, clock, found = parts.method, parts.network, parts.clock, parts.learning
    task = _task(config, found)
    shapes = _shapes(method, task)
    personal = _personal(config, method, task)
    plain = Rule(method.entry, method.params, LearningRate(config.lr), config.seed, None, shapes)
    plain = plain.with_changes(personal=personal)
    live = with_clock(network, clock, plain, found.cost, task)
    length = length_of(config, method, found, partial(outlook_of, plain, live, found.cost, task))
    rule = _rule(config, method, network.num_clients, length, shapes, parts.gossip_rule, own)
    if personal:
        rule = rule.with_changes(personal=personal)
        first_traffic(rule, found.cost.num_params, torch.float32)  # refuses messages of its own
    told = _check_together(rule, live, task, found)
    told += ignored(config, method.params, _target(config, network.num_clients))
    scenario = read_scenario(
        config.scenario,
        dataclasses.replace(network, clock=clock),
        length.num_rounds,
        timed=clock is not None,
        check=_Rehearsal(rule, network.base),
    )
    callbacks = callbacks_of(config.callbacks, own.get("callbacks") or {})
    experiment = Experiment(
        config=_resolved(config, method, network, length, found, parts.gossip_rule),
        network=live,
        arrays=found.arrays,
        parts=found.parts,
        rule=rule,
        task=task,
        cost=found.cost,
        **dataclasses.asdict(length),
        warnings=[*parts.warnings, *told, *found.arrays.notes, *found.notes],
        scenario=scenario,
        clock=clock,
        own=own,
        own_files={
            **own_files.read(vars(config), _neighbors(rule, network, found)),
            **own.files,
            **found.files,
        },
        held_out=found.held_out,
        callbacks=callbacks,
    )
    _check_columns([metric.name for metric in task.metrics])
    config.stop.check({**ALL_ROUND_COLUMNS, **experiment.measured_columns})
    return experiment


def _check_together(rule: Rule, network: Network, task: Task, found: Learning) -> list[str]:
    """Whether rule, network and task suit each other; ConfigError if not.

    Returns:
        What should be known and was not told when the network was found, a line each.
    """
    check_attacks(network, task)
    _check_privacy(task, np.array([len(part) for part in found.parts]))
    told = check_network(rule, network)  # a deadline draws W every round, which not all can do
    if rule.control and "delay" in network.drawn:
        raise ConfigError(
            "impairments.delay does not go with consensus: exchanges repeated within a round have "
            "no messages of the round before; set one of them"
        )
    return told if rule.algorithm.traits["centralized"] else []


def _check_columns(metrics: Sequence[str]) -> None:
    """Whether what is measured can have a column, and a file, by its name.

    Raises:
        ConfigError: it cannot.
    """
    taken = {*ALL_ROUND_COLUMNS, *CLIENT_COLUMNS, *(f"averaged_{name}" for name in metrics)}
    for name in metrics:
        if name in taken:
            raise ConfigError(
                f"metrics: {name} is a column that there is already; call it otherwise"
            )
        if not re.fullmatch(r"[^\W\d_][\w.-]*", name):
            raise ConfigError(
                f"metrics: a name begins with a letter and goes on with letters, digits and _ . -, "
                f"got {name!r}"
            )


def _neighbors(rule: Rule, network: Network, found: Learning) -> list[Path]:
    """Files of the user's beside those that the recipe names."""
    lies = [attack.lie.entry for attack in network.attacks]
    entries = [*rule.parts, *lies, found.blueprint.entry, found.objective.entry, *found.entries]
    entries += [metric.entry for metric in found.metrics]
    return [file for entry in entries for file in neighbors(entry)]


def _task(config: RunConfig, found: Learning) -> Task:
    arrays = found.arrays
    if config.test == "own" and found.objective.kind != "classes":
        raise ConfigError(
            f"test own needs classes, whose mix a client has, and targets are "
            f"{found.objective.kind}; leave it out"
        )
    return Task(
        model=found.blueprint,
        num_classes=arrays.num_classes,
        input_shape=arrays.input_shape,
        mean=arrays.mean,
        std=arrays.std,
        augmentation=arrays.augmentation,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        precision=config.precision,
        seed=config.seed,
        objective=found.objective,
        metrics=found.metrics,
        num_validation=len(found.held_out),
        own_test=config.test == "own",
        privacy=config.privacy,
    )


def _check_privacy(task: Task, sizes: np.ndarray) -> None:
    """Whether samples can be kept apart, and epsilon be told; ConfigError if not."""
    privacy = task.privacy
    privacy.check_accountant()
    privacy.check_shards(sizes, task.batch_size)
    if privacy.limit < math.inf:
        from p2pqg.models.stacked.stacked import batch_statistics  # brings torch

        model = task.model.build(task.num_classes, task.input_shape, task.seed)
        if layer := batch_statistics(model):
            raise ConfigError(
                f"privacy does not go with {task.model.name}: in {layer} the samples of a batch "
                "meet, so none has a gradient of its own; take one with group norm, resnet20-gn"
            )


def _shapes(method: Method, task: Task) -> Shapes:
    """Of the model's tensors, for an algorithm that asks for them: that takes building a model."""
    if not method.entry.traits["shapes"](method.params):
        return ()
    return task.model.shapes(task.num_classes, task.input_shape)


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
    rounds_per_epoch = length.steps_per_epoch / length.steps_per_round
    if config.lr_schedule.function is not None:
        function = _own_rate(config.lr_schedule.function, own)
        lr = tabled(function, length.num_rounds, rounds_per_epoch, config.lr_schedule.function)
    else:
        lr = learning_rate(
            config.lr,
            config.lr_schedule,
            num_clients,
            config.batch_size,
            length.planned_rounds,
            rounds_per_epoch,
        )
    params = dataclasses.replace(method.params, lr=lr(0))
    control = Controller.of(config.consensus, length.planned_rounds)
    rule = Rule(
        method.entry,
        params,
        lr,
        config.seed,
        control,
        shapes,
        gossip_rule,
        length.planned_rounds,
    )
    check_gossips_models(rule)
    return rule


RATES = Registry("learning rate")
"""Empty: a user's function is found in its file by a registry, and none is registered."""


def _target(config: RunConfig, num_clients: int) -> float:
    """What the step size warms up to."""
    return learning_rate(
        config.lr, config.lr_schedule, num_clients, config.batch_size, 1, 1.0
    ).target


def _own_rate(name: str, own: Own) -> Callable[..., Any]:
    """A user's function of the round."""
    if (function := own.get("lr")) is not None:
        return function
    check_given(name, "lr")
    return find_in_file(RATES, name, lambda found, name: Entry(name, found)).build


def _personal(config: RunConfig, method: Method, task: Task) -> Personal | None:
    """The columns that stay with their client.

    Raises:
        ConfigError: the algorithm cannot do without them.
    """
    if not config.personal:
        return None
    if method.entry.traits.get("asynchronous"):
        raise ConfigError(
            f"personal does not go with {method.name}, whose clients do not wait; take an "
            "algorithm with rounds, such as dsgdm-n, or leave it out"
        )
    if "column-stochastic" in method.needs or method.entry.traits["shapes"](method.params):
        raise ConfigError(
            f"personal does not go with {method.name}, which sends models in a form of its own; "
            "take another algorithm, such as dsgdm-n, or leave it out"
        )
    columns = task.model.columns(task.num_classes, task.input_shape, config.personal)
    return Personal(columns)


def _resolved(
    config: RunConfig,
    method: Method,
    network: Network,
    length: Length,
    found: Learning,
    gossip_rule: GossipRule | None,
) -> ResolvedConfig:
    """The settings with every default filled in."""
    params = {k: v for k, v in machinery.plain(method.params).items() if k != "lr"}
    samples = config.batch_size * length.steps_per_round
    every, first = evaluations(length.num_rounds, samples, config, found)
    filled_in = {
        "topology": str(config.topology),
        "clients": network.num_clients,
        "attacks": [_told(attack, network) for attack in network.attacks],
        "algorithm": {"name": method.name} | params,
        "rule": gossip_rule and gossip_rule.to_data(),
        "rounds": length.num_rounds if config.ends in (None, "rounds") else None,
        "momentum": None,
        "local_steps": None,
        "local_epochs": None,
        "network": _spelled_out(config.network),
        "eval_every": every,
        "eval_first": first,
        "record_every": config.record_every or max(1, length.num_rounds // 100),
        **found.resolved,
    }
    return ResolvedConfig(**{**vars(config), **filled_in})


def _spelled_out(network: dict[str, Any] | None) -> dict[str, Any] | None:
    """The settings of the clock, of whose links it is said whether clients share a line."""
    if network is None or "links" not in network:
        return network
    return {**network, "links": spelled_out(network["links"])}


def _told(attack: Attack, network: Network) -> dict[str, Any]:
    """An item of `attacks:` as a recipe says it."""
    return {
        "who": [network.base.called(client) for client in attack.who],
        "how": attack.lie.to_data(),
        "when": attack.first if attack.last is None else [attack.first, attack.last],
    }


class _Rehearsal:
    """Told of the events of a scenario one after the other: ConfigError for one that cannot be."""

    def __init__(self, rule: Rule, start: Schedule) -> None:
        self.rule, self.start = rule, start

    def __call__(self, event: Event, network: Network) -> None:
        before, change = self.rule, VERBS[event.action].rule
        if change:
            self.rule = change(before, event.arguments)
            check_gossips_models(self.rule)
            if self.rule.gossip_rule is before.gossip_rule:
                return
        moved = event.at > 0 and network.schedule is not self.start
        if self.rule.algorithm.traits.get("asynchronous"):
            network = with_timing(network, network.clock)
        check_network(self.rule, network, moved)
