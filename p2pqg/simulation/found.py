"""What the settings name: each part found by itself, before they are put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from p2pqg.algorithms.gossip_rules import GossipRule, find_rule
from p2pqg.base import config as machinery
from p2pqg.base.config import Problems
from p2pqg.base.errors import ConfigError
from p2pqg.data.skew import label_counts
from p2pqg.engine.waves.routing import check_clock
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.network.lies import read_attacks
from p2pqg.network.link_spec import read_links
from p2pqg.network.verbs import GROWING
from p2pqg.recipe.learning import Learning, learning
from p2pqg.recipe.own import Own, check_given
from p2pqg.recipe.settings import RunConfig
from p2pqg.simulation.clocked import with_timing
from p2pqg.simulation.length import steps_per_epoch_of
from p2pqg.simulation.method import Method, method_of
from p2pqg.topology import build as build_topology
from p2pqg.topology.label_counts import LabelsWanted


@dataclass(frozen=True)
class Found:
    """What the settings name, each part by itself; the network is still without its clock."""

    method: Method
    network: Network
    clock: ClockParams | None
    gossip_rule: GossipRule | None
    learning: Learning
    warnings: list[str]


def find(config: RunConfig, own: Own) -> Found:
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
        if network and method and not method.centralized:
            warnings = network.check_needs(method.needs, method.name, method.waits)
    with problems:
        said = clock is not None or config.network is None  # one that is wrong has been told
        if network and method and said and not method.waits:
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
    return Found(method, network, clock, gossip_rule, found, warnings)


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
        # Links may be there later that are not there yet.
        if not any(isinstance(item, Mapping) and GROWING & item.keys() for item in config.scenario):
            network.links_called(list(read_links(clock.links).edges), "network.links")
    return clock
