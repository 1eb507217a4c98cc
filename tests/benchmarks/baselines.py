"""What the jobs cost in bare PyTorch: the best plain loop and stacked loop we know. No Ray.

    python tests/benchmarks/baselines.py {S,R} {loop,stacked} SECONDS [precision]

prints client-steps per second. Gossip SGD on a ring, fresh batches drawn every round; nothing is
recorded, evaluated or checked: this is the arithmetic alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pqg.models import build_model

LR = 0.05


def ring(n: int) -> Tensor:
    eye = torch.eye(n)
    return (eye + eye.roll(1, 0) + eye.roll(-1, 0)) / 3


def dense_job(num_clients: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Job S: an MLP 64-64-10, 45 samples of 64 features per client."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(num_clients, 45, 64, generator=generator)
    y = torch.randint(0, 10, (num_clients, 45), generator=generator)
    return build_model("mlp", 10, (64,)), x, y


def image_job(num_clients: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Job R: ResNet-20-GN, 128 images 3 x 32 x 32 per client."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(num_clients, 128, 3, 32, 32, generator=generator)
    y = torch.randint(0, 10, (num_clients, 128), generator=generator)
    return build_model("resnet20-gn", 10, (3, 32, 32)), x, y


def batches(x: Tensor, y: Tensor, batch: int = 32) -> tuple[Tensor, Tensor]:
    at = torch.randint(0, x.shape[1], (x.shape[0], batch))
    rows = torch.arange(x.shape[0])[:, None]
    return x[rows, at], y[rows, at]


def stacked_round(x: Tensor, y: Tensor) -> Callable[[], None]:
    """All clients' MLPs at once: batched products, autograd, one product with W."""
    n = len(x)
    W = ring(n)
    model = build_model("mlp", 10, (64,))
    params = torch.cat([p.detach().flatten() for p in model.parameters()]).repeat(n, 1)

    def step() -> None:
        nonlocal params
        inputs, targets = batches(x, y)
        row = params.requires_grad_()
        w1, b1, w2, b2 = row.split([64 * 64, 64, 64 * 10, 10], 1)
        hidden = torch.baddbmm(b1[:, None], inputs, w1.view(n, 64, 64).transpose(1, 2)).relu()
        logits = torch.baddbmm(b2[:, None], hidden, w2.view(n, 10, 64).transpose(1, 2))
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) * n
        (g,) = torch.autograd.grad(loss, row)
        params = W @ torch.add(row.detach(), g, alpha=-LR)

    return step


def loop_round(
    model: nn.Module, x: Tensor, y: Tensor, precision: str, channels_last: bool
) -> Callable[[], None]:
    """One client after the other, parameters as views of the rows, one product with W."""
    n = len(x)
    W = ring(n)
    named = dict(model.named_parameters())
    sizes, shapes = [p.numel() for p in named.values()], [p.shape for p in named.values()]
    params = torch.cat([p.detach().flatten() for p in named.values()]).repeat(n, 1)
    half = torch.empty_like(params)

    def step() -> None:
        nonlocal params
        inputs, targets = batches(x, y)
        for i in range(n):
            row = params[i].requires_grad_()
            weights = [
                part.view(shape) for part, shape in zip(row.split(sizes), shapes, strict=True)
            ]
            images = inputs[i]
            if channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                logits = torch.func.functional_call(
                    model, dict(zip(named, weights, strict=True)), (images,)
                )
                loss = F.cross_entropy(logits, targets[i])
            (g,) = torch.autograd.grad(loss, row)
            torch.add(row.detach(), g, alpha=-LR, out=half[i])
        params = W @ half

    return step


def measure(job: str, how: str, seconds: float, precision: str = "float32") -> float:
    """Client-steps per second, after a warm-up of a tenth of the time."""
    n = 32 if job == "S" else 16
    model, x, y = (dense_job if job == "S" else image_job)(n)
    if how == "stacked":
        step = stacked_round(x, y)
    else:
        step = loop_round(model, x, y, precision, channels_last=job == "R")
    for budget in (seconds / 10, seconds):
        rounds, start = 0, time.perf_counter()
        while (spent := time.perf_counter() - start) < budget:
            step()
            rounds += 1
    return rounds * n / spent


if __name__ == "__main__":
    job, how, seconds, *precision = sys.argv[1:]
    print(measure(job, how, float(seconds), *precision))
