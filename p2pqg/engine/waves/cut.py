"""The events of a window as waves, cut along the borders of blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from p2pqg.base.uploading import uploaded
from p2pqg.engine.waves.journal import Journal
from p2pqg.engine.waves.letters import NOTHING, Posts
from p2pqg.engine.waves.mail import Mail
from p2pqg.engine.waves.meetings import Meetings
from p2pqg.engine.waves.timeline import Window
from p2pqg.engine.waves.transfers import sent_by, transfers
from p2pqg.engine.waves.wave import MeetingWave, PostWave, Stage

Ints = np.ndarray

AT_ONCE = 64
"""Steps in a wave of a single block, and about as many in a stage: many rows leave the cache."""


class Portion(NamedTuple):
    """Some rounds as a block plays them.

    Attributes:
        number: of it in its window.
        fresh: int64, rows that begin a gradient at their model as it is before them.
        waves: of the block.
        sent: how many messages the hosted clients send.
        journal: for the books; the first block's only.
    """

    number: int
    fresh: np.ndarray
    waves: list[Any]
    sent: int
    journal: Journal | None


class Knife:
    """Cuts a window into the waves of one block.

    Args:
        window: what happens.
        bounds: of all blocks.
        block: which of them.
        like: whose type and device the numbers for the algorithm take.
        told: what the algorithm is told about seconds that have passed, [steps, 1]; None: nothing.
    """

    def __init__(
        self,
        window: Window,
        bounds: tuple[int, ...],
        block: int,
        like: Tensor,
        told: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.window, self.bounds, self.block, self.like = window, bounds, block, like
        self.first, self.last, self.told = bounds[block], bounds[block + 1], told
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
        self.elapsed = self._elapsed(window.elapsed, self.order)

    def _elapsed(self, seconds: np.ndarray, at: Ints) -> Tensor:
        """[steps, ...], what the algorithm is told; or nothing but places where it does not ask."""
        if self.told is None:
            return self.like.new_zeros(1, 1).expand(len(at), 1)
        return self.told(self._numbers(seconds[at]))

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
        return uploaded(torch.from_numpy(values), self.like)[:, None]

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

    def portions(self, mail: Mail, journals: Iterable[Journal | None]) -> list[Portion]:
        """What the block does in each portion of the window.

        Args:
            mail: of the block.
            journals: one for each portion.
        """
        window, waves = self.window, self._waves(mail)
        ends = np.diff(window.waves, prepend=0).tolist()
        mine = (self.first <= window.senders) & (window.senders < self.last)
        sent = np.append(0, np.cumsum(mine))[window.sent[window.portions - 1]]
        fresh = np.flatnonzero(window.fresh[self.first : self.last])
        rows = zip(ends, np.diff(sent, prepend=0).tolist(), journals, strict=True)
        return [
            Portion(number, fresh if number == 0 else fresh[:0], list(islice(waves, count)), *told)
            for number, (count, *told) in enumerate(rows)
        ]

    def _waves(self, mail: Mail) -> Iterator[Any]:
        if isinstance(self.window, Meetings):
            return self.meetings()
        return self.posts(mail, self._reserve(mail))  # at once: also where there are no waves

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
        elapsed = self._cut(self._elapsed(window.elapsed_b, met), met_ends)
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

    def posts(self, mail: Mail, wanted: Ints) -> Iterator[PostWave]:
        """The waves of a window of messages; those that are wanted have slots in the mail."""
        window = self.window
        assert isinstance(window, Posts)
        serials, readers = window.serial, window.read_by
        read = self._hosted(window.client[readers])
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
        new, step = sent_by(window, wanted)
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
