"""Trips: a round's messages on their lines, as far as they are the same in every such round."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from p2pqg.network.links import Links
from p2pqg.topology import Mixing


@dataclass(frozen=True, eq=False)
class Trips:
    """The messages that a W and their sizes make, and what their lines make of them.

    Attributes:
        fresh: bool [entries], which entries of W take a message in this round.
        senders: int64 [messages].
        receivers: int64 [messages], rising.
        sending: float64 [messages], seconds until all of it is sent.
        latency: float64 [messages], seconds on the way; jitter: mean of what comes on top.
        leaving: float64 [clients], seconds until a client has sent all its messages.
        comes_again: it pays to work out more.
    """

    fresh: np.ndarray
    senders: np.ndarray
    receivers: np.ndarray
    sending: np.ndarray
    latency: np.ndarray
    jitter: np.ndarray
    leaving: np.ndarray
    comes_again: bool = False

    @classmethod
    def of(
        cls,
        W: Mixing,
        active: np.ndarray,
        message_bytes: float | np.ndarray,
        links: Links,
        uplink: np.ndarray,
        downlink: np.ndarray,
    ) -> Trips:
        """The trips of a round.

        Args:
            W: of the round.
            active: bool [clients], who takes part.
            message_bytes: of one message; a number, or [clients] by sender. 0: nothing is sent.
            links: what each link takes.
            uplink: float64 [clients], bits per second.
            downlink: the same.
        """
        bits = np.where(active, 8.0 * np.asarray(message_bytes), 0.0)
        fresh = (W.senders != W.receivers) & active[W.receivers] & (bits[W.senders] > 0)
        if W.ages is not None:
            fresh &= W.ages == 0
        senders, receivers = W.senders[fresh], W.receivers[fresh]
        latency, bandwidth, jitter = links.look_up(senders, receivers)
        leaving = W.out_degrees() * bits / uplink
        coming = np.bincount(receivers, bits[senders], len(active)) / downlink
        sending = np.maximum(leaving[senders], coming[receivers])
        sending = np.maximum(sending, bits[senders] / bandwidth)
        np.maximum.at(leaving, senders, sending)
        return cls(fresh, senders, receivers, sending, latency, jitter, leaving)

    @cached_property
    def jitters(self) -> bool:
        """Whether chance has a part in when a message arrives."""
        return bool(self.jitter.any())

    @cached_property
    def latest(self) -> np.ndarray | slice:
        """int64 [some]: messages one of which arrives last where all start at once, without jitter.

        Of what one client sends, those count that no other one outdoes in both sending and latency:
        one each where all links are alike. Of trips that do not come again, all.
        """
        if not self.comes_again:
            return slice(None)
        order = np.lexsort((-self.latency, -self.sending, self.senders))
        rank = np.unique(self.latency[order], return_inverse=True)[1].astype(np.int64)
        code = self.senders[order] * (rank.max(initial=0) + 1) + rank  # rises with the sender
        slowest = np.maximum.accumulate(np.concatenate([[-1], code]))[:-1]  # of those before
        return order[code > slowest]
