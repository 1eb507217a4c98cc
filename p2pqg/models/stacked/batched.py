"""Dense networks, all clients in one batched matrix product; the gradient is written by hand.

Layer l of client c computes h_l = relu(W_l h_{l-1} + b_l), and the loss is the mean over the batch
of -log softmax(h_L)[target]. With d_l the derivative of the loss by what relu is applied to,
    d_L   = (softmax - onehot) / batch     (of another loss: what autograd makes of it)
    d_l   = (W_{l+1}^T d_{l+1}) where h_l > 0
    dW_l  = d_l h_{l-1}^T,  db_l = sum of d_l over the batch.
Activations are [clients, features, batch]: with the batch innermost, the few classes of the softmax
and of the last layer cost a third of what they cost in PyTorch's usual order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from p2pqg.models.judging.losses import Objective

# Clients in one pass on a CPU, per thread: few enough that what they need stays in the cache.
CLIENTS_PER_THREAD = 32


def clients_per_product() -> int:
    """Clients in one pass on a CPU, with the threads of this process."""
    return CLIENTS_PER_THREAD * torch.get_num_threads()


class _Layer(NamedTuple):
    """Columns of one linear layer in a row of parameters."""

    start: int
    inputs: int
    outputs: int
    bias: bool
    relu: bool

    def weight(self, rows: Tensor) -> Tensor:
        """[clients, params] -> view [clients, outputs, inputs]."""
        stop = self.start + self.outputs * self.inputs
        return rows[:, self.start : stop].view(-1, self.outputs, self.inputs)

    def bias_of(self, rows: Tensor) -> Tensor:
        """[clients, params] -> view [clients, outputs]."""
        start = self.start + self.outputs * self.inputs
        return rows[:, start : start + self.outputs]


def dense_layers(module: nn.Module) -> list[_Layer]:
    """The layers of a Sequential of Flatten, Linear and ReLU; empty if it is anything else."""
    if not isinstance(module, nn.Sequential):
        return []
    layers: list[_Layer] = []
    start = 0
    for position, part in enumerate(module):
        if type(part) is nn.Linear:
            layer = _Layer(start, part.in_features, part.out_features, part.bias is not None, False)
            layers.append(layer)
            start += sum(p.numel() for p in part.parameters())
        elif type(part) is nn.ReLU and layers:
            layers[-1] = layers[-1]._replace(relu=True)
        elif not (type(part) is nn.Flatten and part.start_dim == 1 and position == 0):
            return []
    return layers if layers and not layers[-1].relu else []


@dataclass(eq=False)
class Batched:
    """See the module; one of the strategies of `stacked.Stacked`."""

    layers: list[_Layer]
    half: torch.dtype | None
    objective: Objective

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
        losses, g = x.new_empty(len(x)), torch.empty_like(x)
        at_once = len(x) if x.is_cuda else clients_per_product()
        for start in range(0, len(x), at_once):
            rows = slice(start, start + at_once)
            self._backward(x[rows], inputs[rows], targets[rows], scale, clip, losses[rows], g[rows])
        return losses, g, buffers

    def logits(self, x: Tensor, buffers: Tensor, inputs: Tensor) -> Tensor:
        """[k, params], -, [samples, ...] -> [k, classes, samples]."""
        rows = self._compute(x)
        h = self._compute(inputs).flatten(1).T.expand(len(x), -1, -1)
        return self._forward(rows, h)[-1].to(x.dtype)

    def _compute(self, tensor: Tensor) -> Tensor:
        return tensor if self.half is None else tensor.to(self.half)

    def _forward(self, rows: Tensor, h: Tensor) -> list[Tensor]:
        """What every layer receives, and the logits at the end."""
        activations = [h]
        for layer in self.layers:
            h = torch.bmm(layer.weight(rows), h)
            if layer.bias:
                h += layer.bias_of(rows).unsqueeze(2)
            if layer.relu:
                h.relu_()
            activations.append(h)
        return activations

    def _backward(
        self,
        x: Tensor,
        inputs: Tensor,
        targets: Tensor,
        scale: float,
        clip: float,
        losses: Tensor,
        g: Tensor,
    ) -> None:
        """Fills losses [k] and g [k, params]."""
        rows = self._compute(x)
        h = self._compute(inputs).flatten(2).transpose(1, 2)
        *received, logits = self._forward(rows, h)

        if self.objective.is_cross_entropy:
            target = targets.unsqueeze(1)  # [k, 1, batch]
            log_softmax = torch.log_softmax(logits.to(x.dtype), 1)
            torch.mean(log_softmax.gather(1, target), (1, 2), out=losses).neg_()
            minus_one = x.new_full((), -1.0).expand_as(target)
            d = log_softmax.exp_().scatter_add_(1, target, minus_one)
        else:
            d = self._derivative(logits.to(x.dtype), targets, losses)
        d = self._compute(d.div_(targets.shape[1] / scale))
        if clip < math.inf:  # what comes of a sample's d is scaled like it
            lengths = self._lengths(rows, received, d, x.dtype)
            d = d * (clip * scale / targets.shape[1] / lengths).clamp(max=1).to(d.dtype)

        for position in reversed(range(len(self.layers))):
            layer, h = self.layers[position], received[position]
            # Written straight into rows of g, the product would not use the batched kernel.
            layer.weight(g).copy_(torch.bmm(d, h.transpose(1, 2)))
            if layer.bias:
                torch.sum(d, 2, dtype=g.dtype, out=layer.bias_of(g))
            if position > 0:
                d = self._before(position, rows, h, d)

    def _before(self, position: int, rows: Tensor, h: Tensor, d: Tensor) -> Tensor:
        """The derivative by what the layer before puts out, from that by what this one does."""
        d = torch.bmm(self.layers[position].weight(rows).transpose(1, 2), d)
        if self.layers[position - 1].relu:
            d = torch.ops.aten.threshold_backward(d, h, 0)
        return d

    def _lengths(
        self, rows: Tensor, received: list[Tensor], d: Tensor, dtype: torch.dtype
    ) -> Tensor:
        """Of each sample's gradient, [k, 1, batch], without making it: |d h^T| = |d| |h|.

        Source: Goodfellow, arXiv:1510.01799.
        """
        squares = torch.zeros_like(d[:, :1], dtype=dtype)
        for position in reversed(range(len(self.layers))):
            h = received[position]
            wide = h.to(dtype).square().sum(1, keepdim=True) + self.layers[position].bias
            squares += d.to(dtype).square().sum(1, keepdim=True) * wide
            if position > 0:
                d = self._before(position, rows, h, d)
        return squares.sqrt()

    def _derivative(self, logits: Tensor, targets: Tensor, losses: Tensor) -> Tensor:
        """Of the sum over the batch by the logits, [k, outputs, batch]; fills losses [k].

        Samples of all clients are judged at once, so the loss of one may not depend on another.
        """
        outputs = logits.transpose(1, 2).detach().requires_grad_()
        with torch.enable_grad():
            each = self.objective.each(outputs.flatten(0, 1), targets.flatten(0, 1))
        losses.copy_(each.detach().view(len(logits), -1).mean(1))
        (d,) = torch.autograd.grad(each.sum(), outputs)
        return d.transpose(1, 2).contiguous()
