"""Ledger: bytes and messages that went over every directed link, as long as a run lasts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from p2pqg.network.links import link_codes
from p2pqg.topology import Mixing

COLUMNS = ("sender", "receiver", "bytes", "messages")


@dataclass(eq=False)
class Ledger:
    """Sums per directed link; links that nothing went over are not in it.

    Attributes:
        codes: int64 [links], rising; see `link_codes`.
        sums: float64 [2, links]: bytes, messages.
    """

    codes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    sums: np.ndarray = field(default_factory=lambda: np.empty((2, 0)))

    def gossip(self, W: Mixing, message_bytes: float | np.ndarray) -> None:
        """Book a message of every sender to each of its receivers.

        What is sent costs, whether it arrives or not: W is that of the round before any message
        is lost. Clients that sit out (not `active`) neither send nor are sent to.

        Args:
            W: who sends to whom.
            message_bytes: of one message; a number, or [clients] by sender. 0: nothing is sent.
        """
        sizes = np.broadcast_to(message_bytes, W.num_clients)
        sent = (W.senders != W.receivers) & (sizes[W.senders] > 0)
        if W.active is not None:
            sent &= W.active[W.senders] & W.active[W.receivers]
        senders = W.senders[sent]
        self._book(senders, W.receivers[sent], sizes[senders], 1.0)

    def allreduce(self, num_bytes: float, clients: np.ndarray) -> None:
        """Book a ring all-reduce: each client sends 2 (n - 1) / n of the tensor to the next one.

        Args:
            num_bytes: of the tensor whose mean is taken.
            clients: int64 [n], who takes part, in the order of the ring.
        """
        n = len(clients)
        if n > 1:
            following = np.roll(clients, -1)
            self._book(clients, following, np.full(n, 2 * (n - 1) / n * num_bytes), 2.0 * (n - 1))

    def allgather(self, message_bytes: float, clients: np.ndarray) -> None:
        """Book messages of each client to all, which go round a ring: each sends n - 1 of them.

        Args:
            message_bytes: of one message.
            clients: int64 [n], who takes part, in the order of the ring.
        """
        n = len(clients)
        if n > 1:
            self._book(
                clients, np.roll(clients, -1), np.full(n, (n - 1) * message_bytes), 1.0 * (n - 1)
            )

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
        self._add(link_codes(senders, receivers), np.stack([num_bytes * counts, 1.0 * counts]))

    def arrays(self) -> dict[str, np.ndarray]:
        """sender, receiver, bytes, messages; [links] each, by receiver, then by sender."""
        sent, messages = self.sums
        parts = self.codes & 0xFFFFFFFF, self.codes >> 32, sent, messages.astype(np.int64)
        return dict(zip(COLUMNS, parts, strict=True))

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Ledger:
        """The ledger that `arrays()` came from."""
        sender, receiver, *sums = (np.asarray(arrays[name]) for name in COLUMNS)
        ledger = cls()
        ledger._add(link_codes(sender, receiver), np.array(sums, dtype=np.float64))
        return ledger

    def _book(
        self, senders: np.ndarray, receivers: np.ndarray, sizes: np.ndarray, messages: float
    ) -> None:
        self._add(link_codes(senders, receivers), np.stack([sizes, np.full(len(sizes), messages)]))

    def _add(self, codes: np.ndarray, sums: np.ndarray) -> None:
        """Add [2, links] to the sums of as many links, each of them once in `codes`."""
        at = np.searchsorted(self.codes, codes)
        if not (np.append(self.codes, -1)[at] == codes).all():
            known, before = self.codes, self.sums
            self.codes = np.union1d(known, codes)
            self.sums = np.zeros((2, len(self.codes)))
            self.sums[:, np.searchsorted(self.codes, known)] = before
            at = np.searchsorted(self.codes, codes)
        self.sums[:, at] += sums
