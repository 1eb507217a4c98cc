"""Gradients in float16: the loss is scaled up for the way back, the gradient down again.

float16 ends at 65504 and at 6e-8. Derivatives by activations are often smaller and would be lost,
so all of them are computed at a scale; where they grow out of range instead, the client's gradient
is not finite, and it alone is computed again at the next smaller scale. Each step begins at the
largest: nothing is remembered, so neither the clients of a block nor a restart change the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

Gradients = Callable[..., tuple[Tensor, Tensor, Tensor]]
"""The gradients of a strategy: its arguments and results are those of `Stacked.gradients`."""

SCALES = (2.0**16, 2.0**12, 2.0**8, 2.0**4, 1.0)
"""Powers of two: in float32, where scales are taken out again, they cost no digit."""


def scaled(
    gradients: Gradients,
    x: Tensor,
    buffers: Tensor,
    inputs: Tensor,
    targets: Tensor,
    **keys: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor]:
    """A strategy's gradients, at the largest scale that each client's are finite at.

    Args:
        gradients: of a strategy, which takes these arguments and a `scale` of the loss.
        x: [k, params]; this and the others as of `Stacked.gradients`.
        buffers: [k, buffers].
        inputs: [k, batch, ...].
        targets: [k, batch].
        keys: keys=[k], where the network draws numbers.

    Returns:
        losses [k], gradients [k, params], buffers after the step [k, buffers]. A client whose
        loss is not finite has diverged: no scale will help it.
    """
    losses, g, new_buffers = gradients(x, buffers, inputs, targets, scale=SCALES[0], **keys)
    g /= SCALES[0]
    for scale in SCALES[1:]:
        # A sum is finite only if all that it adds up is.
        again = (losses.isfinite() & ~g.sum(1).isfinite()).nonzero().squeeze(1)
        if len(again) == 0:
            break
        rows = (t[again] for t in (x, buffers, inputs, targets))
        _, smaller, _ = gradients(*rows, scale=scale, **_of(again, keys))
        g[again] = smaller / scale
    return losses, g, new_buffers


def _of(clients: Tensor, keys: dict[str, Any]) -> dict[str, Any]:
    return {name: [of_all[i] for i in clients.tolist()] for name, of_all in keys.items()}
