"""Whether a rule of gossip finds enough in everybody's inbox, and not too many liars."""

from __future__ import annotations

import numpy as np

from p2pqg.algorithms.gossip_rules import GossipRule
from p2pqg.base.errors import ConfigError
from p2pqg.network import Network
from p2pqg.network.neighbors import rounds_of


def check_inboxes(rule: GossipRule, network: Network) -> None:
    """Whether a rule finds enough messages wherever there are any, while none is lost.

    Raises:
        ConfigError: somebody has too few neighbors, or the network does what the rule cannot take.
    """
    name = rule.entry.name
    if network.impairments.noise:
        raise ConfigError(
            f"impairments.noise does not go with rule {name}, which weighs each message; "
            "take attacks: noise, or leave one of them out"
        )
    for W in rounds_of(network.remaining):
        apart = W.receivers != W.senders
        inbox = np.bincount(W.receivers[apart], minlength=W.num_clients)
        few = np.flatnonzero((inbox > 0) & (inbox < rule.least))
        if len(few):
            client = few[inbox[few].argmin()]
            raise ConfigError(
                f"rule {name} reckons with more liars than {network.base.name!r} can bear: it "
                f"needs {rule.least} neighbors, client {network.base.called(int(client))} has "
                f"{inbox[client]}; take a smaller rule.f, clipped or median, or a denser network"
            )
    _check_liars(rule, network)


def _check_liars(rule: GossipRule, network: Network) -> None:
    """Whether nobody hears more liars than the rule reckons with; ConfigError if somebody does."""
    f = getattr(rule.params, "f", None)
    if f is None or not rule.entry.traits.get("strict"):
        return
    for attack in network.attacks:
        lying = network.liars(attack.first)
        assert lying is not None
        for W in rounds_of(network.remaining):
            heard = lying[W.senders] & (W.receivers != W.senders) & ~lying[W.receivers]
            count = np.bincount(W.receivers[heard], minlength=W.num_clients)
            if count.max() > f:
                client = int(count.argmax())
                who = W.senders[heard & (W.receivers == client)].tolist()
                liars = ", ".join(network.base.called(liar) for liar in who)
                raise ConfigError(
                    f"rule {rule.entry.name} reckons with f = {f} liars among anybody's neighbors, "
                    f"client {network.base.called(client)} has {count[client]} ({liars}): more "
                    "than it can bear; take a larger rule.f, clipped or median, or fewer liars"
                )
