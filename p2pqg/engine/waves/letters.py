"""The timeline of clients that push.

A client whose gradient is done sends, reads what has come by then, makes its step and begins the
next gradient, all at once. What is sent at the very same moment and needs no time is read, too: so
clients of equal speed on perfect links go in step, and a push is a gossip. A message takes

    latency + jitter E + bits / min(bandwidth, uplink / messages sent, downlink / neighbors)

as in `p2pqg.network.timing`. The line of its sender is busy as long as its messages take to leave;
until then the sender has nothing to say. What gets lost never arrives, and costs as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Final

import numpy as np

from p2pqg.engine.waves.draws import LetterDraws
from p2pqg.engine.waves.timeline import Timeline, Window

NOTHING = -1

SENDS = 2**40
"""More steps than anybody's patience lasts: something has come, so the client may send."""


Delivery = tuple[float, int, int, float, float, int]
"""A message on its way to one receiver, or there and not yet read: seconds on the clock at which it
arrives; its sender; its number among all that were ever sent; its weight; when it was sent; and the
steps that its sender had done by then. A plain tuple, of which there are many."""
ARRIVAL: Final = 0
SENDER: Final = 1
SERIAL: Final = 2
WEIGHT: Final = 3
COLUMNS = ("arrival", "sender", "serial", "weight", "sent", "number")


@dataclass
class Posts(Window):
    """A window of messages.

    Attributes:
        serial: of each step: the message that it sends, -1: none.
        kept: of each step: see `push`.
        read_by: of each message that is read: the step that does it, counted in this window.
        read: its serial; read_weight: what it counts.
        left: (serial, receiver) of what is still on its way at the end of the window, or kept.
    """

    serial: list[int] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    read_by: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    read_weight: list[float] = field(default_factory=list)
    left: list[tuple[int, int]] = field(default_factory=list)


def _newest(known: dict[int, Delivery], came: list[Delivery]) -> list[Delivery]:
    """Of every sender the newest message; `known`: sender -> its last one, which is put down."""
    for one in came:
        before = known.get(one[SENDER])
        if before is None or before[SERIAL] < one[SERIAL]:
            known[one[SENDER]] = one
    return list(known.values())


