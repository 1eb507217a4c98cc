"""Parameters that stay with their client: what a round sends goes without them.

To them the network is one of clients that never hear of each other (W = I): whatever is mixed comes
back as it was sent. All else is the algorithm's own, which need not know.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.algorithms.effects import AllReduce, Effect, Exchange, Gossip, led
from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.uploading import uploaded


@dataclass(frozen=True, eq=False)
class Personal:
    """Leads rounds.

    Attributes:
        columns: [params], bool: those that stay.
    """

    columns: np.ndarray

    def shared(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., params] -> [..., shared]; what is no row of parameters stays as it is."""
        if rows.shape[-1] != len(self.columns):
            return rows
        return rows.index_select(-1, self._places(rows.device))

    def lead(self, call: Generator[Effect, Any, Any]) -> Generator[Effect, Any, Any]:
        """One round of an algorithm, what it sends without what stays.

        Raises:
            ConfigError: it sends something else than rows to be averaged.
        """
        return led(call, self._answer)

    def _answer(self, effect: Effect) -> Generator[Effect, Any, Any]:
        if isinstance(effect, Exchange) or getattr(effect, "message_bytes", None) is not None:
            raise ConfigError(
                "personal does not go with this algorithm, which sends messages of its own "
                "instead of rows to be averaged; take another, such as dsgdm-n, or leave it out"
            )
        if not isinstance(effect, Gossip | AllReduce):
            return (yield effect)
        slim = tuple(map(self.shared, effect.tensors))
        mixed = yield dataclasses.replace(effect, tensors=slim)
        back = mixed if isinstance(mixed, tuple) else (mixed,)
        whole = tuple(map(self._whole, effect.tensors, back))
        return whole if isinstance(mixed, tuple) else whole[0]

    def _whole(self, sent: torch.Tensor, mixed: torch.Tensor) -> torch.Tensor:
        if sent.shape[-1] != len(self.columns):
            return mixed
        return sent.index_copy(-1, self._places(sent.device), mixed)

    def mask(self, width: int, device: torch.device) -> torch.Tensor | None:
        """Columns that stay, bool [params]; None for rows that are not as wide as the model."""
        if width != len(self.columns):
            return None
        return uploaded(torch.from_numpy(self.columns), device)

    def _places(self, device: torch.device) -> torch.Tensor:
        """int64 [shared]: the columns that are sent; kept."""
        found = self.__dict__.get("_kept")
        if found is None or found.device != device:
            found = uploaded(torch.from_numpy(np.flatnonzero(~self.columns)), device)
            self.__dict__["_kept"] = found
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"columns": self.columns}  # what is kept belongs to one process
