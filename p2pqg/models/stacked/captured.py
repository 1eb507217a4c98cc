"""A strategy whose steps are replayed where they were captured, and run as they are elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from p2pqg.models.stacked.batched import Batched
from p2pqg.models.stacked.loop import Loop, untracked
from p2pqg.models.stacked.recording import Recorder, Recording
from p2pqg.models.stacked.vmap import Vmap

Run = Batched | Loop | Vmap
"""A strategy; all take the same arguments."""

Args = tuple[Tensor, Tensor, Tensor, Tensor]
"""Rows, buffers, inputs and targets, as of `Stacked.gradients`."""

Results = tuple[Tensor, Tensor, Tensor]
"""Losses, gradients and buffers."""


class Captured:
    """Replays the steps of a strategy; of shapes that nobody captured, another one takes care.

    A step of fewer clients than one that was captured takes the first places in it: on a card a
    replay with idle places is over before an eager step of a few clients is launched. What becomes
    of a step depends on shapes alone, so the same run repeats its bits.

    Args:
        run: whose steps are captured.
        plain: does the others.
        recorder: makes the recordings.
        part: clients in one recording, at most; bounds the memory. 0: all.
    """

    def __init__(self, run: Run, plain: Run, recorder: Recorder, part: int = 0) -> None:
        self.run, self.plain, self.recorder, self.part = run, plain, recorder, part
        self._gradients: dict[tuple[object, ...], dict[int, Recording]] = {}  # by their clients
        self._logits: dict[tuple[object, ...], Recording] = {}

    def capture_gradients(
        self, x: Tensor, buffers: Tensor, inputs: Tensor, targets: Tensor, scale: float = 1.0
    ) -> None:
        """Capture what `gradients` of such arguments takes; what is in them does not matter.

        Raises:
            Exception: see `Recorder.record`.
        """

        def step(x: Tensor, buffers: Tensor, inputs: Tensor, targets: Tensor) -> Results:
            return self.run.gradients(x, buffers, inputs, targets, scale=scale)

        for rows in self._parts(len(x)):
            args = x[rows], buffers[rows], inputs[rows], targets[rows]
            by_clients = self._gradients.setdefault(_key(scale, args), {})
            if len(args[0]) not in by_clients:
                by_clients[len(args[0])] = self.recorder.record(step, *args)

    def capture_logits(self, x: Tensor, buffers: Tensor, *tests: Tensor) -> None:
        """The same for `logits`, of these clients and of a single model, on each of these inputs.

        Args:
            x: [k, params].
            buffers: [k, buffers].
            tests: [samples, ...] each.
        """

        def step(x: Tensor, buffers: Tensor, inputs: Tensor) -> tuple[Tensor, ...]:
            return (self.run.logits(x, buffers, inputs),)

        for rows in (slice(len(x)), slice(1)):
            for inputs in tests:
                key = len(x[rows]), tuple(inputs.shape), inputs.dtype
                if key not in self._logits:
                    with untracked(self.run):
                        recording = self.recorder.record(step, x[rows], buffers[rows], inputs)
                    self._logits[key] = recording

    def gradients(
        self, x: Tensor, buffers: Tensor, inputs: Tensor, targets: Tensor, scale: float = 1.0
    ) -> Results:
        """See `Stacked.gradients`; those of scale * loss."""
        losses, g, after = x.new_empty(len(x)), torch.empty_like(x), torch.empty_like(buffers)
        for rows in self._parts(len(x)):
            args = x[rows], buffers[rows], inputs[rows], targets[rows]
            recording = self._with_room(len(args[0]), scale, args)
            found = recording(*args) if recording else self.plain.gradients(*args, scale=scale)
            for whole, piece in zip((losses, g, after), found, strict=True):
                whole[rows] = piece[: len(args[0])]
        return losses, g, after

    def _with_room(self, clients: int, scale: float, args: Args) -> Recording | None:
        """The smallest recording that has places for so many clients."""
        by_clients = self._gradients.get(_key(scale, args), {})
        enough = [n for n in by_clients if n >= clients]
        return by_clients[min(enough)] if enough else None

    def logits(self, x: Tensor, buffers: Tensor, inputs: Tensor) -> Tensor:
        """[k, params], [k, buffers], [samples, ...] -> [k, classes, samples]."""
        recording = self._logits.get((len(x), tuple(inputs.shape), inputs.dtype))
        if recording is None:
            return self.plain.logits(x, buffers, inputs)
        return recording(x, buffers, inputs)[0].clone()

    def _parts(self, k: int) -> Iterator[slice]:
        length = self.part or max(k, 1)
        return (slice(first, min(first + length, k)) for first in range(0, k, length))


def _key(scale: float, args: Args) -> tuple[object, ...]:
    """What steps have in common that differ in their number of clients only."""
    return scale, *((tuple(t.shape[1:]), t.dtype) for t in args)
