"""The settings of a run with every default filled in, as config.yaml has them."""

from __future__ import annotations

from typing import Any

from p2pqg.algorithms.gossip_rules import GossipRule
from p2pqg.base import config as machinery
from p2pqg.network import Network
from p2pqg.network.lies import Attack
from p2pqg.network.link_spec import spelled_out
from p2pqg.recipe.learning import Learning
from p2pqg.recipe.settings import ResolvedConfig, RunConfig
from p2pqg.simulation.length import Length, evaluations
from p2pqg.simulation.method import Method


def resolved(
    config: RunConfig,
    method: Method,
    network: Network,
    length: Length,
    found: Learning,
    gossip_rule: GossipRule | None,
) -> ResolvedConfig:
    """What repeats the run: nothing in it is left to a default."""
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
