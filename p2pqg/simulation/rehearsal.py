"""A scenario is gone through before anything starts: what cannot be is told then."""

from __future__ import annotations

from dataclasses import dataclass, replace

from p2pqg.engine.rule import Rule
from p2pqg.engine.spec import Task
from p2pqg.engine.suits import check_gossips_models, check_network
from p2pqg.models import Cost
from p2pqg.network import Network
from p2pqg.network.events import Event
from p2pqg.network.verbs import VERBS
from p2pqg.simulation.clocked import with_clock, with_timing
from p2pqg.simulation.task import check_lies_of_data


@dataclass(frozen=True)
class Rehearsal:
    """Told of the events of a scenario one after the other: ConfigError for one that cannot be.

    Attributes:
        rule: before the event.
        start: the network that the run begins with; its clock is that of the recipe.
        learning: the size of the model, and the task.
        before: the network before the event; None: that of the start.
    """

    rule: Rule
    start: Network
    learning: tuple[Cost, Task]
    before: Network | None = None

    def __call__(self, event: Event, network: Network) -> Rehearsal:
        """What is told of the next event."""
        change, cost, task = VERBS[event.action].rule, *self.learning
        rule = change(self.rule, event.arguments) if change else self.rule
        now = replace(self, rule=rule, before=network)
        if change:
            check_gossips_models(rule)
            with_clock(network, network.clock, rule, cost, task)
            if rule.gossip_rule is self.rule.gossip_rule:
                return now
        check_lies_of_data(network, task)
        if network.clock is not self.start.clock:
            with_clock(network, network.clock, rule, cost, task)
        moved = event.at > 0 and not network.mixes_as(self.before or self.start)
        if not rule.waits:
            network = with_timing(network, network.clock)
        check_network(rule, network, moved)
        return now
