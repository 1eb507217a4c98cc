"""Whether an algorithm works with a network, its liars, and what leads or replaces its gossip."""

from __future__ import annotations

import numpy as np

from p2pqg.algorithms.attacks import ATTACKS
from p2pqg.base.errors import ConfigError
from p2pqg.engine.call import NO_GRADIENT
from p2pqg.engine.few_clients import check_rows
from p2pqg.engine.inboxes import check_inboxes
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import ROUNDS_TRIED, idle_round, opening_of
from p2pqg.engine.waves.routing import check_clock, check_troubles
from p2pqg.network import Network, Timing
from p2pqg.network.neighbors import rounds_of
from p2pqg.topology import PINNED, Schedule
from p2pqg.topology.checks import TOLERANCE


def check_network(rule: Rule, network: Network, before: Network | None = None) -> list[str]:
    """Whether the algorithm can work on a network.

    Args:
        rule: that is to be played on it.
        network: as it is to be.
        before: what it was in earlier rounds; None: there were none.

    Returns:
        What should be known about it, a line each.

    Raises:
        ConfigError: it cannot.
    """
    check_gossips_models(rule)
    check_rows(rule)
    if rule.waits and (idle := idle_round(rule)) is not None:
        raise ConfigError(f"algorithm {rule.algorithm.name}: round {idle} {NO_GRADIENT}")
    if rule.centralized:
        check_attacks(rule, network)
        return _check_all_reduced(rule, network, before or network)
    if not rule.waits:
        timed = isinstance(network.timing, Timing)
        (check_clock if timed else check_troubles)(rule.algorithm.name, network)
    needs = rule.needs
    if before and PINNED & set(needs) and not network.mixes_as(before):
        reason = "keeps a memory of every neighbor"
        if {"ceca", "teleportation"} & set(needs):
            reason = "counts on every message of the network that is made for it"
        raise ConfigError(
            f"{rule.algorithm.name} {reason}: its network cannot change after the first round; "
            "take another algorithm"
        )
    if rule.gossip_rule is not None:
        check_inboxes(rule.gossip_rule, network)
    check_attacks(rule, network)
    check_repeats(rule, network.schedule)
    return network.check_needs(needs, rule.algorithm.name, rule.waits)


def check_gossips_models(rule: Rule) -> None:
    """Whether it gossips models where consensus control or a rule of gossip counts on it.

    Raises:
        ConfigError: it does not.
    """
    if rule.control is not None:
        _check_gossips_models(rule, "consensus")
    if rule.gossip_rule is not None:
        _check_gossips_models(rule, "rule")


def check_repeats(rule: Rule, schedule: Schedule) -> None:
    """Whether W repeated averages, where consensus control repeats it; ConfigError if not."""
    if rule.control is None or not rule.control.repeats:
        return
    for W in rounds_of(schedule):
        off = np.abs(W.row_sums() - 1)
        if off.max() > TOLERANCE:
            client = int(off.argmax())
            raise ConfigError(
                f"consensus does not go with {schedule.name!r}: it repeats exchanges, and "
                f"W repeated does not average where row {client} sums to "
                f"{W.row_sums()[client]:.4g} instead of 1; leave consensus out or take an "
                "undirected network"
            )


def check_attacks(rule: Rule, network: Network) -> None:
    """Whether liars can lie so to this algorithm; ConfigError if not."""
    needs, name = rule.needs, rule.algorithm.name
    for attack in network.attacks:
        how = attack.lie
        if not rule.waits:
            raise ConfigError(
                f"attacks do not go with {name}, whose clients do not wait for each other; "
                "leave them out or take another, such as dsgdm-n"
            )
        if rule.centralized:
            reason = "all-reduces"
        elif {"static", "tree"} & set(needs):
            reason = "sends what neighbors remember, not models"
        elif how.name == "free-rider" and "column-stochastic" in needs:
            reason = "sends a scaled model"
        elif opening_of(rule).exchanges and not opening_of(rule).gossips:
            reason = "sends every neighbor a message of its own"
        elif how.name == "free-rider" and opening_of(rule).before_steps:
            reason = "sends models as they are before the steps of a round"
        else:
            continue
        if not how.entry.traits["anywhere"]:
            others = ", ".join(n for n, e in ATTACKS.items() if e.traits["anywhere"])
            raise ConfigError(
                f"attack {how.name} does not go with {name}, which {reason}; take one of "
                f"{others}, or an algorithm that gossips models, such as dsgdm-n"
            )


def _check_gossips_models(rule: Rule, what: str) -> None:
    needs, name = rule.needs, rule.algorithm.name
    if not rule.waits:
        reason = "has no rounds in which all exchange, but clients that do not wait"
    elif rule.centralized:
        reason = "does not gossip"
    elif {"static", "tree"} & set(needs):
        reason = "sends what neighbors remember, which must not be sent twice"
        if what == "rule":
            reason = "sends what neighbors remember: all or nothing of it must arrive"
    elif "teleportation" in needs:
        reason = "fetches models of others, and has none of its own to compare them with"
    elif "ceca" in needs:
        reason = "hears of one client a round, and counts on every word of it"
    elif what == "rule" and "column-stochastic" in needs:
        reason = "is push-sum: only sums keep the weights that travel with the models"
    elif not opening_of(rule).gossips:
        reason = "sends every neighbor a message of its own"
        if not opening_of(rule).exchanges:
            reason = f"does not gossip in its first {ROUNDS_TRIED:,} rounds"
    else:
        return
    raise ConfigError(
        f"{what} does not go with {name}, which {reason}; "
        f"leave {what} out or take an algorithm that gossips models, such as dsgdm-n"
    )


def _check_all_reduced(rule: Rule, network: Network, before: Network) -> list[str]:
    """Whether a centralized method works with a network, of which it only wants the clients."""
    name, idle = rule.algorithm.name, [key for key in network.drawn if key != "participation"]
    moved = (network.num_clients, network.absent) != (before.num_clients, before.absent)
    if "static" in rule.needs and (moved or "participation" in network.drawn):
        what = "participation would leave some out"
        if moved:
            what = "its clients cannot change after the first round"
        raise ConfigError(
            f"{name} counts on all that it was told by each client, in every round: {what}; "
            "take another algorithm, such as sgd"
        )
    idle += ["noise"] * bool(network.impairments.noise) + ["cut links"] * bool(network.cut)
    told = []
    if idle:
        told.append(
            f"{name} all-reduces, exactly and past the links: nothing changes by {', '.join(idle)}"
        )
    if not rule.algorithm.traits["shared"] and ("participation" in network.drawn or network.absent):
        told.append(
            f"{name} does not say what its clients share: who sits out, or comes back, stays "
            'behind for good; say @algorithm(shared=("x",))'
        )
    return told
