"""The timeline of clients that meet.

A client whose gradient is done asks one neighbor. Nobody is in two meetings at a time: it waits
until both have time, first come, first served, and computing does not count. Then the two exchange
their models, which takes as long as the slower way; until that is over nothing else changes them,
and at its end the client makes its step and both average. If the neighbor had just asked for the
very same meeting, it makes its step in it, too. Then the next gradient begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

import numpy as np

from p2pqg.engine.waves.draws import MeetingDraws
from p2pqg.engine.waves.timeline import Timeline, Window

NOBODY = -1

DEPTH = 2
"""Waves between two computations of gradients, see `MeetingTimeline._wave_of`."""


@dataclass
class Meetings(Window):
    """A window of meetings.

    Attributes:
        a, b: the two of each meeting in which something was averaged, the one that asked first.
        both: whether b makes a step in it as well.
        wave: of each meeting.
        elapsed_b: seconds since b's last event.
        step: the step of a, counted in this window; that of b, if it makes one, is the next.
    """

    a: list[int] = field(default_factory=list)
    b: list[int] = field(default_factory=list)
    both: list[bool] = field(default_factory=list)
    wave: list[int] = field(default_factory=list)
    elapsed_b: list[float] = field(default_factory=list)
    step: list[int] = field(default_factory=list)


class MeetingTimeline(Timeline):
    """Clients that meet.

    Attributes:
        free: when each has time for a meeting again.
        last: when something last happened to each one's model.
        version: how often each one's model has changed; read: when its gradient was begun.
        partner: whom each is in a meeting with that it asked for, or nobody.
        joint, fails: for the one who asked: its partner steps in it, too; nothing comes of it.
    """

    FLOATS = (*Timeline.FLOATS, "free", "last")
    INTS = (*Timeline.INTS, "version", "read", "partner", "joint", "fails")
    draws: MeetingDraws
    free: list[float]
    last: list[float]
    version: list[int]
    read: list[int]
    partner: list[int]
    joint: list[int]
    fails: list[int]

    def _draws(self) -> MeetingDraws:
        return MeetingDraws(self.routing, self.asks)

    def _begin_anew(self, who: np.ndarray) -> None:
        super()._begin_anew(who)
        for client in np.flatnonzero(who).tolist():
            self.free[client] = self.last[client] = self.now
            self.read[client] = self.version[client]
            self.partner[client], self.joint[client] = NOBODY, 0

    def play(self, rounds: int) -> Meetings:
        """The events of the next rounds."""
        window = super().play(rounds)
        assert isinstance(window, Meetings)
        codes = np.unique(np.array(window.level, dtype=np.int64))  # some waves have no steps
        window.level = np.searchsorted(codes, window.level).tolist()
        window.wave = np.searchsorted(codes, window.wave).tolist()
        return window

    def _window(self) -> Meetings:
        return Meetings(self.round)

    def _open(self) -> None:
        super()._open()
        self._wave, self._stage = [0] * self.num_clients, [0] * self.num_clients
        busy = {self.partner[i] for i in range(self.num_clients) if self.joint[i]}
        # (when, its gradient was ready then, client), or -1 for the gradient: its meeting is over.
        self._heap = [
            (max(self.now, self.ready[i]), self.ready[i], i)
            if self.partner[i] == NOBODY
            else (self.free[i], -1.0, i)
            for i in range(self.num_clients)
            if self.here[i] and i not in busy
        ]
        heapify(self._heap)

    def _play(self, window: Window) -> None:
        assert isinstance(window, Meetings)
        heap, draws, ready, free = self._heap, self.draws, self.ready, self.free
        steps, version, last = self.steps, self.version, self.last
        end = self.routing.end
        while self.total < self.target:
            now = heap[0][0]
            if now > end:
                self.now = end
                return
            now, asked, i = heappop(heap)
            if asked < 0:  # the meeting is over
                j, joint, good = self.partner[i], self.joint[i], not self.fails[i]
                self.partner[i], self.joint[i] = NOBODY, 0
            else:
                if asked != ready[i]:
                    continue  # that step was made in the other's meeting
                if free[i] > now:
                    heappush(heap, (free[i], asked, i))
                    continue
                at = steps[i] - draws.base[i]
                j = draws.partner[i][at]
                joint, good = 0, j >= 0
                if good:
                    if free[j] > now:
                        heappush(heap, (free[j], asked, i))
                        continue
                    joint = ready[j] <= now and draws.partner[j][steps[j] - draws.base[j]] == i
                    window.senders += (i, j)
                    window.receivers += (j, i)
                    good, lasts = not draws.lost[i][at], draws.lasts[i][at]
                    if lasts > 0:
                        free[i] = free[j] = now + lasts
                        self.partner[i], self.joint[i] = j, int(joint)
                        self.fails[i] = int(not good)
                        heappush(heap, (free[i], -1.0, i))
                        continue
            wave = self._wave_of(i, j if good or joint else i, bool(joint))
            if good:
                window.a.append(i)
                window.b.append(j)
                window.both.append(bool(joint))
                window.wave.append(wave)
                window.elapsed_b.append(now - last[j])
                window.step.append(len(window.client))
                if not joint:
                    version[j] += 1
                    last[j] = now
            self._step(window, i, now, wave)
            if joint:
                self._step(window, j, now, wave)
            self.now = now

    def _wave_of(self, i: int, j: int, joint: bool) -> int:
        """The wave in which client i makes its step, with j; earlier than any later one of theirs.

        Gradients are computed together when one is needed, so a step is put off for the sake of
        those that have theirs: a stage is the waves between two such computations. A client makes
        one step in a stage at most, and no stage has more than `DEPTH` waves.
        """
        waves, stages = self._wave, self._stage
        wave = max(waves[i], waves[j], DEPTH * stages[i])
        if joint:
            wave = max(wave, DEPTH * stages[j])
        waves[i] = waves[j] = wave + 1
        stages[i] = wave // DEPTH + 1
        if joint:
            stages[j] = stages[i]
        return wave

    def _step(self, window: Meetings, i: int, now: float, wave: int) -> None:
        """Client i makes its step and begins the next gradient."""
        number, draws = self.steps[i], self.draws
        window.client.append(i)
        window.number.append(number)
        window.level.append(wave)
        window.elapsed.append(now - self.last[i])
        window.behind.append(self.version[i] - self.read[i])
        window.age.append(now - self.begun[i])
        self.total += 1
        self.steps[i] = number = number + 1
        self.version[i] += 1
        self.read[i] = self.version[i]
        self.begun[i] = self.last[i] = now
        at = number - draws.base[i]
        if at == draws.ahead:
            draws.draw(self.steps)
            at = 0
        self.ready[i] = ready = now + draws.seconds[i][at]
        heappush(self._heap, (ready, ready, i))

    def _part_with(self, gone: list[int]) -> None:
        lost = set(gone)
        for i in range(self.num_clients):
            j = self.partner[i]
            if j != NOBODY and not lost.isdisjoint((i, j)):
                self.free[i] = self.free[j] = self.now
                self.partner[i], self.joint[i] = NOBODY, 0

    def _load(self, data: Mapping[str, np.ndarray]) -> None:
        self._part_with([i for i, here in enumerate(self.here) if not here])

    def _of_new(self, name: str, count: int) -> list[float]:
        return [NOBODY] * count if name == "partner" else super()._of_new(name, count)
