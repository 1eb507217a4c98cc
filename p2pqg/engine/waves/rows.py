"""Some rows of tensors: taking them out, and putting them back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from p2pqg.base.errors import AlgorithmError
from p2pqg.engine.snapshot import leaves, loaded, with_leaves


class Table:
    """A tensor some of whose rows are written now and then.

    Attributes:
        tensor: [rows, ...]; written to in place.
    """

    def __init__(self, tensor: Tensor) -> None:
        """Begin with a tensor that nobody else has."""
        self.tensor = tensor
        as_array = tensor.device.type == "cpu" and tensor.dtype != torch.bfloat16
        self._array = tensor.numpy() if as_array else None  # a fifth of the time of index_copy_

    def take(self, rows: Tensor) -> Tensor:
        """Some rows; a copy."""
        return self.tensor.index_select(0, rows)

    def put(self, rows: Tensor, values: Tensor) -> None:
        """Write some rows, each at most once."""
        if self._array is not None:
            self._array[rows.numpy()] = values.numpy()
        else:
            self.tensor.index_copy_(0, rows, values)


class StateRows:
    """An algorithm's state, of which a step needs some rows only.

    Attributes:
        state: all rows; its tensors are written to in place.
        tables: name -> one of its tensors.
    """

    def __init__(self, state: Any, algorithm: str) -> None:
        """A copy of a state.

        Raises:
            AlgorithmError: something in it is the same for all clients.
        """
        found = leaves(state)
        for name, value in found.items():
            if not isinstance(value, Tensor):
                raise AlgorithmError(
                    f"{algorithm}: {name} is a number, but clients that do not wait count for "
                    "themselves; make it a tensor [clients, 1]"
                )
        self.tables = {name: Table(value.clone()) for name, value in found.items()}
        self.state = with_leaves(state, {name: t.tensor for name, t in self.tables.items()})
        flat = isinstance(state, tuple) and all(isinstance(part, Tensor) for part in state)
        self._make = getattr(type(state), "_make", None) if flat else None

    def take(self, rows: Tensor) -> Any:
        """The state of some clients; a copy."""
        some = [table.take(rows) for table in self.tables.values()]
        if self._make:
            return self._make(some)
        return with_leaves(self.state, dict(zip(self.tables, some, strict=True)))

    def put(self, rows: Tensor, new: Any, taken: Any) -> None:
        """Put back what a step made of what it was given; what it left as it was is there."""
        if self._make and type(new) is type(taken):
            parts = list(zip(self.tables.values(), new, taken, strict=True))
        else:
            before, after = leaves(taken), leaves(new)
            parts = [(table, after[name], before[name]) for name, table in self.tables.items()]
        for table, value, was in parts:
            if value is not was:
                table.put(rows, value)

    def load(self, rows: Mapping[str, Any]) -> None:
        """All rows, from those of a snapshot, of the same names."""
        for name, table in self.tables.items():
            table.tensor.copy_(loaded(rows[name], table.tensor.device))