class LetterTimeline(Timeline):
    """Clients that push.

    Attributes:
        line: when the last message of each has left it.
        silent: steps that each has made since it sent, as long as nothing has come.
        inbox: of each client, what is on its way to it, or there.
        held: of each client, the last message of every sender, where these count on.
        serial: of the next message.
    """

    FLOATS = (*Timeline.FLOATS, "line")
    INTS = (*Timeline.INTS, "silent")
    draws: LetterDraws
    line: list[float]
    silent: list[int]
    inbox: list[list[Delivery]]
    held: list[dict[int, Delivery]]
    serial: int

    def _draws(self) -> LetterDraws:
        return LetterDraws(self.routing, self.asks)

    def _begin_anew(self, who: np.ndarray) -> None:
        if not hasattr(self, "inbox"):
            self.serial = 0
            self.inbox, self.held = [[] for _ in self.steps], [{} for _ in self.steps]
        super()._begin_anew(who)
        for client in np.flatnonzero(who).tolist():
            self.line[client] = self.now
            self.silent[client] = SENDS

    def play(self, rounds: int) -> Posts:
        """The events of the next rounds."""
        window = super().play(rounds)
        assert isinstance(window, Posts)
        window.left = [(one[SERIAL], client) for client, one in self.under_way()]
        return window

    def _window(self) -> Posts:
        return Posts(self.round)

    def _open(self) -> None:
        super()._open()
        self._level = [0] * self.num_clients
        self._first, self._wave = self.serial, list[int]()  # of the messages of this window
        self._heap = [(self.ready[i], i) for i in range(self.num_clients) if self.here[i]]
        heapify(self._heap)

    def _play(self, window: Window) -> None:
        assert isinstance(window, Posts)
        heap, level, end = self._heap, self._level, self.routing.end
        while self.total < self.target:
            now = heap[0][0]
            if now > end:
                self.now = end
                return
            self.now = now
            group = [heappop(heap)[1]]
            while heap and heap[0][0] == now:  # those of one moment all send before any reads
                group.append(heappop(heap)[1])
            first, wave = len(window.client), 0
            for i in group:
                wave = max(wave, level[i])
                self._send(window, i, now)
            for place, i in enumerate(group, first):
                wave = max(wave, self._read(window, i, place, now))
            for place, i in enumerate(group, first):
                level[i] = wave + 1
                window.level.append(wave)
                if (serial := window.serial[place]) != NOTHING:
                    self._wave[serial - self._first] = wave
                self._begin(i, now)
            self.total += len(group)

    def _send(self, window: Posts, i: int, now: float) -> None:
        """Client i makes its step, and sends unless its line is busy."""
        number, draws = self.steps[i], self.draws
        at = number - draws.base[i]
        window.client.append(i)
        window.number.append(number)
        window.elapsed.append(now - self.begun[i])
        self.steps[i] = number = number + 1
        post = draws.posts[i][at]
        self.silent[i] += 1
        if self.line[i] > now or not post.receivers or self.silent[i] < self.asks.patience:
            window.serial.append(NOTHING)
            window.kept.append(1.0)
            return
        serial = self.serial
        window.senders += [i] * len(post.receivers)
        window.receivers += post.receivers
        for receiver, weight, travel in post.letters:
            self.inbox[receiver].append((now + travel, i, serial, weight, now, number))
        self.line[i] = now + post.busy
        self.silent[i] = 0
        self.serial = serial + 1
        self._wave.append(0)
        window.serial.append(serial)
        window.kept.append(post.kept)

    def _read(self, window: Posts, i: int, place: int, now: float) -> int:
        """Client i reads what has come; returns the last of the waves in which it was sent."""
        box, keep = self.inbox[i], self.asks.keep
        came = [one for one in box if one[ARRIVAL] <= now]
        if len(came) == len(box):
            self.inbox[i] = []
        elif came:
            self.inbox[i] = [one for one in box if one[ARRIVAL] > now]
        if came:
            self.silent[i] = SENDS
        if keep is None:
            return 0
        scale = 1.0
        if keep == "last":
            came = self._held(i, came)
        elif keep == "newest":
            if len({one[SENDER] for one in came}) < len(came):
                came = _newest({}, came)
            scale = self._scale(i, came)
        wave, first, steps = 0, self._first, self.steps
        for _, sender, serial, weight, sent, number in came:
            window.read_by.append(place)
            window.read.append(serial)
            window.read_weight.append(weight * scale)
            window.behind.append(steps[sender] - number)
            window.age.append(now - sent)
            if serial >= first and self._wave[serial - first] > wave:
                wave = self._wave[serial - first]
        return wave

    def _held(self, i: int, came: list[Delivery]) -> list[Delivery]:
        """The last message of everybody who is a neighbor in this round, with its weight."""
        row = self.draws.row[i][self.steps[i] - 1 - self.draws.base[i]]
        found = _newest(self.held[i], came)
        return [
            (arrival, sender, serial, row[sender], sent, number)
            for arrival, sender, serial, _, sent, number in found
            if sender in row
        ]

    def _scale(self, i: int, came: list[Delivery]) -> float:
        """By what weights are multiplied, so that they leave the receiver what is its own in W."""
        if not came:
            return 1.0
        if self.asks.to == "one":  # of a half each: all that came and the own model count alike
            return 2 / (1 + len(came))
        room = self.draws.room[i][self.steps[i] - 1 - self.draws.base[i]]
        weight = sum([one[WEIGHT] for one in came])
        return room / weight if weight > room else 1.0

    def _begin(self, i: int, now: float) -> None:
        """Client i begins its next gradient."""
        self.begun[i] = now
        at = self.steps[i] - self.draws.base[i]
        if at == self.draws.ahead:
            self.draws.draw(self.steps)
            at = 0
        self.ready[i] = ready = now + self.draws.seconds[i][at]
        heappush(self._heap, (ready, i))

    def under_way(self) -> Iterator[tuple[int, Delivery]]:
        """(receiver, delivery) of all that is on its way, there and not yet read, or held."""
        for client, box in enumerate(self.inbox):
            for one in box:
                yield client, one
        for client, held in enumerate(self.held):
            for one in held.values():
                yield client, one

    def _part_with(self, gone: list[int]) -> None:
        self._forget(gone)
        if self.asks.keep == "last":  # a neighbor no more counts no more
            known = self._neighbors()
            for client, held in enumerate(self.held):
                self.held[client] = {j: one for j, one in held.items() if (j, client) in known}

    def _forget(self, gone: list[int]) -> None:
        """What was sent to those that left."""
        for client in gone:
            self.inbox[client], self.held[client] = [], {}

    def _neighbors(self) -> set[tuple[int, int]]:
        """(sender, receiver) of every link in any round of a period, or in the next 16."""
        schedule = self.routing.network.remaining
        Ws = (schedule.mixing(round) for round in range(schedule.period or 16))
        arcs = (zip(W.senders.tolist(), W.receivers.tolist(), strict=True) for W in Ws)
        return set(chain.from_iterable(arcs))

    def data(self) -> dict[str, np.ndarray]:
        """As of a timeline, and the messages that are on their way."""
        found = super().data()
        found["serial"] = np.array([self.serial])
        for name, some in (("mail", self.inbox), ("held", [d.values() for d in self.held])):
            letters = [(client, *one) for client, box in enumerate(some) for one in box]
            columns = zip(*letters, strict=True) if letters else [[]] * (1 + len(COLUMNS))
            for part, column in zip(("receiver", *COLUMNS), columns, strict=True):
                kind = np.float64 if part in ("arrival", "weight", "sent") else np.int64
                found[f"{name}.{part}"] = np.array(column, dtype=kind)
        return found

    def _load(self, data: Mapping[str, np.ndarray]) -> None:
        self.serial = int(data["serial"][0])
        n = self.num_clients
        self.inbox, self.held = [[] for _ in range(n)], [{} for _ in range(n)]
        for name in ("mail", "held"):
            columns = (data[f"{name}.{part}"].tolist() for part in ("receiver", *COLUMNS))
            for client, *parts in zip(*columns, strict=True):
                one: Delivery = tuple(parts)
                if name == "mail":
                    self.inbox[client].append(one)
                else:
                    self.held[client][one[SENDER]] = one
        # What came of one that had left is held as before: it counts when both are linked again.
        self._forget([i for i, here in enumerate(self.here) if not here])
