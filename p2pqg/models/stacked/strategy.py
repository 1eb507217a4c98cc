"""What the strategies for any network share: the network as a function of its parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from p2pqg.base.errors import UserCodeError
from p2pqg.models.judging.answers import Answer, in_columns
from p2pqg.models.judging.losses import Objective
from p2pqg.models.stacked.layout import Layout
from p2pqg.models.stacked.promises import attention_repeats


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
        """What a network gives with these parameters and statistics.

        Args:
            module: `train` or `evaluate`.
            state: name -> tensor; has the network's new statistics afterwards, where it put others
                in their place, as in `self.mean = 0.9 * self.mean + 0.1 * x.mean(0)`.
            inputs: [batch, ...].

        Raises:
            UserCodeError: it returned something else than a row for each sample.
        """
        for name in self._pairs:
            state[name] = state[name].clone()
        for name, first in self._twice:
            state[name] = state[first]
        if getattr(module, "writes_into_inputs", False):
            inputs = inputs.clone()  # all clients are tested on the same
        half = torch.autocast(inputs.device.type, self.half, enabled=self.half is not None)
        with half, attention_repeats(inputs.device):
            # The default makes a state of its own, and what is put in there is lost.
            outputs: Any = functional_call(module, state, (inputs,), tie_weights=False)
        if self.objective.answers and Answer.of(outputs):
            outputs = in_columns(outputs)
        if not isinstance(outputs, Tensor) or outputs.shape[:1] != inputs.shape[:1]:
            got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            mode = "training" if module.training else "evaluation"
            raise UserCodeError(
                f"model {type(module).__name__}, in {mode}: must return a tensor with a row for "
                f"each of {len(inputs)} samples, got {got}"
            )
        return in_columns(outputs)

    @cached_property
    def _pairs(self) -> list[str]:
        """Names of what may be complex numbers, of which `torch.view_as_complex` is to be taken.

        It takes none that begin at an odd place, as some do in a row.
        """
        return [*self.params.in_pairs, *self.buffers.in_pairs]

    @cached_property
    def _twice(self) -> list[tuple[str, str]]:
        """(name, first name) of tensors of a row that have several."""
        return list(_other_names(self.train, {*self.params.names, *self.buffers.names}))


def _other_names(module: nn.Module, wanted: set[str]) -> Iterator[tuple[str, str]]:
    firsts: dict[int, str] = {}
    every = chain(
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )
    for name, tensor in every:
        first = firsts.setdefault(id(tensor), name)
        if first != name and first in wanted:
            yield name, first
