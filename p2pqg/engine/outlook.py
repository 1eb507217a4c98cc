"""What the simulated clock will show, round by round, as long as nothing happens to the network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from p2pqg.engine.traffic import Traffic
from p2pqg.network import Network, Timing

if TYPE_CHECKING:  # brings torch
    from p2pqg.engine.waves.timeline import Timeline

AT_ONCE = 16
"""Rounds of a timeline that are looked at together."""


class Outlook(NamedTuple):
    """Some rounds ahead.

    Attributes:
        round: rounds done.
        seconds: on the clock.
        steps: that everybody who is here has made by then.
    """

    round: int
    seconds: float
    steps: int


def of_rounds(
    network: Network, timing: Timing, round: int, taken: Iterable[Traffic], ready: np.ndarray
) -> Iterator[Outlook]:
    """The outlook of clients that go together, a batch at a time.

    Args:
        network: as it is.
        timing: its clock.
        round: the next one.
        taken: what that round and the next ones take.
        ready: float64 [clients], when each can start it.
    """
    for traffic in taken:
        yield Outlook(round, float(ready.max()), round)
        ready = through(network, timing, round, traffic, ready)
        round += 1


def of_waves(timeline: Timeline) -> Iterator[Outlook]:
    """The outlook of clients that do not wait; the timeline itself stays where it is."""
    ahead, here = timeline.copy(), np.flatnonzero(timeline.here)
    yield Outlook(ahead.round, ahead.now, int(np.array(ahead.steps)[here].min()))
    while True:
        steps = np.array(ahead.steps)
        window = ahead.play(AT_ONCE)
        first = 0
        for round, (seconds, last) in enumerate(zip(window.seconds, window.done, strict=True), 1):
            np.add.at(steps, window.client[first:last], 1)
            first = last
            yield Outlook(window.first + round, float(seconds), int(steps[here].min()))


def through(
    network: Network, timing: Timing, round: int, taken: Traffic, ready: np.ndarray
) -> np.ndarray:
    """[clients]: when each is through a round that it begins when it is `ready`."""
    W, gradients, phase = network.schedule.mixing(round), 0.0, 0
    for kind, size in taken:
        if kind == "gradient":
            gradients += size
            continue
        sizes = {f"{kind}_bytes" if kind != "gossip" else "message_bytes": size}
        ready = timing.advance(ready, W, round, **sizes, phase=phase, gradients=gradients)
        gradients, phase = 0.0, phase + 1
    if gradients or not phase:
        ready = timing.advance(ready, W, round, phase=phase, gradients=gradients)
    return ready
