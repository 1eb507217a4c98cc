"""What stands where a ResNet normalises: BatchNorm, GroupNorm, EvoNorm-S0.

A residual block normalises in two kinds of places, and EvoNorm-S0, which is a norm and an
activation in one, fits only the first:
    active   before a nonlinearity: after the stem and after a block's first convolution
    plain    before the addition: after a block's last convolution and in its shortcut

    name                active               plain
    bn                  BatchNorm, ReLU      BatchNorm
    gn                  GroupNorm(2), ReLU   GroupNorm(2)
    evonorm             EvoNorm-S0           GroupNorm(2)
    evonorm-official    EvoNorm-S0           BatchNorm on batch statistics, in evaluation too

All four have two parameters per channel in each place. The last row is what the code of the QG
paper does: its "EvoNorm" networks are not free of batch statistics, so their test accuracy depends
on how the test set is cut into batches. Ours, `evonorm`, is: it takes the paper's own GroupNorm in
the plain places (EvoNorm-S0 there would add a nonlinearity before the addition).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        swish = F.silu(x) if self.v is None else x * torch.sigmoid(self.v[:, None, None] * x)
        grouped = x.unflatten(1, (self.groups, -1))
        variance = grouped.var((2, 3, 4), unbiased=not self.published)  # [batch, groups]
        scale = (variance + self.eps).rsqrt().repeat_interleave(x.shape[1] // self.groups, 1)
        return swish * (scale * self.weight)[:, :, None, None] + self.bias[:, None, None]


class Norms(NamedTuple):
    """Channels -> module, for the two kinds of places."""

    active: Callable[[int], nn.Module]
    plain: Callable[[int], nn.Module]


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(2, channels)


def _batch_statistics(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, track_running_stats=False)


def _then_relu(norm: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda channels: nn.Sequential(norm(channels), nn.ReLU(inplace=True))


NORMS = {
    "bn": Norms(active=_then_relu(nn.BatchNorm2d), plain=nn.BatchNorm2d),
    "gn": Norms(active=_then_relu(_group_norm), plain=_group_norm),
    "evonorm": Norms(active=EvoNormS0, plain=_group_norm),
    "evonorm-official": Norms(active=EvoNormS0, plain=_batch_statistics),
}
