"""What the strategies for any network share: the network as a function of its parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from p2pqg.models.judging.losses import Objective
from p2pqg.models.stacked.layout import Layout, in_columns


@dataclass(eq=False)
class Strategy:
    """One of the strategies of `stacked.Stacked`.

    Attributes:
        train: the network as it learns; evaluate: as it is tested.
        params: where each parameter is in a row; buffers: where each statistic is.
        half: of 16 bits, the type that products are computed in; None: that of the rows.
        objective: what is to become small.
    """

    train: nn.Module
    evaluate: nn.Module
    params: Layout
    buffers: Layout
    half: torch.dtype | None
    objective: Objective

    def call(self, module: nn.Module, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """What a network gives with these parameters and statistics."""
        with torch.autocast(inputs.device.type, self.half, enabled=self.half is not None):
            return in_columns(functional_call(module, state, (inputs,)))
