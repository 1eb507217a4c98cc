"""The events of a window as waves, cut along the borders of blocks.

In a wave every row has at most one part, so that it is one stacked call. Positions count within the
wave: first the block's own clients whose step it is, in order, then those who are met.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from p2pqg.base.uploading import uploaded
from p2pqg.engine.routes import Leg
from p2pqg.engine.waves.letters import NOTHING, Posts
from p2pqg.engine.waves.mail import Mail
from p2pqg.engine.waves.meetings import Meetings
from p2pqg.engine.waves.timeline import Window

Ints = np.ndarray

AT_ONCE = 64
"""Steps in a wave of a single block, and about as many in a stage: many rows leave the cache."""


@dataclass(frozen=True)
class Transfers:
    """Rows that cross the borders of blocks; int64 [rows] each, sorted by all of them in turn.

    Attributes:
        wave: in which it is sent.
        source, target: from block to block.
        client: whose row.
    """

    num_blocks: int
    wave: Ints
    source: Ints
    target: Ints
    client: Ints

    @classmethod
    def of(cls, bounds: tuple[int, ...], wave: Ints, client: Ints, receiver: Ints) -> Transfers:
        """Every row that a receiver in another block needs, once for each block."""
        blocks, n = len(bounds) - 1, bounds[-1]
        if blocks == 1:
            return cls(1, *[np.empty(0, dtype=np.int64)] * 4)
        source, target = (np.searchsorted(bounds, x, side="right") - 1 for x in (client, receiver))
        crosses = source != target
        code = ((wave * blocks + source) * blocks + target) * n + client
        rest, client = np.divmod(np.unique(code[crosses]), n)
        rest, target = np.divmod(rest, blocks)
        wave, source = np.divmod(rest, blocks)
        return cls(blocks, wave, source, target, client)

    def legs(self, num_waves: int) -> list[Leg]:
        """What travels in each wave."""
        if self.num_blocks == 1:
            return [Leg((0,), ((),))] * num_waves
        pairs = np.unique(np.stack([self.wave, self.source, self.target], axis=1), axis=0)
        ends = np.searchsorted(pairs[:, 0], np.arange(num_waves + 1)).tolist()
        return [self._leg(pairs[a:b, 1:].tolist()) for a, b in zip(ends, ends[1:], strict=False)]

    def _leg(self, pairs: list[list[int]]) -> Leg:
        parcels = [0] * self.num_blocks
        addresses: list[list[tuple[int, int]]] = [[] for _ in parcels]
        for source, target in pairs:  # sorted: parcels in the order of their targets
            addresses[target].append((source, parcels[source]))
            parcels[source] += 1
        return Leg(tuple(parcels), tuple(map(tuple, addresses)))

    def leaving(self, block: int) -> tuple[Ints, list[Ints]]:
        """A block's own rows that leave it: waves, and clients, of each parcel in turn."""
        mine = self.source == block
        wave, target, client = self.wave[mine], self.target[mine], self.client[mine]
        cuts = np.flatnonzero((np.diff(wave) != 0) | (np.diff(target) != 0)) + 1
        parcels = np.split(client, cuts) if len(client) else []
        return wave[np.concatenate([[0], cuts])] if len(client) else wave, parcels

    def coming(self, block: int) -> tuple[Ints, Ints]:
        """Rows that come to a block, in the order in which they do: waves and clients."""
        here = self.target == block
        return self.wave[here], self.client[here]


class Stage(NamedTuple):
    """Waves whose gradients are computed together: no client of the block makes two steps in them.

    Attributes:
        rows: int64 [steps], whose, wave by wave; at: the same as an array.
        numbers: int64 [steps], which of their steps.
    """

    rows: Tensor
    at: Ints
    numbers: Ints


@dataclass
class Wave:
    """One stacked call of a block. Rows and positions count from the block's first client.

    Attributes:
        leg: what crosses borders.
        rows: int64 [steps], whose step it is; at: the same as an array.
        clients: the same in the whole network; numbers: which of their steps; rounds: in which.
        elapsed: [steps, 1], seconds since each one's last event, where the algorithm wants to know.
        stage: to which it belongs; part: where its steps are in that.
        parcels: positions of the rows that other blocks need.
    """

    leg: Leg
    rows: Tensor
    at: Ints
    clients: Ints
    numbers: Ints
    rounds: Ints
    elapsed: Tensor
    stage: Stage
    part: slice
    parcels: list[Tensor]


@dataclass
class MeetingWave(Wave):
    """A wave of meetings.

    Attributes:
        met: int64, rows of clients that are met; met_elapsed: seconds since each one's last event.
        other: int64 [steps + met], the position of whom each averages with; its own: with nobody.
            Rows that come from other blocks have the positions after those. Where no block but
            this one is, it is empty.
        joint: pairs that both make a step. Where nothing crosses a border, the steps are those of
            the ones who are with the `met`, in their order; then the ones of `joint` pairs, then
            the others; and those who are alone.
    """

    met: Tensor
    met_elapsed: Tensor
    other: Tensor
    joint: int


