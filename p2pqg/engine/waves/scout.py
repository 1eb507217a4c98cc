"""What the driver knows of the waves beforehand: which of them send something between actors."""

from __future__ import annotations

from collections.abc import Iterator

from p2pqg.base.lazy import torch
from p2pqg.engine.call import Ask
from p2pqg.engine.routes import Leg
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.waves.calls import Asks
from p2pqg.engine.waves.planner import Planner, timeline_of
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.engine.waves.timeline import Timeline, Window
from p2pqg.engine.waves.transfers import legs


class WaveScout:
    """Plays the timeline, and no client's part in it."""

    def __init__(self, rule: Rule, routing: WaveRouting, timeline: Timeline) -> None:
        self.rule, self.routing = rule, routing
        self.planner = Planner(timeline, rule, self._legs)

    def _legs(self, window: Window) -> Iterator[list[tuple[int, Leg]]]:
        return legs(window, self.routing.bounds)

    @classmethod
    def at_start(
        cls, rule: Rule, routing: WaveRouting, num_params: int, dtype: torch.dtype
    ) -> WaveScout:
        """At round 0; messages of rows [params] of that type."""
        return cls(rule, routing, timeline_of(routing, Asks.of(rule, num_params, dtype)))

    def legs(self, until: int) -> Iterator[tuple[Ask, Leg]]:
        """What travels on the way to round `until`, in order, as far as anything does."""
        kind = self.planner.timeline.asks.kind
        while (first := self.planner.round) < until:
            _, portion = self.planner.take(until)
            for number, leg in portion:
                yield Ask(first, kind, f"wave {number}"), leg

    def rewire(self, rule: Rule, routing: WaveRouting) -> None:
        """As of a block."""
        self.rule, self.routing = rule, routing
        self.planner.rewire(rule, routing)

    def load(self, snapshot: Snapshot) -> None:
        """As of a block."""
        self.planner.load(snapshot.timeline)

    def fork(self) -> WaveScout:
        """One that goes on on its own."""
        return WaveScout(self.rule, self.routing, self.planner.timeline.copy())
