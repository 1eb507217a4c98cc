"""Ledger: bytes and messages that went over every directed link, as long as a run lasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Real
from threading import RLock
from typing import Any

import numpy as np

from p2pqg.network.links import link_codes
from p2pqg.topology import Mixing

COLUMNS = ("sender", "receiver", "bytes", "messages")

FEW, MANY = 2**14, 2**22
"""Entries that wait for the next addition: so many always may, more than so many never."""

EXACT = 2.0**50
"""Sums of whole bits, in bytes, have no rounding below it: their order makes no difference."""


@dataclass(eq=False)
class Booked:
    """What is to be added to the sums.

    Attributes:
        codes: int64 [links], each once; see `link_codes`.
        num_bytes: float64 [links], or of each.
        messages: the same.
        times: how often.
        of: whose traffic it is, which is kept so that it is known when it comes again.
    """

    codes: np.ndarray
    num_bytes: np.ndarray | float
    messages: np.ndarray | float
    times: int = 1
    of: Mixing | None = None


@dataclass(eq=False)
class Ledger:
    """Sums per directed link; links that nothing went over are not in it.

    What is booked is added later, much at a time, to the sums that adding it at once would give: a
    network that stays the same costs a round next to nothing. Another thread may ask meanwhile what
    there is so far.

    Attributes:
        codes: int64 [links], rising; see `link_codes`.
        sums: float64 [2, links]: bytes, messages.
        whole: all that was booked so far is in whole bits.
        waiting: what is not in the sums yet, in the order in which it came.
    """

    codes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    sums: np.ndarray = field(default_factory=lambda: np.empty((2, 0)))
    whole: bool = True
    waiting: list[Booked] = field(default_factory=list)
    _known: dict[tuple[int, float], Booked] = field(default_factory=dict, repr=False)
    _entries: int = 0
    _lock: Any = field(default_factory=RLock, repr=False)

    def gossip(self, W: Mixing, message_bytes: float | np.ndarray) -> None:
        """Book a message of every sender to each of its receivers.

        What is sent costs, whether it arrives or not: W is that of the round before any message
        is lost. Clients that sit out (not `active`) neither send nor are sent to.

        Args:
            W: who sends to whom.
            message_bytes: of one message; a number, or [clients] by sender. 0: nothing is sent.
        """
        alike = isinstance(message_bytes, Real)
        key = (id(W), float(message_bytes)) if alike else None
        with self._lock:
            before = self._known.get(key) if key else None
            if before is not None and (self.whole or before is self.waiting[-1]):
                before.times += 1
                return
        sizes = np.broadcast_to(message_bytes, W.num_clients)
        sent = (W.senders != W.receivers) & (sizes[W.senders] > 0)
        if W.active is not None:
            sent &= W.active[W.senders] & W.active[W.receivers]
        senders = W.senders[sent]
        codes = link_codes(senders, W.receivers[sent])
        booked = Booked(codes, float(message_bytes) if alike else sizes[senders], 1.0)
        with self._lock:
            self._book(booked)
            if key:
                booked.of, self._known[key] = W, booked

    def allreduce(self, num_bytes: float, clients: np.ndarray) -> None:
        """Book a ring all-reduce: each client sends 2 (n - 1) / n of the tensor to the next one.

        Args:
            num_bytes: of the tensor whose mean is taken.
            clients: int64 [n], who takes part, in the order of the ring.
        """
        n = len(clients)
        if n > 1:
            ring = link_codes(clients, np.roll(clients, -1))
            self._book(Booked(ring, 2 * (n - 1) / n * num_bytes, 2.0 * (n - 1)))

    def allgather(self, message_bytes: float, clients: np.ndarray) -> None:
        """Book messages of each client to all, which go round a ring: each sends n - 1 of them.

        Args:
            message_bytes: of one message.
            clients: int64 [n], who takes part, in the order of the ring.
        """
        n = len(clients)
        if n > 1:
            ring = link_codes(clients, np.roll(clients, -1))
            self._book(Booked(ring, (n - 1) * message_bytes, 1.0 * (n - 1)))

    def messages(
        self, senders: np.ndarray, receivers: np.ndarray, counts: np.ndarray, num_bytes: float
    ) -> None:
        """Book messages of one size.

        Args:
            senders: int64 [links], each link once.
            receivers: int64 [links].
            counts: int64 [links], how many messages went over each.
            num_bytes: of one message.
        """
        self._book(Booked(link_codes(senders, receivers), num_bytes * counts, 1.0 * counts))

    def arrays(self) -> dict[str, np.ndarray]:
        """sender, receiver, bytes, messages; [links] each, by receiver, then by sender."""
        now = self.copy()
        sent, messages = now.sums
        parts = now.codes & 0xFFFFFFFF, now.codes >> 32, sent, messages.astype(np.int64)
        return dict(zip(COLUMNS, parts, strict=True))

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Ledger:
        """The ledger that `arrays()` came from."""
        sender, receiver, *sums = (np.asarray(arrays[name]) for name in COLUMNS)
        ledger = cls()
        num_bytes, messages = np.array(sums, dtype=np.float64)
        ledger._book(Booked(link_codes(sender, receiver), num_bytes, messages))
        ledger.settle()
        return ledger

    def copy(self) -> Ledger:
        """One that goes on by itself."""
        with self._lock:
            self.settle()
            return Ledger(self.codes.copy(), self.sums.copy(), self.whole)

    def __reduce__(self) -> tuple[Any, ...]:
        now = self.copy()  # whose W it was, another process does not know
        return Ledger, (now.codes, now.sums, now.whole)

    def _book(self, booked: Booked) -> None:
        size = 1 + len(booked.codes)  # rounds in which nothing is sent are not kept for ever, too
        with self._lock:
            most = min(max(len(self.codes), FEW), MANY)
            if self.waiting and self._entries + size > most:
                self.settle()
            self.waiting.append(booked)
            self._entries += size
            self.whole = self.whole and _in_whole_bits(booked.num_bytes)

    def settle(self) -> None:
        """Add what waits to the sums, link by link in the order in which it came."""
        with self._lock:
            waiting, self.waiting, self._known, self._entries = self.waiting, [], {}, 0
            places = self._places(waiting)
            num_bytes, messages = self.sums
            for booked, at in zip(waiting, places, strict=True):
                messages[at] += booked.times * booked.messages
                after = num_bytes[at] + booked.times * booked.num_bytes
                if booked.times > 1 and not (self.whole and after.max(initial=0) < EXACT):
                    after = num_bytes[at]
                    for _ in range(booked.times):
                        after = after + booked.num_bytes
                num_bytes[at] = after

    def _places(self, waiting: list[Booked]) -> list[np.ndarray]:
        """Where the links of each are among all that are known, which are more by them."""
        known = np.append(self.codes, -1)
        places = [np.searchsorted(self.codes, one.codes) for one in waiting]
        new = [one.codes[known[at] != one.codes] for one, at in zip(waiting, places, strict=True)]
        if not any(map(len, new)):
            return places
        before, sums = self.codes, self.sums
        codes = np.concatenate([before, *new])
        codes.sort(kind="stable")  # merges runs that rise, as these do
        self.codes = codes[np.diff(codes, prepend=-1) > 0]
        self.sums = np.zeros((2, len(self.codes)))
        self.sums[:, np.searchsorted(self.codes, before)] = sums
        return [np.searchsorted(self.codes, one.codes) for one in waiting]


def _in_whole_bits(num_bytes: np.ndarray | float) -> bool:
    bits = 8 * np.asarray(num_bytes)
    return bool((bits == np.floor(bits)).all())
