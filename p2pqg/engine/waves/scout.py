"""What the driver knows of the waves beforehand: which of them send something between actors."""

from __future__ import annotations

from collections.abc import Iterator

from p2pqg.base.lazy import torch
from p2pqg.engine.call import Ask
from p2pqg.engine.routes import Leg
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.waves.block import legs, next_cut, timeline_of
from p2pqg.engine.waves.calls import Asks
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.engine.waves.timeline import Timeline


class WaveScout:
    """Plays the timeline, and no client's part in it."""

    def __init__(self, rule: Rule, routing: WaveRouting, timeline: Timeline) -> None:
        self.rule, self.routing, self.timeline = rule, routing, timeline

    @classmethod
    def at_start(
        cls, rule: Rule, routing: WaveRouting, num_params: int, dtype: torch.dtype
    ) -> WaveScout:
        """At round 0; messages of rows [params] of that type."""
        return cls(rule, routing, timeline_of(routing, Asks.of(rule, num_params, dtype)))

    def legs(self, until: int) -> Iterator[tuple[Ask, Leg]]:
        """What travels on the way to round `until`, in order, as far as anything does."""
        while (first := self.timeline.round) < until:
            last = next_cut(self.rule, self.routing.window, first, until)
            window = self.timeline.play(last - first)
            for number, leg in legs(window, self.routing.bounds):
                yield Ask(first, self.timeline.asks.kind, f"wave {number}"), leg

    def rewire(self, rule: Rule, routing: WaveRouting) -> None:
        """As of a block."""
        self.rule, self.routing = rule, routing
        self.timeline.rewire(routing)

    def load(self, snapshot: Snapshot) -> None:
        """As of a block."""
        self.timeline.load(snapshot.timeline)

    def fork(self) -> WaveScout:
        """One that goes on on its own."""
        return WaveScout(self.rule, self.routing, self.timeline.copy())