@dataclass
class PostWave(Wave):
    """A wave of messages.

    Attributes:
        kept: [steps, 1], see `push`.
        write: int64, positions whose messages are read in this block; to: their slots.
        incoming: int64, slots of the messages that come from other blocks.
        offsets: int64 [steps], the first message that each step reads.
        reads: int64 [reads], the slots of the messages that are read; weights: as of `Inbox`.
        ages: float64 [2, reads], seconds and steps, as of `Inbox`.
        weight: [steps, 1], sum of the weights.
    """

    kept: Tensor
    write: Tensor
    to: Tensor
    incoming: Tensor
    offsets: Tensor
    reads: Tensor
    weights: Tensor
    ages: np.ndarray
    weight: Tensor


def transfers(window: Window, bounds: tuple[int, ...]) -> Transfers:
    """What crosses the borders of blocks in a window."""
    if isinstance(window, Meetings):
        wave, a, b = window.wave, window.a, window.b
        twice = np.concatenate
        return Transfers.of(bounds, twice([wave, wave]), twice([a, b]), twice([b, a]))
    assert isinstance(window, Posts)
    serial, reader, _ = window.needed.T
    new, at = _sent_by(window, serial)
    return Transfers.of(bounds, window.level[at], window.client[at], reader[new])


def _sent_by(window: Posts, serial: Ints) -> tuple[np.ndarray, Ints]:
    """Which messages are sent in a window, bool [messages], and in what step, [of these]."""
    sent = np.flatnonzero(window.serial != NOTHING)  # steps; serials rise with them by one
    if not len(sent):
        return np.zeros(len(serial), dtype=bool), sent
    new = serial >= (first := window.serial[sent[0]])
    return new, sent[serial[new] - first]


