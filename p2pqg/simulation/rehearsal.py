"""A scenario is gone through before anything starts: what cannot be is told then."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from p2pqg.data import Arrays
from p2pqg.engine.rule import Rule
from p2pqg.engine.spec import Task
from p2pqg.engine.suits import check_gossips_models, check_network
from p2pqg.models import Cost
from p2pqg.network import Network
from p2pqg.network.events import Event
from p2pqg.network.verbs import VERBS
from p2pqg.simulation.clocked import with_clock
from p2pqg.simulation.task import check_lies_of_data
from p2pqg.simulation.what_if import checked_shards


@dataclass(frozen=True)
class Rehearsal:
    """Told of the events of a scenario one after the other: ConfigError for one that cannot be.

    Attributes:
        rule: before the event.
        before: the network before the event, with its clock.
        learning: the size of the model, and the task.
        samples: of training, and which of them are held out.
    """

    rule: Rule
    before: Network
    learning: tuple[Cost, Task]
    samples: tuple[Arrays, np.ndarray]

    def __call__(self, event: Event, network: Network) -> Rehearsal:
        """What is told of the next event.

        Args:
            event: the one that is due.
            network: afterwards; its clock may not have been set.
        """
        change, cost, task = VERBS[event.action].rule, *self.learning
        rule, before = self.rule, self.before
        if (shards := event.arguments.get("shards")) is not None:
            new = network.num_clients - before.num_clients
            checked_shards(shards, new, *self.samples, task)
        if change:
            rule = change(rule, event.arguments)
            check_gossips_models(rule)
        same = network.clock is before.clock and network.num_clients == before.num_clients
        if same and not change:
            network = network.timed_as(before)
        else:
            network = with_clock(network, network.clock, rule, cost, task)
        now = replace(self, rule=rule, before=network)
        if change and rule.gossip_rule is self.rule.gossip_rule:
            return now
        check_lies_of_data(network, task)
        check_network(rule, network, before if event.at > 0 else None)
        return now
