"""The timeline of clients that push.

A client whose gradient is done sends, reads what has come by then, makes its step and begins the
next gradient, all at once. What is sent at the very same moment and needs no time is read, too: so
clients of equal speed on perfect links go in step, and a push is a gossip. A message takes

    latency + jitter E + bits / min(bandwidth, uplink / messages sent, downlink / neighbors)

as in `p2pqg.network.timing`. The line of its sender is busy as long as its messages take to leave;
until then the sender has nothing to say. What gets lost never arrives, and costs as much.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import numpy as np

from p2pqg.engine.waves.draws import LetterDraws, Sending, spread
from p2pqg.engine.waves.letters import NOTHING, Borders, Letters, Posts, Steps
from p2pqg.engine.waves.timeline import Timeline, ints
from p2pqg.network.neighbors import rounds_of
from p2pqg.network.units import still

SENDS = 2**40
"""More steps than anybody's patience lasts: something has come, so the client may send."""


class LetterTimeline(Timeline):
    """Clients that push.

    When a client's steps are done depends on nobody else. So a window is not played event by event:
    all steps are put in order first, and then it is looked up who reads what.

    Attributes:
        line: seconds on the clock at which the last message of each has left it.
        silent: steps that each has made since it sent, as long as nothing has come.
        mail: what is on its way, or there and not yet read, one receiver's after the other's, in
            the order in which it was sent.
        held: of each client, the last message of every sender, where these count on; in the order
            in which it first heard of them.
        serial: of the next message.
    """

    FLOATS = (*Timeline.FLOATS, "line")
    INTS = (*Timeline.INTS, "silent")
    draws: LetterDraws
    line: list[float]
    silent: list[int]
    mail: Letters
    held: Letters
    serial: int

    def _draw(self) -> None:
        self.draws = LetterDraws(self.routing, self.asks)

    def _begin_anew(self, who: np.ndarray) -> None:
        if not hasattr(self, "mail"):
            self.serial, self.mail, self.held = 0, Letters.none(), Letters.none()
        super()._begin_anew(who)
        for client in np.flatnonzero(who).tolist():
            self.line[client] = self.now
            self.silent[client] = SENDS

    def play(self, *portions: int) -> Posts:
        """The events of the next rounds, so many in each portion."""
        fresh, rounds, here = self._begun(), sum(portions), sum(self.here)
        wanted = self.target + here * np.arange(1, rounds + 1) - self.total
        steps = self._steps(int(wanted[-1]))
        num_steps = len(steps.client)
        ends = np.unique(steps.group) + 1
        at = np.searchsorted(ends, wanted)
        enough = at < len(ends)
        done = np.where(enough, np.append(ends, num_steps)[at], num_steps)
        done = np.where(wanted <= 0, 0, done)
        seconds = np.append(steps.time, self.now)[done - 1]
        seconds = np.where(enough | (wanted <= 0), seconds, max(self.now, self.routing.end))
        posts = self._posts(steps, Borders(np.cumsum(portions), done), fresh, seconds)
        self.target += here * rounds
        self.total += num_steps
        self.now = float(seconds[-1])
        self.round += rounds
        return posts

    def _steps(self, wanted: int) -> Steps:
        """The next steps, so many or as many as are done at the same moment, until the end."""
        client, number, time, begun = self._row(max(wanted, 0))
        limit = still(self.routing.end)
        if 0 < wanted <= len(time):
            limit = min(limit, np.partition(time, wanted - 1)[wanted - 1])
        at = np.flatnonzero(time <= limit)
        order = at[np.argsort(time[at], kind="stable")]  # at the same moment by client
        made = np.bincount(client[order], minlength=self.num_clients)
        place = np.searchsorted(client, np.arange(self.num_clients)) + made  # the first not made
        for i in np.flatnonzero(made).tolist():
            self.begun[i], self.ready[i] = float(begun[place[i]]), float(time[place[i]])
            self.steps[i] += int(made[i])
        return Steps.of(made, *(column[order] for column in (client, number, time, begun)))

    def _row(self, wanted: int) -> tuple[np.ndarray, ...]:
        """More of everybody's next steps than there are among so many of all.

        Returns:
            client, number, seconds on the clock when each is done and when it is begun, [steps]; by
            client, and in order.
        """
        who = np.flatnonzero(self.here) if wanted else np.empty(0, dtype=np.int64)
        number, time, begun = (np.array(x)[who] for x in (self.steps, self.ready, self.begun))
        parts = list[tuple[np.ndarray, ...]]([(who, number, time, begun)])
        more = 2 + int(1.25 * wanted / max(len(who), 1))
        while len(who):
            numbers = number[:, None] + np.arange(1, more + 1)
            clients = who[:, None] + np.zeros_like(numbers)
            takes = self.routing.timing.compute.seconds_of(clients, numbers)
            times = np.add.accumulate(np.column_stack([time, takes]), axis=1)  # as the clock goes
            columns = clients, numbers, times[:, 1:], times[:, :-1]
            parts.append(tuple(column.ravel() for column in columns))
            done = np.concatenate([part[2] for part in parts])
            limit = still(self.routing.end)
            if wanted <= len(done):
                limit = min(limit, np.partition(done, wanted - 1)[wanted - 1])
            short = times[:, -1] <= limit
            who, number, time = who[short], numbers[short, -1], times[short, -1]
            more *= 2
        found = [np.concatenate(some) for some in zip(*parts, strict=True)]
        order = np.argsort(found[0], kind="stable")
        return tuple(column[order] for column in found)

    def _posts(
        self, steps: Steps, borders: Borders, fresh: np.ndarray, seconds: np.ndarray
    ) -> Posts:
        """What is sent and read in some steps."""
        # What each step would send, and which step would read it.
        first, sending = self.serial, self.draws.sending(steps.client, steps.number)
        of, _ = spread(sending.first[:-1], np.diff(sending.first))
        arrival = steps.time[of] + sending.travel
        read_old = steps.reading(self.mail.receiver, self.mail.arrival)
        read_new = steps.reading(sending.receiver, arrival)
        sends = self._sends(steps, sending, read_old, np.where(sending.there, read_new, NOTHING))
        serial = np.where(sends, first - 1 + np.cumsum(sends), NOTHING)
        self.serial += int(sends.sum())
        # What is sent indeed; what gets lost is counted, and flies to nobody.
        out = sends[of]
        fly = np.flatnonzero(out & sending.there)
        by = of[fly]
        new = Letters(
            receiver=sending.receiver[fly],
            arrival=arrival[fly],
            sender=steps.client[by],
            serial=serial[by],
            weight=sending.weight[fly],
            sent=steps.time[by],
            number=steps.number[by] + 1,
        )
        # What is read, in that order, and what is still on its way.
        mail, read_in = self.mail.then(new), np.concatenate([read_old, read_new[fly]])
        self.mail = mail.of(read_in == NOTHING).by_receiver()
        order = np.flatnonzero(read_in != NOTHING)
        order = order[np.argsort(read_in[order], kind="stable")]
        read, read_by, weight, held = self._counted(steps, mail.of(order), read_in[order], borders)
        level = self._levels(steps, read.serial - first, read_by, np.flatnonzero(sends), borders)
        # Until which portion each is needed, and by whom: not before it is sent.
        unread = mail.needed(borders.of(read_in) - 1)
        needed = np.concatenate([unread, read.needed(borders.of(read_by)), held])
        sent_in = np.append(borders.of(np.flatnonzero(sends)), 0)  # at last: before this window
        since = sent_in[np.maximum(needed[:, 0] - first, -1)]
        made = steps.made_by(read.sender, read_by) - np.diff(steps.first)[read.sender]
        return Posts(
            first=self.round,
            portions=borders.rounds,
            fresh=fresh,
            seconds=seconds,
            done=borders.done,
            used=np.searchsorted(read_by, borders.done),
            sent=np.searchsorted(of[out], borders.done),
            client=steps.client,
            number=steps.number,
            level=level,
            elapsed=steps.time - steps.begun,
            behind=ints(self.steps)[read.sender] + made - read.number,
            age=steps.time[read_by] - read.sent,
            senders=steps.client[of[out]],
            receivers=sending.receiver[out],
            serial=serial,
            kept=np.where(sends, sending.kept, 1.0),
            read_by=read_by,
            read=read.serial,
            read_weight=weight,
            needed=needed[needed[:, 2] >= since],
        )

    def _sends(
        self, steps: Steps, sending: Sending, read_old: np.ndarray, read_new: np.ndarray
    ) -> np.ndarray:
        """Who sends, bool [steps]: its line is free, there is somebody, and it has its patience.

        Args:
            steps: of the window.
            sending: what each would send.
            read_old: int64 [mail], the step that reads a message of earlier, -1: none.
            read_new: int64 [letters], the same of what these steps would send.
        """
        was, over = steps.before, steps.time + sending.busy
        may, heard = np.diff(sending.first) > 0, np.zeros(len(was), dtype=bool)
        heard[read_old[read_old >= 0]] = True
        until = np.where(was >= 0, over[was], np.array(self.line)[steps.client])
        if self.asks.patience <= 1 and may.all() and (until <= steps.time).all():
            sends = may
            heard[read_new[read_new >= 0]] = True
            hears, line, silent = heard.tolist(), over.tolist(), self.silent
            for client, step in steps.last():
                self.line[client], silent[client] = line[step], 0
        else:
            sends, hears = np.zeros(len(was), dtype=bool), heard.tolist()
            self._one_by_one(steps, sending, read_new.tolist(), sends, hears)
        for client, step in steps.last():
            if hears[step]:
                self.silent[client] = SENDS
        return sends

    def _one_by_one(
        self,
        steps: Steps,
        sending: Sending,
        reader: list[int],
        sends: np.ndarray,
        hears: list[bool],
    ) -> None:
        """Put steps in order where one depends on those before.

        Args:
            steps: of the window.
            sending: what each would send.
            reader: [letters], the step that would read them, -1: none.
            sends: bool [steps], filled in.
            hears: of each step whether it reads anything; filled in.
        """
        line, silent, patience = self.line, self.silent, self.asks.patience
        first = sending.first.tolist()
        columns = steps.client, steps.before, steps.time, steps.time + sending.busy
        rows = zip(*(column.tolist() for column in columns), first, first[1:], strict=False)
        for step, (client, was, now, over, letter, end) in enumerate(rows):
            quiet = 1 + (SENDS if was >= 0 and hears[was] else silent[client])
            if line[client] > now or letter == end or quiet < patience:
                silent[client] = quiet
                continue
            sends[step], line[client], silent[client] = True, over, 0
            for one in reader[letter:end]:
                if one >= 0:
                    hears[one] = True

    def _levels(
        self,
        steps: Steps,
        serial: np.ndarray,
        read_by: np.ndarray,
        sent: np.ndarray,
        borders: Borders,
    ) -> np.ndarray:
        """int64 [steps]: the wave of each.

        Args:
            steps: of the window.
            serial: int64 [reads], numbers of the messages among those of the window; below 0: of
                earlier.
            read_by: int64 [reads], the step that reads it; rising.
            sent: int64 [messages], the step that sends it.
            borders: of portions; each has waves of its own.
        """
        new = serial >= 0
        source = sent[serial[new]].tolist()
        ends = np.searchsorted(read_by[new], np.arange(len(steps.client)), side="right").tolist()
        level, waves, begin = [0] * self.num_clients, [0] * len(ends), 0
        group, client, first = steps.group.tolist(), steps.client.tolist(), 0
        anew = set(borders.steps.tolist())
        for step, end in enumerate(ends):
            if group[step] != step:
                continue  # all of one moment are of one wave
            wave = max([level[client[step]], *[waves[one] for one in source[begin:end]]])
            if first < step:
                wave = max(wave, *[level[one] for one in client[first:step]])
                for one in range(first, step):
                    level[client[one]], waves[one] = wave + 1, wave
            level[client[step]], waves[step] = wave + 1, wave
            begin, first = end, step + 1
            if first in anew:
                level = [max(level)] * self.num_clients
        return ints(waves)

    def _counted(
        self, steps: Steps, came: Letters, by: np.ndarray, borders: Borders
    ) -> tuple[Letters, np.ndarray, np.ndarray, np.ndarray]:
        """What of that which has come is mixed, the step that does it, and with what weight.

        And what is kept, as in `Posts.needed`.

        Args:
            steps: of the window.
            came: in the order in which it is read.
            by: int64 [letters], the step that reads it; rising.
            borders: of portions.
        """
        keep, nothing = self.asks.keep, np.empty((0, 3), dtype=np.int64)
        if keep is None:
            return came.of(by[:0]), by[:0], came.weight[:0], nothing
        if keep == "last":
            return self._held(steps, came, by, borders)
        if keep == "all":
            return came, by, came.weight, nothing
        codes = by * self.num_clients + came.sender
        order = np.argsort(codes, kind="stable")
        if (again := codes[order][1:] == codes[order][:-1]).any():
            first = order[np.append(True, ~again)]  # a sender's place is that of its first message
            newest = order[np.append(~again, True)][np.argsort(first)]
            came, by = came.of(newest), by[newest]
        return came, by, came.weight * self._scale(steps, came, by)[by], nothing

    def _scale(self, steps: Steps, came: Letters, by: np.ndarray) -> np.ndarray:
        """By what weights are multiplied, so that they leave the receiver what is its own in W."""
        count = len(steps.client)
        if self.asks.to == "one":  # of a half each: all that came and the own model count alike
            return 2 / (1 + np.bincount(by, minlength=count))
        room = self.draws.room(steps.client, steps.number)
        weight = np.bincount(by, came.weight, count)
        return np.where(weight > room, room / np.where(weight > 0, weight, 1.0), 1.0)

    def _held(
        self, steps: Steps, came: Letters, by: np.ndarray, borders: Borders
    ) -> tuple[Letters, np.ndarray, np.ndarray, np.ndarray]:
        """The last message of everybody who is a neighbor in a step's round, with its weight."""
        n, size = self.num_clients, steps.size
        known = self.held.then(came)
        since = np.concatenate([np.full(len(self.held.sender), 0), by + 1])  # 0: before the window
        # A slot is a pair of receiver and sender, in the order in which it first heard of it.
        pairs, begin, slot = np.unique(
            known.receiver * n + known.sender, return_index=True, return_inverse=True
        )
        ranks = np.lexsort((begin, pairs // n))
        place = np.empty_like(ranks)
        place[ranks] = np.arange(len(ranks))
        slot, whose = place[slot], pairs[ranks] // n
        # Of each slot's messages, in the order in which they are read, the newest so far.
        order = np.lexsort((since, slot))
        top = int(known.serial.max(initial=0)) + 1
        best = np.maximum.accumulate(slot[order] * top + known.serial[order])
        newest = np.maximum.accumulate(
            np.where(best == slot[order] * top + known.serial[order], np.arange(len(order)), 0)
        )
        moments = slot[order] * (size + 1) + since[order]
        # Every step looks into all slots of its client.
        slots = np.searchsorted(whose, np.arange(n + 1))
        step, looks = spread(slots[steps.client], np.diff(slots)[steps.client])
        at = np.searchsorted(moments, looks * (size + 1) + step + 1, side="right") - 1
        here = (at >= 0) & (slot[order][at] == looks) if len(order) else at >= 0
        step, found = step[here], known.of(order[newest[at[here]]])
        weight = self.draws.weights(found.receiver, found.sender, steps.number[step])
        last = np.append(slot[order][1:] != slot[order][:-1], True)[: len(order)]
        self.held = known.of(order[newest[last]])
        # Each is kept until the next one that is newer takes its slot.
        kept = np.flatnonzero(newest == np.arange(len(order)))
        until = np.full(len(kept), NOTHING)
        again = slot[order][kept][1:] == slot[order][kept][:-1]
        until[:-1][again] = since[order][kept][1:][again] - 1
        held = known.of(order[kept]).needed(borders.of(until) - 1)
        counts = weight > 0
        return found.of(counts), step[counts], weight[counts], held

    def _part_with(self, gone: list[int]) -> None:
        self._forget(gone)
        if self.asks.keep == "last":  # a neighbor no more counts no more
            known = self._neighbors()
            pairs = zip(self.held.sender.tolist(), self.held.receiver.tolist(), strict=True)
            self.held = self.held.of(np.array([pair in known for pair in pairs], dtype=bool))

    def _forget(self, gone: list[int]) -> None:
        """What was sent to those that left."""
        self.mail = self.mail.of(~np.isin(self.mail.receiver, gone))
        self.held = self.held.of(~np.isin(self.held.receiver, gone))

    def _neighbors(self) -> set[tuple[int, int]]:
        """(sender, receiver) of every link in any round of a period, or in the first 16."""
        Ws = rounds_of(self.routing.network.remaining)
        arcs = (zip(W.senders.tolist(), W.receivers.tolist(), strict=True) for W in Ws)
        return set(chain.from_iterable(arcs))

    def data(self) -> dict[str, np.ndarray]:
        """The data of a timeline, and the messages that are on their way."""
        found = super().data() | {"serial": np.array([self.serial])}
        for name, letters in (("mail", self.mail), ("held", self.held)):
            found |= {f"{name}.{part}": column for part, column in letters._asdict().items()}
        return found

    def _load(self, data: Mapping[str, np.ndarray]) -> None:
        self.serial = int(data["serial"][0])
        self.mail, self.held = (
            Letters(*(data[f"{name}.{part}"] for part in Letters._fields)).by_receiver()
            for name in ("mail", "held")
        )
        # What came of one that had left is held as before: it counts when both are linked again.
        self._forget([i for i, here in enumerate(self.here) if not here])
