"""What crosses the borders of blocks in a window: in which wave, from where to where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from p2pqg.base.distinct import distinct
from p2pqg.engine.routes import Leg
from p2pqg.engine.waves.letters import NOTHING, Posts
from p2pqg.engine.waves.meetings import Meetings
from p2pqg.engine.waves.timeline import Window

Ints = np.ndarray


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
        rest, client = np.divmod(distinct(code[crosses]), n)
        rest, target = np.divmod(rest, blocks)
        wave, source = np.divmod(rest, blocks)
        return cls(blocks, wave, source, target, client)

    def legs(self, num_waves: int) -> list[Leg]:
        """What travels in each wave."""
        if self.num_blocks == 1:
            return [Leg((0,), ((),))] * num_waves
        blocks = self.num_blocks
        codes = distinct((self.wave * blocks + self.source) * blocks + self.target)
        pairs = np.stack([codes // blocks**2, codes // blocks % blocks, codes % blocks], axis=1)
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


def transfers(window: Window, bounds: tuple[int, ...]) -> Transfers:
    """What crosses the borders of blocks in a window."""
    if isinstance(window, Meetings):
        wave, a, b = window.wave, window.a, window.b
        twice = np.concatenate
        return Transfers.of(bounds, twice([wave, wave]), twice([a, b]), twice([b, a]))
    assert isinstance(window, Posts)
    serial, reader, _ = window.needed.T
    new, at = sent_by(window, serial)
    return Transfers.of(bounds, window.level[at], window.client[at], reader[new])


def sent_by(window: Posts, serial: Ints) -> tuple[np.ndarray, Ints]:
    """Which messages are sent in a window, bool [messages], and in what step, [of these]."""
    sent = np.flatnonzero(window.serial != NOTHING)  # steps; serials rise with them by one
    if not len(sent):
        return np.zeros(len(serial), dtype=bool), sent
    new = serial >= (first := window.serial[sent[0]])
    return new, sent[serial[new] - first]


def legs(window: Window, bounds: tuple[int, ...]) -> Iterator[list[tuple[int, Leg]]]:
    """For each portion, the waves in which something travels between blocks, and what."""
    ends = window.waves.tolist()
    found = iter(transfers(window, bounds).legs(ends[-1]))
    for count in np.diff(ends, prepend=0).tolist():
        waves = enumerate(islice(found, count))
        yield [(number, leg) for number, leg in waves if not leg.silent]
