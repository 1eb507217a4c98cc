"""What a model costs that has no formula for it: it is built, and watched on a sample."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from p2pqg.models._reading import Reader
from p2pqg.models._registry import Cost


def cost_of(model: nn.Module, input_shape: tuple[int, ...], inputs: Tensor | None = None) -> Cost:
    """Parameters, and multiply-adds in convolutions and linear layers.

    A copy of the model runs on two samples: the meta device, which computes nothing, takes a
    second to be imported.

    Args:
        model: left as it is.
        input_shape: of one sample.
        inputs: [samples, ...] that it can take; None: zeros.
    """
    num_params = sum(p.numel() for p in model.parameters() if p.requires_grad)
    model = copy.deepcopy(model).eval()
    samples = 2  # batch statistics are not defined for one
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        # Each output is a product with one filter, or one row of the weight, which is no parameter
        # where it is made of others (weight_norm).
        assert isinstance(layer.weight, Tensor)
        total += output.numel() * layer.weight[0].numel()

    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    if inputs is None:
        inputs = torch.zeros(samples, *input_shape)
    samples = len(inputs)
    if isinstance(model, Reader):  # texts, of which nothing is left out
        dtype = torch.int32 if inputs.dim() == 2 else torch.float32  # tokens, or states of them
        inputs = torch.full_like(inputs, int(model.pad == 0 or inputs.dim() > 2), dtype=dtype)
    with torch.no_grad():
        model(inputs)
    return Cost(num_params, total // samples)
