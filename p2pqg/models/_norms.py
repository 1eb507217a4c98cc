"""What stands where a ResNet normalises: BatchNorm, GroupNorm, EvoNorm-S0.

A residual block normalises in two kinds of places, and EvoNorm-S0, which is a norm and an
activation in one, fits only the first:
    active   before a nonlinearity: after the stem and after a block's first convolution
    plain    before the addition: after a block's last convolution and in its shortcut

    name                active               plain
    bn                  BatchNorm, ReLU      BatchNorm
    gn                  GroupNorm(2), ReLU   GroupNorm(2)
    evonorm             EvoNorm-S0           GroupNorm(2)
    evonorm-published   the same, with the learnable v of its article
    evonorm-official    EvoNorm-S0           BatchNorm on batch statistics, in evaluation too

All have two parameters per channel in each place, v comes on top. The last row is what the code of
the QG paper does: its "EvoNorm" networks are not free of batch statistics, so their test accuracy
depends on how the test set is cut into batches. Ours, `evonorm`, is: it takes the paper's own
GroupNorm in the plain places (EvoNorm-S0 there would add a nonlinearity before the addition).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _at_least_float32(x: Tensor) -> Tensor:
    """Sums over an image in 16 bits lose digits, and on a CPU they are slower than in float32."""
    return x.float() if x.itemsize < 4 else x


class GroupNorm(nn.GroupNorm):
    """nn.GroupNorm that computes in float32 where its input has 16 bits."""

    def forward(self, x: Tensor) -> Tensor:
        """[batch, C, height, width] -> the same shape."""
        # The kernel sums 16 bits in float32 by itself; its derivative on a CPU is slow at it.
        wide = _at_least_float32(x) if torch.is_grad_enabled() else x
        y = F.group_norm(wide, self.num_groups, self.weight, self.bias, self.eps)
        return y.to(x.dtype)


class _InverseStd(torch.autograd.Function):
    """1 / sqrt(variance + eps) of each channel group, [batch, groups].

    By hand: Tensor.var and its derivative made a ResNet-20 step a third longer.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, groups: int, unbiased: bool, eps: float) -> tuple[Tensor, Tensor]:
        batch, channels, height, width = x.shape
        n = channels // groups * height * width
        if x.is_cuda:
            x = x.contiguous()  # that kernel takes no other order, such as channels last
        # The kernel knows the population variance only: v n / (n - 1) + eps = (v + eps r) / r.
        r = (n - 1) / n if unbiased else 1.0
        _, mean, inverse = torch.native_group_norm(
            x, None, None, batch, channels, height * width, groups, eps * r
        )
        return inverse * r**0.5, mean

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, ctx.groups, ctx.unbiased, _eps = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(x, *output)

    @staticmethod
    def backward(ctx: Any, d: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        x, inverse, mean = ctx.saved_tensors
        size = x.shape[1] // ctx.groups
        n = size * x.shape[2] * x.shape[3]
        # d inverse / dx = -inverse^3 / 2 * 2 (x - mean) / (n or n - 1)
        slope = -d * inverse**3 / (n - ctx.unbiased)
        dx = torch.addcmul(_per_channel(-slope * mean, size), x, _per_channel(slope, size))
        return dx, None, None, None


def _per_channel(of_group: Tensor, size: int) -> Tensor:
    """[batch, groups] -> [batch, channels, 1, 1]."""
    return of_group.repeat_interleave(size, 1)[:, :, None, None]


class EvoNormS0(nn.Module):
    """EvoNorm-S0: x * sigmoid(v x) / std of x's channel group, times weight, plus bias.

    Args:
        channels: C; a multiple of 32 if above 32, for there are min(32, C) groups.
        published: as in the article: learnable v per channel, population variance. Otherwise as in
            the QG paper's code: v = 1, and the variance divides by n - 1.

    Source: Liu, Brock, Simonyan, Le, NeurIPS 2020, arXiv:2004.02967.
    """

    def __init__(self, channels: int, published: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups = min(32, channels)
        self.published = published
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))
        self.v = nn.Parameter(torch.empty(channels)) if published else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0, v 1."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)
        if self.v is not None:
            nn.init.ones_(self.v)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, C, height, width] -> the same shape."""
        wide = _at_least_float32(x)
        inverse, _ = _InverseStd.apply(wide, self.groups, not self.published, self.eps)
        scale = _per_channel(inverse, x.shape[1] // self.groups) * self.weight[:, None, None]
        if self.v is None:
            swish = F.silu(wide)
        else:
            swish = wide * torch.sigmoid(self.v[:, None, None] * wide)
        return (swish * scale + self.bias[:, None, None]).to(x.dtype)


class Norms(NamedTuple):
    """Channels -> module, for the two kinds of places."""

    active: Callable[[int], nn.Module]
    plain: Callable[[int], nn.Module]


def _group_norm(channels: int) -> GroupNorm:
    return GroupNorm(2, channels)


def _batch_statistics(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)


def _then_relu(norm: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda channels: nn.Sequential(norm(channels), nn.ReLU(inplace=True))


NORMS = {
    "bn": Norms(active=_then_relu(nn.BatchNorm2d), plain=nn.BatchNorm2d),
    "gn": Norms(active=_then_relu(_group_norm), plain=_group_norm),
    "evonorm": Norms(active=EvoNormS0, plain=_group_norm),
    "evonorm-published": Norms(active=partial(EvoNormS0, published=True), plain=_group_norm),
    "evonorm-official": Norms(active=EvoNormS0, plain=_batch_statistics),
}
