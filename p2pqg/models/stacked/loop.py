"""Any network, one client after the other: on a CPU the fastest way for convolutions."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from p2pqg.base.draws import torch_keyed
from p2pqg.base.errors import P2pqgError, UserCodeError
from p2pqg.base.source import blamed
from p2pqg.models.stacked.lanes import Lanes
from p2pqg.models.stacked.strategy import Strategy


def channels_last(images: Tensor) -> Tensor:
    """The memory order that convolutions on a CPU are fastest in; other inputs as they are."""
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


@contextlib.contextmanager
def own_draws(key: int | None, device: torch.device) -> Iterator[None]:
    """Let dropout draw what belongs to `key`, and leave torch's global state as it was."""
    if key is None:
        yield
        return
    with torch_keyed(key, [device] if device.type == "cuda" else []):  # it takes no generator
        yield


def untracked(run: object) -> contextlib.AbstractContextManager[object]:
    """The mode in which a strategy answers without learning.

    A network that is called client by client may differentiate in its forward pass, by its inputs
    say, within `torch.enable_grad()`. Inference mode, the fastest, would not let it.
    """
    return torch.no_grad() if isinstance(run, Loop) else torch.inference_mode()


@dataclass(eq=False)
class Loop(Strategy):
    """Client by client.

    Attributes:
        lanes: streams for the clients of a GPU.
        channels_last: the memory order of images.
        random: the network draws numbers, perhaps in evaluation, too: the same for each client.
    """

    lanes: Lanes = field(default_factory=Lanes)
    channels_last: bool = True
    random: bool = False

    def gradients(
        self,
        x: Tensor,
        buffers: Tensor,
        inputs: Tensor,
        targets: Tensor,
        keys: Sequence[int] | None = None,
        scale: float = 1.0,
        clip: float = math.inf,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See `Stacked.gradients`; those of scale * loss."""
        if clip < math.inf:
            return self._clipped(x, buffers, inputs, targets, keys, scale, clip)
        losses, g = x.new_empty(len(x)), torch.empty_like(x)
        new_buffers = buffers.clone()  # BatchNorm updates its views of these rows in place
        with self.lanes.forked(x.device, len(x)) as lane:
            for client in range(len(x)):
                key = keys[client] if keys else None
                with lane(client):
                    losses[client] = self._of_client(
                        x[client],
                        new_buffers[client],
                        inputs[client],
                        targets[client],
                        key,
                        scale,
                        g[client],
                    )
        return losses, g, new_buffers

    def _of_client(
        self,
        row: Tensor,
        buffers: Tensor,
        inputs: Tensor,
        targets: Tensor,
        key: int | None,
        scale: float,
        g: Tensor,
    ) -> Tensor:
        """One client's loss; fills its gradient g [params], and changes its buffers."""
        weights = self._weights(row)
        # Views have one version together, and autograd would take a change of one for one of all.
        remembered = {name: view.data for name, view in self.buffers.views(buffers).items()}
        state = weights | remembered
        with own_draws(key, row.device):
            logits = self.call(self.train, state, inputs).to(row.dtype)
        loss = self.objective.mean(logits, targets)
        grads = _gradient(loss, list(weights.values()), scale)
        with torch.no_grad():  # torch 2.4's zeros of what is not used ask for gradients themselves
            torch.cat([grad.reshape(-1) for grad in grads], out=g)
        for name, view in remembered.items():
            if state[name] is not view:
                view.copy_(state[name].detach())
        return loss.detach()

    def _clipped(
        self,
        x: Tensor,
        buffers: Tensor,
        inputs: Tensor,
        targets: Tensor,
        keys: Sequence[int] | None,
        scale: float,
        clip: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sample by sample; nothing of a batch is made of more than one."""
        losses, g = x.new_zeros(len(x)), torch.zeros_like(x)
        batch = inputs.shape[1]
        for client in range(len(x)):
            weights = self._weights(x[client])
            state = weights | self.buffers.views(buffers[client])
            with own_draws(keys[client] if keys else None, x.device):
                for sample, target in zip(inputs[client], targets[client], strict=True):
                    logits = self.call(self.train, dict(state), sample[None]).to(x.dtype)
                    loss = self.objective.mean(logits, target[None])
                    grads = _gradient(loss, list(weights.values()), scale)
                    with torch.no_grad():
                        row = torch.cat([grad.reshape(-1) for grad in grads])
                        g[client] += row * (clip * scale / row.norm()).clamp(max=1)
                    losses[client] += loss.detach()
        return losses / batch, g / batch, buffers

    def logits(self, x: Tensor, buffers: Tensor, inputs: Tensor) -> Tensor:
        """[k, params], [k, buffers], [samples, ...] -> [k, classes, samples].

        Nothing stays of it, though a network may change its statistics here, too.
        """
        answers = []
        for row, own in zip(x, buffers.clone(), strict=True):
            state = self._weights(row) | self.buffers.views(own)
            with own_draws(0 if self.random else None, x.device):
                answers.append(self.call(self.evaluate, state, inputs).to(x.dtype).T.detach())
        return torch.stack(answers)

    def _weights(self, row: Tensor) -> dict[str, Tensor]:
        """Name -> parameter; as a module's own they ask for gradients, in evaluation, too."""
        return {n: view.requires_grad_() for n, view in self.params.views(row.detach()).items()}

    def call(self, module: nn.Module, state: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """As that of `Strategy`; UserCodeError where a user's network fails on a later batch."""
        inputs = channels_last(inputs) if self.channels_last else inputs
        try:
            return super().call(module, state, inputs)
        except (P2pqgError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if type(module).__module__.startswith("p2pqg."):
                raise
            raise UserCodeError(blamed(error, f"model {type(module).__name__}")) from error


def _gradient(loss: Tensor, weights: list[Tensor], scale: float) -> tuple[Tensor, ...]:
    """The gradient of scale * loss; 0 for parts that a pretrained network does not use.

    To compare shapes with those of a factor that it is given, torch imports SymPy: 0.4 s and
    40 MB of every actor. It makes a factor 1 by itself.
    """
    factor = None if scale == 1.0 else torch.full_like(loss, scale)
    return torch.autograd.grad(loss, weights, factor, materialize_grads=True)