class Knife:
    """Cuts a window into the waves of one block.

    Args:
        window: what happens.
        bounds: of all blocks.
        block: which of them.
        like: whose type and device the numbers for the algorithm take.
        timed: the algorithm wants to know how much time has passed.
    """

    def __init__(
        self,
        window: Window,
        bounds: tuple[int, ...],
        block: int,
        like: Tensor,
        timed: bool = True,
    ) -> None:
        self.window, self.bounds, self.block, self.like = window, bounds, block, like
        self.first, self.last, self.timed = bounds[block], bounds[block + 1], timed
        self.alone = len(bounds) == 2
        if self.alone and isinstance(window, Meetings):
            self.window = window = _in_parts(window)
        client, wave = window.client, window.level
        self.across = transfers(window, bounds)
        self.legs = self.across.legs(int(window.waves[-1]))
        mine = self._hosted(client)
        self.order = mine[np.lexsort((*self._ranks(client)[:, mine], wave[mine]))]
        self.wave, self.client = wave[self.order], client[self.order]
        self.ends = self._ends(self.wave)
        self.rounds = window.first + np.searchsorted(window.done, self.order, side="right")
        self.numbers = window.number[self.order]
        self.at = self.client - self.first
        self.rows = self._index(self.at)
        self.elapsed = self._seconds(window.elapsed, self.order)

    def _seconds(self, elapsed: np.ndarray, at: Ints) -> Tensor:
        """[steps, 1], or nothing but places where nobody asks."""
        if not self.timed:
            return self.like.new_zeros(1, 1).expand(len(at), 1)
        return self._numbers(elapsed[at])

    def _stages(self) -> list[int]:
        """The first wave of each stage, and the number of waves."""
        by = np.argsort(self.client, kind="stable")
        again = self.client[by][1:] == self.client[by][:-1]
        latest = np.full(len(self.legs), -1)  # the last wave in which one of these made a step
        np.maximum.at(latest, self.wave[by[1:][again]], self.wave[by[:-1][again]])
        first, ends, portions = [0], self.ends.tolist(), set(self.window.waves.tolist())
        for wave, last in enumerate(latest.tolist()):
            full = ends[wave + 1] - ends[first[-1]] > AT_ONCE
            if last >= first[-1] or full or wave in portions:
                first.append(wave)
        return [*dict.fromkeys(first), len(self.legs)]

    def _ranks(self, client: Ints) -> Ints:
        """[2, steps]: the order of steps within a wave, by the second and then by the first.

        Of clients that meet: first the ones who ask, then the pairs that both make a step, first
        the ones and then the others, and last those who meet nobody.
        """
        window, ranks = self.window, np.stack([client, np.full_like(client, 3)])
        if isinstance(window, Meetings):
            step, both = window.step, window.both
            pair = np.arange(len(step))
            ranks[:, step[~both]] = pair[~both], np.zeros(len(step[~both]))
            ranks[:, step[both]] = pair[both], np.ones(len(step[both]))
            ranks[:, step[both] + 1] = pair[both], np.full(len(step[both]), 2)
        return ranks

    def _hosted(self, client: Ints) -> Ints:
        """Where the clients are the block's."""
        return np.flatnonzero((self.first <= client) & (client < self.last))

    def _ends(self, wave: Ints) -> Ints:
        """Where each wave begins, and the last one ends; `wave` rises."""
        return np.searchsorted(wave, np.arange(len(self.legs) + 1))

    def _code(self, wave: Ints | int, client: Ints) -> Ints:
        """One number for a client in a wave."""
        return wave * self.bounds[-1] + client

    def _index(self, values: Ints) -> Tensor:
        return uploaded(torch.from_numpy(np.ascontiguousarray(values)), self.like.device)

    def _numbers(self, values: np.ndarray) -> Tensor:
        """[values, 1], for the algorithm to calculate with."""
        return torch.from_numpy(values).to(self.like)[:, None]

    def _parcels(self, places: _Places) -> list[list[Tensor]]:
        """For each wave, the positions of the rows that leave."""
        found: list[list[Tensor]] = [[] for _ in self.legs]
        wave, parcels = self.across.leaving(self.block)
        for one, clients in zip(wave.tolist(), parcels, strict=True):
            found[one].append(self._index(places.of(self._code(one, clients))))
        return found

    def _base(self, parcels: list[list[Tensor]]) -> Iterator[dict[str, Any]]:
        """What all kinds of waves have in common, wave by wave."""
        rows, elapsed = self._cut(self.rows, self.ends), self._cut(self.elapsed, self.ends)
        ends, stages = self.ends.tolist(), self._stages()
        for begin, over in zip(stages, stages[1:], strict=False):
            first, last = ends[begin], ends[over]
            stage = Stage(self.rows[first:last], self.at[first:last], self.numbers[first:last])
            for wave in range(begin, over):
                part = slice(ends[wave], ends[wave + 1])
                yield {
                    "leg": self.legs[wave],
                    "rows": rows[wave],
                    "at": self.at[part],
                    "clients": self.client[part],
                    "numbers": self.numbers[part],
                    "rounds": self.rounds[part],
                    "elapsed": elapsed[wave],
                    "stage": stage,
                    "part": slice(part.start - first, part.stop - first),
                    "parcels": parcels[wave],
                }

    def _cut(self, items: Tensor, ends: Ints) -> tuple[Tensor, ...]:
        """The parts of each wave; slicing one by one would take ten times as long."""
        return items.split(np.diff(ends).tolist())

    def meetings(self) -> Iterator[MeetingWave]:
        """The waves of a window of meetings."""
        window = self.window
        assert isinstance(window, Meetings)
        wave, b, both = window.wave, window.b, window.both
        met = self._hosted(b)
        met = met[~both[met]]
        met = met[np.argsort(wave[met], kind="stable")]  # as those who ask
        met_wave, met_ends = wave[met], self._ends(wave[met])
        parcels, others = self._crossing(met, met_wave, met_ends)
        here = (self.first <= window.a) & (window.a < self.last)  # others' pairs are not ours
        joint = np.bincount(wave[both & here], minlength=len(self.legs)).tolist()
        rows = self._cut(self._index(b[met] - self.first), met_ends)
        elapsed = self._cut(self._seconds(window.elapsed_b, met), met_ends)
        for one, base in enumerate(self._base(parcels)):
            yield MeetingWave(
                met=rows[one],
                met_elapsed=elapsed[one],
                other=others[one],
                joint=joint[one],
                **base,
            )

    def _crossing(
        self, met: Ints, met_wave: Ints, met_ends: Ints
    ) -> tuple[list[list[Tensor]], Sequence[Tensor]]:
        """What leaves in each wave, and with whom everybody averages: see `MeetingWave.other`."""
        if self.alone:
            return [[]] * len(self.legs), [self._index(np.empty(0, np.int64))] * len(self.legs)
        window = self.window
        assert isinstance(window, Meetings)
        wave, a, b = window.wave, window.a, window.b
        coming_wave, coming = self.across.coming(self.block)
        num_steps, num_met = np.diff(self.ends), np.diff(met_ends)
        places = _Places(
            self._code(
                np.concatenate([self.wave, met_wave, coming_wave]),
                np.concatenate([self.client, b[met], coming]),
            ),
            np.concatenate(
                [
                    _within(self.wave, self.ends),
                    num_steps[met_wave] + _within(met_wave, met_ends),
                    (num_steps + num_met)[coming_wave]
                    + _within(coming_wave, self._ends(coming_wave)),
                ]
            ),
        )
        ends = self.ends + met_ends
        other = np.arange(ends[-1]) - np.repeat(ends[:-1], np.diff(ends))
        for mine, partner in ((a, b), (b, a)):
            here = self._hosted(mine)
            at = places.of(self._code(wave[here], mine[here]))
            other[ends[wave[here]] + at] = places.of(self._code(wave[here], partner[here]))
        return self._parcels(places), self._cut(self._index(other), ends)

    def posts(self, mail: Mail) -> Iterator[PostWave]:
        """The waves of a window of messages, which get their slots in the mail."""
        window = self.window
        assert isinstance(window, Posts)
        serials, readers = window.serial, window.read_by
        read = self._hosted(window.client[readers])
        wanted = self._reserve(mail)
        # What the block itself sends, and what comes, as far as somebody here will read it.
        places = _Places(self._code(self.wave, self.client), _within(self.wave, self.ends))
        sent = serials[self.order]
        writes = np.flatnonzero(np.isin(sent, wanted) & (sent != NOTHING))
        write_ends = self._ends(self.wave[writes])
        coming_wave, coming = self.across.coming(self.block)
        everyone = self._code(window.level, window.client)
        incoming = _Places(everyone, serials).of(self._code(coming_wave, coming))
        # Who reads what: sorted by wave, and by position in it.
        place = np.full(len(serials), -1)
        place[self.order] = np.arange(len(self.order))
        read = read[np.argsort(place[readers[read]], kind="stable")]
        reader = place[readers[read]]
        first = np.searchsorted(reader, np.arange(len(self.order) + 1))
        read_ends = first[self.ends]
        offsets = first[:-1] - np.repeat(read_ends[:-1], np.diff(self.ends))
        weights = window.read_weight[read]
        of_steps = {
            "kept": self._numbers(window.kept[self.order]),
            "offsets": self._index(offsets),
            "weight": self._numbers(np.bincount(reader, weights, len(self.order))),
        }
        of_reads = {
            "reads": self._index(mail.slots_of(window.read[read])),
            "weights": self._numbers(weights)[:, 0],
        }
        of_writes = {
            "write": self._index(_within(self.wave, self.ends)[writes]),
            "to": self._index(mail.slots_of(sent[writes])),
        }
        cut = {name: self._cut(items, self.ends) for name, items in of_steps.items()}
        cut |= {name: self._cut(items, read_ends) for name, items in of_reads.items()}
        cut |= {name: self._cut(items, write_ends) for name, items in of_writes.items()}
        slots = self._index(mail.slots_of(incoming))
        cut["incoming"] = self._cut(slots, self._ends(coming_wave))
        ages = np.array([window.age, window.behind], dtype=np.float64)[:, read]
        for one, base in enumerate(self._base(self._parcels(places))):
            parts: dict[str, Any] = {name: some[one] for name, some in cut.items()}
            yield PostWave(
                ages=ages[:, read_ends[one] : read_ends[one + 1]],
                **parts,
                **base,
            )

    def _reserve(self, mail: Mail) -> Ints:
        """Slots for the messages that the block needs; which these are, rising."""
        window = self.window
        assert isinstance(window, Posts)
        mine = window.needed[self._hosted(window.needed[:, 1])]
        wanted, which = np.unique(mine[:, 0], return_inverse=True)
        first, last = np.zeros((2, len(wanted)), dtype=np.int64)
        np.maximum.at(last, which, mine[:, 2])
        new, step = _sent_by(window, wanted)
        if len(window.portions) > 1:
            first[new] = np.searchsorted(window.waves, window.level[step], side="right")
        mail.reserve(wanted, first, last)
        return wanted


def _in_parts(window: Meetings) -> Meetings:
    """Waves of steps and of meetings, none larger than `AT_ONCE`: they stay in the cache."""
    level, both = window.level, window.both
    if len(level) <= AT_ONCE:
        return window
    order = np.argsort(level, kind="stable")
    place = np.empty_like(level)
    place[order] = _within(level[order], np.searchsorted(level[order], np.arange(level.max() + 1)))
    step = window.step
    place[step[both] + 1] = place[step[both]]  # the two of a pair stay together
    _, level = np.unique(level * len(level) + place // AT_ONCE, return_inverse=True)
    level = level.astype(np.int64)
    return dataclasses.replace(window, level=level, wave=level[step])


class _Places:
    """Code of a client in a wave -> its position there."""

    def __init__(self, codes: Ints, positions: Ints) -> None:
        order = np.argsort(codes)
        self.codes, self.positions = codes[order], positions[order]

    def of(self, codes: Ints) -> Ints:
        return self.positions[np.searchsorted(self.codes, codes)]


def _within(wave: Ints, ends: Ints) -> Ints:
    """Place of each item within its wave; items are sorted by wave."""
    return np.arange(len(wave)) - ends[wave]
