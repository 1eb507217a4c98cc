"""A snapshot: all that the clients carry from one round to the next, as arrays and numbers.

It knows nothing of actors: the snapshots of all blocks, joined, can be cut along any other borders.
Data cursors are in it as counters, since batches, augmentation and all else that is random are
functions of (seed, purpose, client, step).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from p2pqg.base.errors import AlgorithmError
from p2pqg.base.lazy import torch
from p2pqg.base.pieces import Array, Pieces, joined


@dataclass(frozen=True)
class Snapshot:
    """The clients between two rounds.

    Attributes:
        round: rounds done; step: batches drawn, the cursor of the data; exchanges: times that
            rows were mixed; gradients: that each client has computed; on_batch: those of them on
            the newest batch; most_on_batch: on any.
        rows: name -> [clients, ...]: the algorithm's state ("state.x"), batch-norm statistics
            ("buffers"), messages still on their way ("past.0.1.0"). Arrays; large ones may be
            `Pieces`, to be written at once, before the clients go on, or read as they are loaded.
        numbers: name -> what the algorithm's state counts, the same for every client.
        totals: name -> [blocks, ...], sums over the clients of each block: "bytes_sent", and
            "moved" [blocks, params], their part in how far mixing has moved the mean model.
        firsts: [blocks], the first client of each.
        timeline: where all clients stand that do not wait, see `engine.waves.timeline`.
        ways: [blocks], how each computes gradients, where that was chosen; see
            `models.stacked.choosing`.
        mail: messages on their way to them: "serial" [messages], and what each holds, "0", "1" ...
    """

    round: int
    step: int
    exchanges: int
    rows: Mapping[str, Any]
    numbers: Mapping[str, Any]
    totals: Mapping[str, np.ndarray]
    firsts: np.ndarray
    gradients: int = 0
    on_batch: int = 0
    most_on_batch: int = 0
    ways: tuple[str, ...] = ()
    timeline: Mapping[str, np.ndarray] = field(default_factory=dict)
    mail: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def num_clients(self) -> int:
        return len(next(iter(self.rows.values())))

    def whole(self) -> Snapshot:
        """This snapshot with all of its rows in memory."""
        return dataclasses.replace(self, rows={n: np.asarray(r) for n, r in self.rows.items()})

    @classmethod
    def join(cls, parts: Sequence[Snapshot]) -> Snapshot:
        """The snapshot of all clients, from those of all blocks, in order.

        Raises:
            AlgorithmError: what a user's algorithm counts in its state is not the same for all.
        """
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        for part, (name, number) in product(parts, first.numbers.items()):
            if repr(other := part.numbers.get(name)) != repr(number):  # NaN is itself
                raise AlgorithmError(
                    f"{name} is {number!r} for some clients and {other!r} for others; "
                    "what depends on them is a tensor [clients], a number is the same for all"
                )
        return dataclasses.replace(
            first,
            rows={name: joined([p.rows[name] for p in parts]) for name in first.rows},
            totals={name: np.concatenate([p.totals[name] for p in parts]) for name in first.totals},
            firsts=np.concatenate([p.firsts for p in parts]),
            ways=tuple(way for part in parts for way in part.ways),
            mail=_joined([p.mail for p in parts]),
        )

    def cut(self, first: int, last: int) -> Snapshot:
        """Clients first .. last - 1. The totals of a block go with its first client.

        So the sums over all stay what they are, and along the old borders every block gets its own.
        """
        here = (first <= self.firsts) & (self.firsts < last)
        return dataclasses.replace(
            self,
            rows={name: array[first:last] for name, array in self.rows.items()},
            totals={name: array[here] for name, array in self.totals.items()},
            firsts=self.firsts[here],
            ways=tuple(way for way, mine in zip(self.ways, here, strict=False) if mine),
        )


def loaded(rows: Array | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Rows of a snapshot on a device, as a copy; those in pieces one piece after the other."""
    if not isinstance(rows, Pieces):
        return rows if isinstance(rows, torch.Tensor) else torch.tensor(rows, device=device)
    dtype = torch.from_numpy(np.empty(0, rows.dtype)).dtype
    whole, done = torch.empty(rows.shape, dtype=dtype, device=device), 0
    for piece in rows:
        whole[done : done + len(piece)] = torch.from_numpy(piece)
        done += len(piece)
    return whole


def _joined(mails: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The mail of all blocks; some may have none."""
    some = [mail for mail in mails if len(mail.get("serial", ()))] or list(mails[:1])
    return {name: np.concatenate([mail[name] for mail in some]) for name in some[0]}


def leaves(state: Any, prefix: str = "state") -> dict[str, Any]:
    """Name -> tensor or number, of a state: a named tuple, a data class, or tuples of such.

    Raises:
        AlgorithmError: something else is in it, which could not be saved.
    """
    found: dict[str, Any] = {}
    for name, value in _parts(state):
        name = f"{prefix}.{name}"
        if isinstance(value, (torch.Tensor, int, float, str, type(None))):
            found[name] = value
        elif isinstance(value, tuple) or dataclasses.is_dataclass(value):
            found |= leaves(value, name)
        else:
            raise AlgorithmError(
                f"{name} is a {type(value).__name__}; a state is made of tensors [clients, ...] "
                "and numbers, so that it can be saved"
            )
    return found


def with_leaves(state: Any, values: Mapping[str, Any], prefix: str = "state") -> Any:
    """A state with other tensors and numbers; names it does not have are left alone.

    A number where the state has a tensor is that of every client: an older checkpoint counted so.
    """
    new = {}
    for name, value in _parts(state):
        path = f"{prefix}.{name}"
        nested = not isinstance(value, (torch.Tensor, int, float, str, type(None)))
        found = with_leaves(value, values, path) if nested else values.get(path, value)
        if isinstance(value, torch.Tensor) and isinstance(found, (int, float)):
            found = torch.full_like(value, found)
        new[name] = found
    if dataclasses.is_dataclass(state) and not isinstance(state, type):
        return dataclasses.replace(state, **new)
    return state._replace(**new) if hasattr(state, "_replace") else tuple(new.values())


def laid_out(state: Any) -> Any:
    """The same state, with each tensor row after row in memory, as it is where it is restored.

    How a tensor lies decides which kernels read it, and these differ in the last digit: a mean that
    is one row for all clients, or a transposed matrix.
    """
    other = {
        name: value.contiguous()
        for name, value in leaves(state).items()
        if isinstance(value, torch.Tensor) and not value.is_contiguous()
    }
    return with_leaves(state, other) if other else state


def _parts(state: Any) -> list[tuple[str, Any]]:
    if dataclasses.is_dataclass(state):
        return [(field.name, getattr(state, field.name)) for field in dataclasses.fields(state)]
    names = getattr(state, "_fields", map(str, range(len(state))))
    return list(zip(names, state, strict=True))
