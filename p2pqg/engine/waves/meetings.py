"""The timeline of clients that meet.

A client whose gradient is done asks one neighbor. Nobody is in two meetings at a time: it waits
until both have time, first come, first served (who comes at the same moment: by number), and
computing does not count; nor does it step alone before its meeting is over. Then the two exchange
their models, which takes as long as the slower way; until that is over nothing else changes them,
and at its end the client makes its step and both average. If the neighbor had just asked for the
very same meeting, it makes its step in it, too. Then the next gradient begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace

import numpy as np

from p2pqg.engine.waves.draws import MeetingDraws
from p2pqg.engine.waves.timeline import Timeline, Window, ints
from p2pqg.network.units import still

NOBODY = -1

DEPTH = 2
"""Waves between two computations of gradients, see `MeetingTimeline.play`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Meetings(Window):
    """A window of meetings.

    Attributes:
        a, b: int64 [meetings], the two of each in which something was averaged, the one that asked
            first.
        both: bool [meetings], whether b makes a step in it as well.
        wave: int64 [meetings].
        elapsed_b: float64 [meetings], seconds since b's last event.
        step: int64 [meetings], the step of a, counted in this window; that of b, if it makes one,
            is the next.
    """

    a: np.ndarray
    b: np.ndarray
    both: np.ndarray
    wave: np.ndarray
    elapsed_b: np.ndarray
    step: np.ndarray


