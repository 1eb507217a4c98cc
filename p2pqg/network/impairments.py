"""Impairments: messages that are lost or late, clients that sit a round out, noise.

Every draw is a hash of (seed, what, whom, round). Nothing is remembered from round to round, so all
processes see the same misfortune without talking, in whatever order they ask, and two runs that
differ in anything else (method, topology, a fork) meet the same one: common random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from p2pqg.base.ranges import broken, shown
from p2pqg.base.seeding import uniforms

MOST_LATE = 10**6
"""Rounds that a message can be late: models of so many are kept for it."""


@dataclass(frozen=True, kw_only=True)
class Impairments:
    """What goes wrong in every round. The keys of `impairments:` in a recipe; default: nothing.

    Source of bursts: Gilbert, Bell System Technical Journal 1960; Elliott, the same, 1963.
    """

    loss: float = 0.0
    """Probability that a message does not arrive, in [0, 1]; 1: nobody hears of anybody."""
    burst: float | None = None
    """Mean length of a bad spell of a link, in rounds: all its messages are lost in a bad spell,
    none in a good one, and `loss` is the share of bad rounds (Gilbert-Elliott). None: every
    message is lost or not by itself; so it is with the least burst there can be, 1 / (1 - loss)."""
    by: Literal["message", "link"] = "message"
    """What loss and delay hit. message: each direction by itself, and W is no longer symmetric.
    link: both directions of a link alike, so that an undirected W stays doubly stochastic."""
    on_loss: Literal["keep", "renormalise"] = "keep"
    """What becomes of the weight of a message that is not there. keep: the receiver's own model
    takes it; for push-sum the sender keeps the mass. renormalise: the receiver divides by the
    weights of what it has."""
    delay: int | tuple[int, int] = 0
    """Rounds that a message travels, >= 0: a number, or [least, most], drawn per message. The
    freshest message that has arrived is mixed; before there is one, on_loss says what happens."""
    participation: Annotated[float, "(0, 1]"] = 1.0
    """Probability that a client takes part in a round, in (0, 1]. The others neither compute nor
    send, and W is that of those who do."""
    noise: Annotated[float, ">= 0"] = 0.0
    """Standard deviation of normal noise on every number in every message, >= 0. Counts and
    all-reduces stay exact."""

    def problems(self) -> Iterator[str]:
        if not 0 <= self.loss <= 1:
            yield f"impairments.loss must be a probability, 0 to 1, got {self.loss}"
        elif self.burst is not None and self.loss == 1:
            yield broken(
                f"impairments.burst needs a loss < 1, got burst {self.burst} and loss 1",
                "burst",
                "loss",
            )
        elif self.burst is not None and not 1 / (1 - self.loss) <= self.burst < math.inf:
            yield broken(
                f"impairments.burst must be >= 1 / (1 - loss) = {1 / (1 - self.loss):.4g} rounds, "
                f"as independent losses have it, got {self.burst}",
                "burst",
                "loss",
            )
        if not 0 <= self.delays[0] <= self.delays[1]:
            yield (
                "impairments.delay must be rounds >= 0, a number or [least, most], "
                f"got {self.delay}"
            )
        elif self.delays[1] > MOST_LATE:
            late = shown(self.delays[1])
            yield f"impairments.delay must be {MOST_LATE:,} rounds at most, got {late}"

    @property
    def delays(self) -> tuple[int, int]:
        """Least and most rounds that a message travels."""
        return (
            (self.delay, self.delay)
            if isinstance(self.delay, int)
            else (self.delay[0], self.delay[1])
        )

    @property
    def drawn(self) -> tuple[str, ...]:
        """The keys that make one round's W differ from the next one's."""
        on = {
            "loss": self.loss > 0,
            "delay": self.delays != (0, 0),
            "participation": self.participation < 1,
        }
        return tuple(key for key, is_on in on.items() if is_on)

    def describe(self) -> list[str]:
        """What is on, a few words each."""
        words = []
        if self.loss:
            burst = f" in bursts of {self.burst:g} rounds" if self.burst else ""
            share = "all" if self.loss == 1 else f"{self.loss:.3g} of the"
            words.append(f"{share} {self.by}s lost{burst}")
        if "delay" in self.drawn:
            least, most = self.delays
            words.append(f"delay {least if least == most else f'{least} to {most}'} rounds")
        if self.participation < 1:
            words.append(f"participation {self.participation:.3g}")
        if self.noise:
            words.append(f"noise {self.noise:.3g}")
        return words

    def lost(
        self, seed: int, round: int | np.ndarray, senders: np.ndarray, receivers: np.ndarray
    ) -> np.ndarray:
        """Which messages of a round are lost, bool of the shape of senders.

        The round may be another one for every message, [messages].
        """
        if not self.loss:
            return np.zeros(np.shape(senders), dtype=bool)
        keys = self._keys(senders, receivers)
        if self.burst is None:
            return uniforms(seed, "loss", *keys, round) < self.loss
        if not isinstance(round, np.ndarray):
            return self._in_bad_spell(seed, round, *keys)
        lost = np.zeros(np.shape(senders), dtype=bool)
        for one in np.unique(round).tolist():
            at = round == one
            lost[at] = self._in_bad_spell(seed, one, *(key[at] for key in keys))
        return lost

    def _in_bad_spell(
        self, seed: int, round: int, one: np.ndarray, other: np.ndarray
    ) -> np.ndarray:
        """State of each link's two-state chain, without having seen its past.

        A link leaves a bad spell with probability r = 1 / burst, and a good one with p, such that
        the stationary share of bad rounds is `loss`. One uniform u moves a link in a round: to bad
        if it is < p, to good if it is >= 1 - r, whatever it was before (p <= 1 - r, as the burst
        is at least that of independent losses); in between the link stays as it was. So the last
        u that was not in between says it all; round 0 has the stationary law.
        """
        assert self.burst is not None
        leave = 1 / self.burst
        enter = leave * self.loss / (1 - self.loss)
        bad = np.zeros(len(one), dtype=bool)
        unknown, last, chunk = np.arange(len(one)), round, min(math.ceil(self.burst), 64)
        while len(unknown):
            rounds = np.arange(last, max(last - chunk, -1), -1)  # latest first
            u = uniforms(seed, "loss", one[unknown, None], other[unknown, None], rounds)
            turns_bad = u < np.where(rounds == 0, self.loss, enter)
            known = turns_bad | (u >= 1 - leave) | (rounds == 0)
            latest = known.argmax(axis=1)[:, None]
            bad[unknown] = np.take_along_axis(turns_bad, latest, axis=1)[:, 0]
            unknown = unknown[~known.any(axis=1)]
            last -= chunk
        return bad

    def ages(
        self,
        seed: int,
        round: int,
        senders: np.ndarray,
        receivers: np.ndarray,
        since: int = 0,
    ) -> np.ndarray:
        """How many rounds ago the freshest message was sent that has arrived, -1: there is none.

        A message sent in round s arrives in round s + D, D drawn per message, unless it is lost.
        What is older than the longest delay is not waited for: it counts as lost.

        Args:
            seed: of the draws.
            round: of arrival.
            senders: int64 [messages].
            receivers: int64 [messages].
            since: the first round whose messages can arrive at all.
        """
        least, most = self.delays
        keys = self._keys(senders, receivers)
        ages = np.full(len(senders), -1)
        for age in range(least, min(most, round - since) + 1):
            sent = round - age
            here = ~self.lost(seed, sent, senders, receivers)
            if least < most:
                draws = uniforms(seed, "delay", *keys, sent)
                here &= least + np.floor(draws * (most - least + 1)) <= age
            if self.participation < 1:
                here &= self.takes_part(seed, sent, senders)
                if self.by == "link":
                    here &= self.takes_part(seed, sent, receivers)
            ages[here & (ages < 0)] = age
        return ages

    def takes_part(self, seed: int, round: int, clients: np.ndarray) -> np.ndarray:
        """Which of the clients take part in a round, bool of the shape of clients."""
        return uniforms(seed, "participation", clients, round) < self.participation

    def _keys(self, senders: np.ndarray, receivers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the fate of a message is drawn by: its direction, or its link, both ways alike."""
        if self.by == "message":
            return senders, receivers
        return np.minimum(senders, receivers), np.maximum(senders, receivers)
