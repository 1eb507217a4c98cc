"""Steps that are captured once and replayed: what a recording is, and a rehearsal of one.

A captured step has its inputs and outputs in memory that never moves. A replay copies the inputs
there, does the same work again, and leaves the results in the same place: they hold until the next
replay, so whoever keeps them copies them. `cuda_graphs.py` does it on a GPU, where a replay is one
launch instead of a thousand. A rehearsal keeps the same rules without a graph, on any device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

Step = Callable[..., tuple[Tensor, ...]]
"""Tensors to tensors: no draws, no look at values, the same kernels every time."""


class Recording(ABC):
    """One step at one shape.

    Attributes:
        inputs: where the step reads; outputs: where it leaves its results.
    """

    outputs: tuple[Tensor, ...]

    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        self.inputs = tuple(torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in inputs)
        self._fill(inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The step's results for these inputs, which hold until the next call.

        Inputs of fewer rows than it was captured with are those of its first ones; what it comes to
        for the others is of no use.
        """
        self._fill(inputs)
        self._replay()
        return self.outputs

    def _fill(self, inputs: tuple[Tensor, ...]) -> None:
        for own, given in zip(self.inputs, inputs, strict=True):
            own[: len(given)].copy_(given)

    @abstractmethod
    def _replay(self) -> None:
        """The work itself."""


class Recorder(ABC):
    """Makes recordings; those of one recorder are never replayed at the same time."""

    what: str
    """A word for what it makes."""

    @abstractmethod
    def record(self, step: Step, *inputs: Tensor) -> Recording:
        """Capture a step at the shapes of these inputs.

        Raises:
            Exception: the step cannot be captured. On a GPU the process is of no use any more.
        """


class Rehearsal(Recorder):
    """Without a graph: the step runs anew at each replay, on the inputs that were copied.

    Results of the replay before are spoilt first, so that who kept them sees it.
    """

    what = "rehearsal"

    def record(self, step: Step, *inputs: Tensor) -> Recording:
        """See `Recorder.record`; here whatever the step itself raises."""
        return _Rehearsed(step, inputs)


class _Rehearsed(Recording):
    def __init__(self, step: Step, inputs: tuple[Tensor, ...]) -> None:
        super().__init__(inputs)
        self._step = step
        self.outputs = tuple(t.clone() for t in step(*self.inputs))

    def _replay(self) -> None:
        for own in self.outputs:
            own.fill_(torch.nan)
        for own, new in zip(self.outputs, self._step(*self.inputs), strict=True):
            own.copy_(new)
