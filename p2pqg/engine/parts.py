"""A round of many clients, played by a part of them after the other, with the same numbers.

An algorithm's lines work row by row, and rows meet only where they `yield`. So each part of the
rows may play the round by itself up to the next request. What it computes on the way is as large as
a part: it stays in the cache, and is gone before the next part begins. Only what is sent lies side
by side, [clients, ...], and the new state takes the place of the old one, part by part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import repeat
from typing import Any

from p2pqg.algorithms.effects import Decide, Effect, Gossip, Neighbors, Peers
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.lazy import torch
from p2pqg.engine.call import CONTRACT, Ask, Call, disagreement
from p2pqg.engine.forget import forget
from p2pqg.engine.snapshot import leaves, with_leaves

PART_BYTES = 2**24
"""What the rows of a part take, about; a round makes a handful of tensors of that size."""

WORTH_IT = 2**28
"""Bytes of the rows of all clients from which on they are taken part by part."""


@dataclasses.dataclass(frozen=True)
class Later:
    """A reply of which each part is worked out when it is wanted.

    Attributes:
        rows: part -> its rows of the reply.
    """

    rows: Callable[[slice], torch.Tensor]


class Spare:
    """Memory for what is sent, which is used again from request to request.

    Memory as large as all models comes from the system each time it is asked for, and then costs a
    page fault per 4 KB: a third of a round of 102,400 small models.
    """

    def __init__(self) -> None:
        self._free: list[torch.Tensor] = []
        self._lent: list[torch.Tensor] = []

    def like(self, rows: torch.Tensor, num_clients: int, room: int = 0) -> torch.Tensor:
        """[clients, ...], whatever is in them; behind them there is room for more rows."""
        needed = num_clients + room
        for i, free in enumerate(self._free):
            same = free.shape[1:], free.dtype, free.device
            if len(free) >= needed and same == (rows.shape[1:], rows.dtype, rows.device):
                return self._free.pop(i)[:num_clients]
        return rows.new_empty(needed, *rows.shape[1:])[:num_clients]

    def lend(self, tensors: Sequence[torch.Tensor]) -> None:
        """These, of `like`, are read until the next request is there, and by nobody later."""
        self._lent += map(_with_room, tensors)

    def take_back(self) -> None:
        """The next request is there, or the round is over."""
        self._free, self._lent = self._free + self._lent, []


def below(own: torch.Tensor, arrived: Sequence[torch.Tensor]) -> torch.Tensor:
    """Rows of `Spare.like` and below them those that came in, without a copy if there is room."""
    whole, at = _with_room(own), len(own)
    if len(whole) < at + sum(map(len, arrived)):
        return torch.cat([own, *arrived])
    for rows in arrived:
        whole[at : at + len(rows)] = rows
        at += len(rows)
    return whole[:at]


def _with_room(rows: torch.Tensor) -> torch.Tensor:
    """The rows and the room behind them."""
    each = rows[:1].nbytes
    if not each:
        return rows
    length = rows.untyped_storage().nbytes() // each
    return rows.as_strided((length, *rows.shape[1:]), rows.stride())


def cut(num_clients: int, at_once: int, row_bytes: int) -> list[slice]:
    """Parts of at most `at_once` clients; a single one of all where it is not worth it."""
    if num_clients * row_bytes < WORTH_IT:
        return [slice(0, num_clients)]
    return [slice(i, min(i + at_once, num_clients)) for i in range(0, num_clients, at_once)]


def together(
    round: int,
    calls: Sequence[Call],
    parts: Sequence[slice],
    who: Callable[[slice], str],
    end: Callable[[slice, Any], None],
    spare: Spare,
    room: Callable[[], int],
) -> Generator[Effect, Any, None]:
    """The requests of all clients in a round that each part of them plays by itself.

    Args:
        round: its number.
        calls: each part's, about to begin.
        parts: whose rows.
        who: a part's clients, in a message.
        end: called with each part and its new state, as soon as it is there.
        spare: memory for requests.
        room: () -> rows that will come in with a gossip, to lie below what is sent.

    Raises:
        AlgorithmError: the parts do not ask for the same.
    """
    replies: Iterator[Any] = repeat(None)
    while True:
        whole, first = _Whole(parts[-1].stop, spare, room), None
        for call, part, reply in zip(calls, parts, replies, strict=False):
            ask: Ask | None = None
            try:
                effect = call.send(reply)
            except StopIteration as done:
                end(part, done.value)
            else:
                ask = call.ask(round, effect)
            if part is parts[0]:
                first = ask
            if wrong := disagreement(ask, first, who(part), who(parts[0])):
                raise AlgorithmError(wrong)
            if ask:
                if not whole.takes(effect, part):
                    raise AlgorithmError(f"{ask.place}: {CONTRACT}; nor may shapes")
                del effect
                forget(call.own)
        spare.take_back()
        if first is None:
            return
        reply = yield whole.take()
        replies = map(_of_part, repeat(reply), parts)


class _Whole:
    """A request of all clients, gathered from the requests of the parts."""

    def __init__(self, num_clients: int, spare: Spare, room: Callable[[], int]) -> None:
        self._num_clients, self._spare, self._room = num_clients, spare, room
        self._effect: Effect | None = None

    def takes(self, effect: Effect, part: slice) -> bool:
        """Put a part's rows in their place; False: they do not fit."""
        rows = _rows(effect)
        if self._effect is None:
            room = self._room() if isinstance(effect, Gossip) else 0
            self._effect = _with(
                effect, [self._spare.like(t, self._num_clients, room) for t in rows]
            )
        wholes = _rows(self._effect)
        if [t.shape[1:] for t in rows] != [t.shape[1:] for t in wholes]:
            return False
        for all_rows, own in zip(wholes, rows, strict=True):
            all_rows[part] = own
        return True

    def take(self) -> Effect:
        """The request; it is not kept here."""
        effect, self._effect = self._effect, None
        assert effect is not None
        return effect