class _Noted:
    """What is noted of a window while it is played: a list for each column, see `Meetings`."""

    def __init__(self) -> None:
        self.client, self.number, self.level = list[int](), list[int](), list[int]()
        self.elapsed, self.behind, self.age = list[float](), list[int](), list[float]()
        self.asks = list[int]()
        """The two of every meeting that was asked for, one after the other."""
        self.others, self.both, self.step = list[int](), list[bool](), list[int]()
        self.elapsed_b = list[float]()
        self.times, self.done, self.sent = list[float](), list[int](), list[int]()

    def end_of_round(self, now: float) -> None:
        """A round is over at that time."""
        self.times.append(now)
        self.done.append(len(self.client))
        self.sent.append(len(self.asks))

    def window(self, first: int, portions: np.ndarray, fresh: np.ndarray) -> Meetings:
        """All of it as arrays."""
        clients, steps = ints(self.client), ints(self.step)
        pairs = ints(self.asks).reshape(-1, 2)
        _, levels = np.unique(ints(self.level), return_inverse=True)  # some waves have no steps
        return Meetings(
            first=first,
            portions=portions,
            fresh=fresh,
            seconds=np.array(self.times),
            done=ints(self.done),
            used=ints(self.done),
            sent=ints(self.sent),
            client=clients,
            number=ints(self.number),
            level=levels.astype(np.int64),
            elapsed=np.array(self.elapsed),
            behind=ints(self.behind),
            age=np.array(self.age),
            senders=pairs.ravel(),
            receivers=pairs[:, ::-1].ravel(),
            a=clients[steps],
            b=ints(self.others),
            both=np.array(self.both, dtype=bool),
            wave=levels[steps],
            elapsed_b=np.array(self.elapsed_b),
            step=steps,
        )


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

    def _draw(self) -> None:
        self.draws = MeetingDraws(self.routing, self.asks)

    def _begin_anew(self, who: np.ndarray) -> None:
        self.draws.draw(self.steps)
        super()._begin_anew(who)
        for client in np.flatnonzero(who).tolist():
            self.free[client] = self.last[client] = self.now
            self.read[client] = self.version[client]
            self.partner[client], self.joint[client] = NOBODY, 0

    def _opened(self) -> list[tuple[float, float, int]]:
        """A heap of what comes next: when, its gradient was ready then, client.

        -1 for the gradient: its meeting is over.
        """
        busy = {self.partner[i] for i in range(self.num_clients) if self.joint[i]}
        heap = [
            (max(self.now, self.ready[i]), self.ready[i], i)
            if self.partner[i] == NOBODY
            else (self.free[i], -1.0, i)
            for i in range(self.num_clients)
            if self.here[i] and i not in busy
        ]
        heapify(heap)
        return heap

    def play(self, *portions: int) -> Meetings:
        """The events of the next rounds.

        One long function: its inside runs twice for every step, and calls would cost.

        Of the waves: gradients are computed together when one is needed, so a step is put off for
        the sake of those that have theirs. A stage is the waves between two such computations. A
        client makes one step in a stage at most, and no stage has more than `DEPTH` waves.
        """
        fresh, borders = self._begun(), set(np.cumsum(portions).tolist())
        heap, draws, end = self._opened(), self.draws, self.routing.end
        last_moment = still(end)
        ready, free, begun, last = self.ready, self.free, self.begun, self.last
        steps, version, read = self.steps, self.version, self.read
        met, joins, fails = self.partner, self.joint, self.fails
        waves, floors = [0] * self.num_clients, [0] * self.num_clients
        base, ahead, partner, seconds = draws.base, draws.ahead, draws.partner, draws.seconds
        noted = _Noted()
        client, number, level, elapsed = noted.client, noted.number, noted.level, noted.elapsed
        behind, age, asks, step = noted.behind, noted.age, noted.asks, noted.step
        others, both, elapsed_b = noted.others, noted.both, noted.elapsed_b
        total, now, here = self.total, self.now, sum(self.here)
        for round in range(1, sum(portions) + 1):
            self.target = target = self.target + here
            while total < target:
                now, asked, i = heap[0]
                if now > last_moment:
                    now = max(self.now, end)
                    break
                if asked < 0:  # the meeting is over
                    j, joint, good = met[i], joins[i], not fails[i]
                    met[i], joins[i] = NOBODY, 0
                else:
                    if asked != ready[i]:
                        heappop(heap)  # that step was made in the other's meeting
                        continue
                    if free[i] > now:
                        heapreplace(heap, (free[i], asked, i))
                        continue
                    at = steps[i] - base[i]
                    j = partner[i][at]
                    joint, good = 0, j >= 0
                    if good:
                        if free[j] > now:
                            heapreplace(heap, (free[j], asked, i))
                            continue
                        joint = ready[j] <= now and partner[j][steps[j] - base[j]] == i
                        asks += i, j
                        good, lasts = not draws.lost[i][at], draws.lasts[i][at]
                        if lasts > 0:
                            free[i] = free[j] = over = now + lasts
                            met[i], joins[i], fails[i] = j, int(joint), int(not good)
                            heapreplace(heap, (over, -1.0, i))
                            continue
                wave = waves[i]
                if floors[i] > wave:
                    wave = floors[i]
                if good or joint:
                    if waves[j] > wave:
                        wave = waves[j]
                    if joint and floors[j] > wave:
                        wave = floors[j]
                    waves[j] = wave + 1
                waves[i] = wave + 1
                if good:
                    step.append(len(client))
                    others.append(j)
                    both.append(bool(joint))
                    elapsed_b.append(now - last[j])
                    if not joint:
                        version[j] += 1
                        last[j] = now
                k = i
                while True:  # makes its step, and begins the next gradient
                    floors[k] = wave - wave % DEPTH + DEPTH
                    client.append(k)
                    level.append(wave)
                    at = steps[k]
                    number.append(at)
                    elapsed.append(now - last[k])
                    behind.append(version[k] - read[k])
                    age.append(now - begun[k])
                    steps[k] = at = at + 1
                    version[k] = read[k] = version[k] + 1
                    begun[k] = last[k] = now
                    at -= base[k]
                    if at == ahead:
                        draws.draw(steps)
                        at = steps[k] - base[k]
                    ready[k] = due = now + seconds[k][at]
                    total += 1
                    if k == i:
                        heapreplace(heap, (due, due, k))
                        if joint:
                            k = j
                            continue
                    else:
                        heappush(heap, (due, due, k))
                    break
            noted.end_of_round(now)
            if round in borders:  # the next portion has waves of its own
                wave = max(waves)
                wave += -wave % DEPTH
                waves, floors = [wave] * self.num_clients, [wave] * self.num_clients
        self.total, self.now, first = total, now, self.round
        self.round += len(noted.times)
        return noted.window(first, np.cumsum(portions), fresh)

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
