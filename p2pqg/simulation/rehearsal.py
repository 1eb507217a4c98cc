"""A scenario is gone through before anything starts: what cannot be is told then."""

from __future__ import annotations

from p2pqg.engine.rule import Rule
from p2pqg.engine.suits import check_gossips_models, check_network
from p2pqg.network import Network
from p2pqg.network.events import Event
from p2pqg.network.verbs import VERBS
from p2pqg.simulation.experiment import with_timing
from p2pqg.topology import Schedule


class Rehearsal:
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