def _rows(effect: Effect) -> list[torch.Tensor]:
    """All tensors of a request, [clients, ...] each."""
    size = effect.message_bytes if isinstance(effect, Gossip) else None
    return [*effect.tensors, *([size] if isinstance(size, torch.Tensor) else [])]


def _with(effect: Effect, rows: Sequence[torch.Tensor]) -> Effect:
    """The same request with other tensors, in the order of `_rows`."""
    if isinstance(effect, Neighbors):
        return effect
    if isinstance(effect, Decide):
        return dataclasses.replace(effect, values=rows[0])
    tensors = tuple(rows[: len(effect.tensors)])
    if isinstance(effect, Gossip) and isinstance(effect.message_bytes, torch.Tensor):
        return dataclasses.replace(effect, tensors=tensors, message_bytes=rows[-1])
    return dataclasses.replace(effect, tensors=tensors)


def _of_part(reply: Any, part: slice) -> Any:
    """A part's rows of the reply to a request."""
    if isinstance(reply, torch.Tensor):
        return reply[part]
    if isinstance(reply, Later):
        return reply.rows(part)
    if isinstance(reply, Peers):
        return Peers(*(_of_part(rows, part) for rows in reply))
    if isinstance(reply, tuple):
        return tuple(_of_part(rows, part) for rows in reply)
    return reply  # a number, the same for all


class Successor:
    """The state after a round: it takes the place of the one before, part by part."""

    def __init__(self, state: Any, num_clients: int) -> None:
        self._before = {n: t for n, t in leaves(state).items() if isinstance(t, torch.Tensor)}
        names = reversed(self._before)  # of those that lie in one place the first may stay there
        self._memory = {_memory(self._before[name]): name for name in names}
        self._num_clients = num_clients
        self._rows: dict[str, torch.Tensor] = {}
        self._like = state

    def put(self, part: slice, state: Any) -> None:
        """The new state of a part. From then on there is no old one of it."""
        self._like = state
        found = {n: t for n, t in leaves(state).items() if isinstance(t, torch.Tensor)}
        # What it kept of the old state may lie where something else is about to be written.
        rows = {n: t.clone() if _memory(t) in self._memory else t for n, t in found.items()}
        for name, own in rows.items():
            self._place(name, own)[part] = own

    def whole(self) -> Any:
        """The new state of all clients."""
        return with_leaves(self._like, self._rows)

    def _place(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """[clients, ...], where the rows of that name go: where the old ones are, if they fit."""
        if name not in self._rows:
            old = self._before.get(name)
            fits = (
                old is not None
                and (old.shape[1:], old.dtype) == (like.shape[1:], like.dtype)
                and old.is_contiguous()
                and self._memory[_memory(old)] == name
            )
            shape = self._num_clients, *like.shape[1:]
            self._rows[name] = old if old is not None and fits else like.new_empty(shape)
        return self._rows[name]


class HalfWay:
    """In place of a state that is partly that of before a round and partly that of after it.

    Raises:
        AlgorithmError: whenever somebody asks for what is in it.
    """

    def __init__(self, round: int, error: Exception) -> None:
        self._told = f"round {round} broke off half-way ({error}); go on from a checkpoint"

    def __getattr__(self, name: str) -> Any:
        raise AlgorithmError(self._told)


def _memory(rows: torch.Tensor) -> int:
    """Where it lies; views of one tensor lie in the same place."""
    return rows.untyped_storage().data_ptr()


def of_part(state: Any, part: slice) -> Any:
    """A part's rows of a state; views."""
    rows = {n: t[part] for n, t in leaves(state).items() if isinstance(t, torch.Tensor)}
    return with_leaves(state, rows)
