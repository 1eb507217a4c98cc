"""A timeline that is planned some rounds ahead of what is handed out of it.

Where every round is looked at, every round has waves of its own. To plan one takes many small
calls, however little happens in it; to plan sixteen takes about as many. So they are planned
together, and handed out singly. What is planned and not yet handed out is as if it were not:
whoever asks is told where the clients stand after the last round that was, and from there it goes
on when anything changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Generic, TypeVar

import numpy as np

from p2pqg.engine.rule import Rule
from p2pqg.engine.waves.calls import Asks
from p2pqg.engine.waves.meetings import MeetingTimeline
from p2pqg.engine.waves.pushes import LetterTimeline
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.engine.waves.timeline import Timeline, Window

T = TypeVar("T")

AHEAD = 16
"""Rounds that are planned together, at most."""

MOST = 2048
"""Steps that are planned together ahead, at most: many clients gain nothing by it."""


def timeline_of(routing: WaveRouting, asks: Asks) -> Timeline:
    """The timeline of an algorithm on a network, at its start."""
    return (MeetingTimeline if asks.kind == "meet" else LetterTimeline)(routing, asks)


class Planner(Generic[T]):
    """Plans a timeline, and hands it out in portions.

    Attributes:
        round: rounds that were handed out.
    """

    def __init__(
        self, timeline: Timeline, rule: Rule, cut: Callable[[Window], Iterable[T]]
    ) -> None:
        """Plan on from where a timeline stands.

        Args:
            timeline: from now on nobody else's.
            rule: the algorithm, whose step size is the same in all rounds of a portion.
            cut: makes of each portion of a window what is handed out.
        """
        self.rule, self._cut = rule, cut
        self.begin(timeline)

    def begin(self, timeline: Timeline) -> None:
        """Plan on from here. At first a little: it may change again."""
        self.round, self._reach = timeline.round, 1
        self._planned, self._told = timeline, timeline
        self._portions = deque[tuple[int, T]]()

    @property
    def timeline(self) -> Timeline:
        """Where all clients stand after the last round that was handed out."""
        if not self._portions:
            return self._planned
        if self._told is self._planned:
            self._told = self._planned.at(self._since)
        if self._told.round < self.round:
            self._told.play(self.round - self._told.round)
        return self._told

    @property
    def missing(self) -> int:
        """Steps of each client on average, rounded up, that came too late for the clock's end."""
        return self.timeline.missing if self._planned.missing else 0  # what is ahead comes later

    def take(self, until: int) -> tuple[int, T]:
        """The next portion: at what round it ends, `until` at the latest, and what it is."""
        last = self._end(self.round, until)
        if not self._portions or self._portions[0][0] != last:
            self._plan(last)
        self.round, portion = self._portions.popleft()
        return last, portion

    def _end(self, first: int, until: int) -> int:
        """Where the portion that begins with a round ends: all its rounds have one step size."""
        window, lr = self._planned.routing.window, self.rule.lr
        last = min(until, (first // window + 1) * window)
        size = lr(first)
        return next((round for round in range(first + 1, last) if lr(round) != size), last)

    def _plan(self, last: int) -> None:
        """Plan a portion that ends at a round, and others that are likely to be asked for next."""
        if self._portions:  # others were
            self.begin(self.timeline)
        timeline, window = self._planned, None
        most = min(AHEAD, MOST // timeline.num_clients)
        if self._reach > 1 and most > 1:
            self._since, self._told = timeline.data(), timeline
            with suppress(Exception):  # of a round that nobody has asked for, and perhaps will not
                window = timeline.play(*self._guess(last))
            if window is None:
                self._planned = self._told = timeline = timeline.at(self._since)
        if window is None:
            window = timeline.play(last - self.round)
        self._reach = max(1, min(2 * self._reach, most))
        ends = (self.round + window.portions).tolist()
        self._portions.extend(zip(ends, self._cut(window), strict=True))

    def _guess(self, last: int) -> list[int]:
        """Rounds in each portion, if they go on as the first one, which ends at a round."""
        over = self.round + self._reach
        if self.rule.num_rounds:
            over = min(over, self.rule.num_rounds)
        first, lengths = last, [last - self.round]
        while (end := self._end(first, first + lengths[0])) <= over:
            lengths.append(end - first)
            first = end
        return lengths

    def rewire(self, rule: Rule, routing: WaveRouting) -> None:
        """From the next round on, another network, or other parameters."""
        self.begin(self.timeline)
        self.rule = rule
        self._planned.rewire(routing)

    def load(self, data: Mapping[str, np.ndarray]) -> None:
        """Go on from where a timeline was, see `Timeline.data`."""
        self._planned.load(data)
        self.begin(self._planned)
