"""Any network, all clients in one vectorised call: on a GPU the fastest way.

Convolutions with weights of their own per client become grouped convolutions.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import grad, grad_and_value, vmap

from p2pqg.models.stacked.strategy import Strategy

GRADIENT_BYTES = 2**28
"""What samples' own gradients may take at once."""


@dataclass(eq=False)
class Vmap(Strategy):
    """All clients at once, or so many of them that no more samples go in at once.

    Attributes:
        channels_last: images are laid out so that, once the clients' channels stand side by side
            for a grouped convolution, channels come last.
    """

    samples_at_once: int
    channels_last: bool = False

    def __post_init__(self) -> None:
        if self.half is None:
            return
        for part in (*self.train.modules(), *self.evaluate.modules()):
            if isinstance(part, nn.modules.batchnorm._NormBase):
                _compute_in_float32(part)

    def gradients(
        self,
        x: Tensor,
        buffers: Tensor,
        inputs: Tensor,
        targets: Tensor,
        scale: float = 1.0,
        clip: float = math.inf,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Stacked.gradients`; those of scale * loss."""
        if clip < math.inf:
            return self._clipped(x, buffers, inputs, targets, scale, clip)
        if self.channels_last and inputs.dim() == 5:
            inputs = _side_by_side(inputs)
        chunk = max(1, self.samples_at_once // inputs.shape[1])
        chunks = zip(*(rows.split(chunk) for rows in (x, buffers, inputs, targets)), strict=True)
        losses, g, new_buffers = zip(
            *(self._of_chunk(scale, *rows) for rows in chunks), strict=True
        )
        return _joined(losses), _joined(g), _joined(new_buffers)

    def _of_chunk(
        self, scale: float, x: Tensor, buffers: Tensor, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """That of some clients.

        None knows of another: the gradient of the sum of their losses is that of each in its row.
        torch.func.grad gives the same, is slower, and imports torch's compiler: 1.5 s a process.
        But autocast sees within it what layers call (conv2d, group_norm), and within vmap alone
        what these come down to, of which it leaves some in float32 and others in half precision.
        So answers are given within it, too.
        """
        if self.half is not None:
            own = grad_and_value(partial(self._loss, scale), has_aux=True)
            g, (_, (losses, new_buffers)) = vmap(own, randomness="different")(
                x, buffers, inputs, targets
            )
            return losses, g, new_buffers
        x = x.detach().requires_grad_()
        step = vmap(partial(self._loss, scale), randomness="different")
        scaled, (losses, new_buffers) = step(x, buffers, inputs, targets)
        (g,) = torch.autograd.grad(scaled.sum(), x)
        return losses.detach(), g, new_buffers.detach()

    def _clipped(
        self,
        x: Tensor,
        buffers: Tensor,
        inputs: Tensor,
        targets: Tensor,
        scale: float,
        clip: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Vectorised over the samples, too: each has a gradient of its own."""
        of_sample = vmap(
            grad_and_value(partial(self._loss, scale), has_aux=True), (None, None, 0, 0)
        )

        def of_client(
            row: Tensor, own: Tensor, samples: Tensor, aims: Tensor
        ) -> tuple[Tensor, Tensor]:
            g, (_, (losses, _)) = of_sample(row, own, samples[:, None], aims[:, None])
            shrunk = (clip * scale / g.norm(dim=1)).clamp(max=1)
            return losses.mean(), shrunk @ g / len(samples)

        at_once = max(1, GRADIENT_BYTES // max(1, x[:1].nbytes * inputs.shape[1]))
        losses, g = vmap(of_client, chunk_size=at_once)(x, buffers, inputs, targets)
        return losses, g, buffers

    def logits(self, x: Tensor, buffers: Tensor, inputs: Tensor) -> Tensor:
        """[k, params], [k, buffers], [samples, ...] -> [k, classes, samples]."""

        def of_client(row: Tensor, own: Tensor) -> Tensor:
            state = self.params.views(row) | self.buffers.views(own.clone())
            return self.call(self.evaluate, state, inputs).to(row.dtype).T

        def within_grad(row: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                return row.sum(), of_client(row, own)

        def in_half(row: Tensor, own: Tensor) -> Tensor:
            found: Tensor = grad(within_grad, has_aux=True)(row, own)[1]
            return found

        each = of_client if self.half is None else in_half  # see `_of_chunk`
        chunk = max(1, self.samples_at_once // len(inputs))
        return vmap(each, chunk_size=chunk)(x, buffers)

    def _loss(
        self, scale: float, row: Tensor, buffers: Tensor, inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One client's loss, scaled; the loss itself, and its buffers after the step."""
        # BatchNorm updates its running statistics in place: on copies, to keep this function pure.
        own = {name: view.clone() for name, view in self.buffers.views(buffers).items()}
        state = self.params.views(row) | own
        logits = self.call(self.train, state, inputs).to(row.dtype)
        loss = self.objective.mean(logits, targets)
        return scale * loss, (loss, self.buffers.row(state) if own else buffers)


def _compute_in_float32(norm: nn.Module) -> None:
    """Under vmap, BatchNorm does not take inputs of another type than its statistics."""
    # A module that refers to itself would stay until garbage is collected: hence the proxy.
    itself, forward = weakref.proxy(norm), type(norm).forward
    norm.forward = lambda x: forward(itself, x.float()).to(x.dtype)


def _joined(chunks: tuple[Tensor, ...]) -> Tensor:
    """Below each other; nothing is copied where there is one."""
    return torch.cat(chunks) if len(chunks) > 1 else chunks[0]


def _side_by_side(images: Tensor) -> Tensor:
    """[k, batch, channels, height, width], as it is; in memory batch, height, width, k, channels.

    Seen as [batch, k channels, height, width], which vmap makes of it, that is channels last.
    """
    return images.permute(1, 3, 4, 0, 2).contiguous().permute(3, 0, 4, 1, 2)
