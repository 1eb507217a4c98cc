"""Messages that are sent and not read yet, in one tensor, and what a step reads of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from p2pqg.base.uploading import uploaded
from p2pqg.engine.waves.rows import Table

Parcel = tuple[Tensor, ...]


class Mail:
    """A block's mail. Every message has a slot, a row of each tensor, as long as it is needed.

    Attributes:
        serials: int64 [messages], rising; slots: int64 [messages], where each is.
        first, last: int64 [messages], the portions of a window between which it is needed.
        portion: that was handed out last.
        tables: [capacity, ...] of each tensor that is sent; none before the first message.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.serials = np.empty(0, dtype=np.int64)
        self.slots = np.empty(0, dtype=np.int64)
        self.first = self.last = np.empty(0, dtype=np.int64)
        self.portion = 0
        self.tables: list[Table] = []
        self.capacity = 0

    @property
    def rows(self) -> list[Tensor]:
        """The tensors of all messages, [capacity, ...]."""
        return [table.tensor for table in self.tables]

    @property
    def here(self) -> np.ndarray:
        """Which messages it holds after the portion that was handed out last; bool [messages]."""
        return (self.first <= self.portion) & (self.portion <= self.last)

    def reserve(self, wanted: np.ndarray, first: np.ndarray, last: np.ndarray) -> None:
        """Slots for the messages of the next window, as long as they are needed.

        Those that are here stay put, and what nobody wants is forgotten.

        Args:
            wanted: int64 [messages], rising.
            first: int64 [messages], the portion in which each comes.
            last: int64 [messages], the last one in which it is needed.
        """
        serials, slots = self.serials[self.here], self.slots[self.here]
        known, at = np.isin(wanted, serials), np.searchsorted(serials, wanted)
        found = np.full(len(wanted), -1)
        found[known] = slots[at[known]]
        size = int(last.max(initial=0)) + 1
        come, gone = np.bincount(first, minlength=size), np.bincount(last, minlength=size)
        most = int((np.cumsum(come) - np.cumsum(gone) + gone).max())
        if most > self.capacity:
            self._grow(most + most // 4)
        free = np.setdiff1d(np.arange(self.capacity), found)
        for portion in range(size):
            new = np.flatnonzero((first == portion) & ~known)
            found[new], free = free[: len(new)], free[len(new) :]
            if portion + 1 < size:
                free = np.concatenate([found[last == portion], free])
        self.serials, self.slots, self.portion = wanted, found, 0
        self.first, self.last = first, last

    def _grow(self, capacity: int) -> None:
        self.tables = [
            Table(torch.cat([rows, rows.new_zeros(capacity - len(rows), *rows.shape[1:])]))
            for rows in self.rows
        ]
        self.capacity = capacity

    def slots_of(self, serials: np.ndarray) -> np.ndarray:
        """Where messages are."""
        return self.slots[np.searchsorted(self.serials, serials)]

    def put(self, slots: Tensor, messages: Parcel) -> None:
        """Write messages, [messages, ...] each."""
        if not self.tables:
            empty = (t.new_zeros(self.capacity, *t.shape[1:]) for t in messages)
            self.tables = [Table(t) for t in empty]
        if slots.shape[0]:
            for table, message in zip(self.tables, messages, strict=True):
                table.put(slots, message)

    def data(self) -> dict[str, np.ndarray]:
        """Serials, and what each message holds."""
        slots = self.slots[self.here]
        held = {str(i): rows.cpu().numpy()[slots] for i, rows in enumerate(self.rows)}
        return {"serial": self.serials[self.here], **held}

    def load(self, data: Mapping[str, np.ndarray], wanted: np.ndarray, like: Tensor) -> None:
        """Hold those messages of `data` that are wanted."""
        self._clear()
        serials, at = np.unique(data["serial"], return_index=True)  # other blocks had them, too
        here = np.isin(serials, wanted)
        self.reserve(serials[here], *np.zeros((2, int(here.sum())), dtype=np.int64))
        if here.any():
            held = [data[str(i)][at[here]] for i in range(len(data) - 1)]
            messages = tuple(torch.tensor(array, device=like.device) for array in held)
            self.put(torch.from_numpy(self.slots_of(serials[here])).to(like.device), messages)


class Delivered:
    """What the clients of one wave read; see `p2pqg.algorithms.asynchronous.Inbox`."""

    def __init__(
        self,
        rows: list[Tensor],
        slots: Tensor,
        offsets: Tensor,
        weights: Tensor,
        ages: np.ndarray,
        weight: Tensor,
    ) -> None:
        self._rows, self._slots, self._offsets, self._ages = rows, slots, offsets, ages
        self.weights, self.weight = weights, weight

    @classmethod
    def none(cls, like: Parcel) -> Delivered:
        """Nothing, for nobody; `like`: what is sent."""
        nothing = torch.empty(0, dtype=like[0].dtype if like else torch.float32)
        at = torch.zeros(0, dtype=torch.int64)
        return cls(list(like), at, at, nothing, np.empty((2, 0)), nothing[:, None])

    @cached_property
    def _counts(self) -> Tensor:
        end = self._offsets.new_full((1,), len(self._slots))
        return torch.cat([self._offsets, end]).diff()

    @cached_property
    def to(self) -> Tensor:
        counts, length = self._counts, len(self._slots)  # known here: a GPU would have to be asked
        who = torch.arange(len(counts), device=counts.device)
        return torch.repeat_interleave(who, counts, output_size=length)

    @cached_property
    def count(self) -> Tensor:
        return self._counts.to(self.weights.dtype)[:, None]

    @cached_property
    def seconds(self) -> Tensor:
        return uploaded(torch.from_numpy(self._ages[0]), self.weights.device)

    @cached_property
    def steps(self) -> Tensor:
        return uploaded(torch.from_numpy(self._ages[1]), self.weights.device)

    def __getitem__(self, number: int) -> Tensor:
        return self._rows[number][self._slots]

    def sum(self, weights: Tensor | None = None) -> Parcel:
        weights = self.weights if weights is None else weights
        return tuple(self._bags(rows, weights) for rows in self._rows)

    def mix(self, x: Tensor) -> Tensor:
        came = self._bags(self._rows[0], self.weights)
        return came.addcmul_(x, 1 - self.weight)

    def _bags(self, rows: Tensor, weights: Tensor) -> Tensor:
        """For each client the weighted sum of what it reads."""
        if not len(self._slots):
            return rows.new_zeros(len(self._offsets), *rows.shape[1:])
        bags = embedding_bag(
            self._slots, rows.flatten(1), self._offsets, mode="sum", per_sample_weights=weights
        )
        return bags.reshape(-1, *rows.shape[1:])
