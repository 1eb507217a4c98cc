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
"""Waves between two computations of gradients, see `MeetingTimeline._play`."""


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
        """As of a timeline. One long function: it runs once for every step, and calls would cost.

        Of the waves: gradients are computed together when one is needed, so a step is put off for
        the sake of those that have theirs. A stage is the waves between two such computations. A
        client makes one step in a stage at most, and no stage has more than `DEPTH` waves.
        """
        assert isinstance(window, Meetings)
        heap, draws, end, target = self._heap, self.draws, self.routing.end, self.target
        ready, free, begun, last = self.ready, self.free, self.begun, self.last
        steps, version, read = self.steps, self.version, self.read
        waves, stages = self._wave, self._stage
        base, ahead, partner, seconds = draws.base, draws.ahead, draws.partner, draws.seconds
        senders, receivers = window.senders, window.receivers
        client_is, number_is, level_is = (
            window.client.append,
            window.number.append,
            window.level.append,
        )
        elapsed_is, behind_is, age_is = (
            window.elapsed.append,
            window.behind.append,
            window.age.append,
        )
        a_is, b_is, both_is = (window.a.append, window.b.append, window.both.append)
        wave_is, elapsed_b_is, step_is = (
            window.wave.append,
            window.elapsed_b.append,
            window.step.append,
        )
        total, made, now = self.total, len(window.client), self.now
        while total < target:
            if heap[0][0] > end:
                now = end
                break
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
                at = steps[i] - base[i]
                j = partner[i][at]
                joint, good = 0, j >= 0
                if good:
                    if free[j] > now:
                        heappush(heap, (free[j], asked, i))
                        continue
                    joint = ready[j] <= now and partner[j][steps[j] - base[j]] == i
                    senders += (i, j)
                    receivers += (j, i)
                    good, lasts = not draws.lost[i][at], draws.lasts[i][at]
                    if lasts > 0:
                        free[i] = free[j] = now + lasts
                        self.partner[i], self.joint[i] = j, int(joint)
                        self.fails[i] = int(not good)
                        heappush(heap, (free[i], -1.0, i))
                        continue
            wave = waves[i]
            if (good or joint) and waves[j] > wave:
                wave = waves[j]
            if DEPTH * stages[i] > wave:
                wave = DEPTH * stages[i]
            if joint and DEPTH * stages[j] > wave:
                wave = DEPTH * stages[j]
            waves[i] = wave + 1
            if good or joint:
                waves[j] = wave + 1
            if good:
                a_is(i)
                b_is(j)
                both_is(bool(joint))
                wave_is(wave)
                elapsed_b_is(now - last[j])
                step_is(made)
                if not joint:
                    version[j] += 1
                    last[j] = now
            for k in (i, j) if joint else (i,):  # makes its step, and begins the next gradient
                stages[k] = wave // DEPTH + 1
                number = steps[k]
                client_is(k)
                number_is(number)
                level_is(wave)
                elapsed_is(now - last[k])
                behind_is(version[k] - read[k])
                age_is(now - begun[k])
                total += 1
                made += 1
                steps[k] = number = number + 1
                version[k] = read[k] = version[k] + 1
                begun[k] = last[k] = now
                at = number - base[k]
                if at == ahead:
                    draws.draw(steps)
                    at = number - base[k]
                ready[k] = due = now + seconds[k][at]
                heappush(heap, (due, due, k))
        self.total, self.now = total, now

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
