"""Job R in bare PyTorch on a GPU, in the open: no p2pqg but for the network itself. No Ray.

    python tests/gpu/bare.py MODEL PRECISION CLIENTS SECONDS DEVICE

A whole round: batches drawn on the card, a gradient per client, a step, one product with W of a
ring. Three ways, one line of JSON each:
    eager loop         one client after the other, as anybody would write it
    captured streams   the same loop as one CUDA graph, every client on a stream of its own
    captured vmap      all clients in one vectorised call, as one CUDA graph
On a CPU, where there are no graphs, the captured ones run as they are: it tests this file.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from p2pqg import build_model

LR, BATCH, SAMPLES = 0.05, 32, 128
STREAMS = 16


class Job:
    """All that a round reads and writes stays where it is, so that it can be captured."""

    def __init__(self, model: str, precision: str, clients: int, device: str, side: int) -> None:
        self.device, self.clients = torch.device(device), clients
        self.module = build_model(model, 10, (3, side, side)).to(device)
        named = dict(self.module.named_parameters())
        self.names = list(named)
        self.shapes = [p.shape for p in named.values()]
        self.sizes = [p.numel() for p in named.values()]
        draws = torch.Generator(device).manual_seed(0)
        row = torch.cat([p.detach().flatten() for p in named.values()])
        self.x = row.repeat(clients, 1)
        self.g = torch.empty_like(self.x)
        shape = clients, SAMPLES
        self.images = torch.rand(*shape, 3, side, side, device=device, generator=draws)
        self.labels = torch.randint(0, 10, shape, device=device, generator=draws)
        self.at = torch.zeros(clients, BATCH, dtype=torch.int64, device=device)
        self.draws = draws
        eye = torch.eye(clients, device=device)
        self.W = (eye + eye.roll(1, 0) + eye.roll(-1, 0)) / 3
        self.half = torch.bfloat16 if precision == "bf16" else None

    def loss(self, row: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """One client's."""
        parts = row.split(self.sizes)
        weights = {
            name: part.view(shape)
            for name, part, shape in zip(self.names, parts, self.shapes, strict=True)
        }
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            logits = functional_call(self.module, weights, (images,))
        return F.cross_entropy(logits.float(), labels)

    def batches(self) -> tuple[Tensor, Tensor]:
        """[clients, batch, ...] of each one's own samples."""
        rows = torch.arange(self.clients, device=self.device)[:, None]
        return self.images[rows, self.at], self.labels[rows, self.at]

    def one(self, client: int, images: Tensor, labels: Tensor) -> None:
        """One client's gradient into its row of g."""
        row = self.x[client].detach().requires_grad_()
        images = images.contiguous(memory_format=torch.channels_last)
        (found,) = torch.autograd.grad(self.loss(row, images, labels), row)
        self.g[client].copy_(found)

    def mix(self) -> None:
        """The step and the network."""
        self.x.copy_(self.W @ (self.x - LR * self.g))

    def loop(self) -> None:
        """A round, client by client."""
        images, labels = self.batches()
        for client in range(self.clients):
            self.one(client, images[client], labels[client])
        self.mix()

    def streams(self) -> Callable[[], None]:
        """The same, clients side by side."""
        number = min(STREAMS, self.clients) if self.device.type == "cuda" else 0
        streams = [torch.cuda.Stream() for _ in range(number)]

        def step() -> None:
            images, labels = self.batches()
            here = torch.cuda.current_stream() if streams else None
            for stream in streams:
                stream.wait_stream(here)
            for client in range(self.clients):
                lane = torch.cuda.stream(streams[client % number]) if streams else None
                with lane or contextlib.nullcontext():
                    self.one(client, images[client], labels[client])
            for stream in streams:
                here.wait_stream(stream)
            self.mix()

        return step

    def vectorised(self) -> None:
        """A round in one call."""
        self.g.copy_(vmap(grad(self.loss))(self.x, *self.batches()))
        self.mix()

    def captured(self, step: Callable[[], None]) -> Callable[[], None]:
        """A round as a graph; batches are drawn before it."""
        if self.device.type != "cuda":
            return step
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            step()
        return graph.replay

    def ms(self, step: Callable[[], None], seconds: float) -> float:
        """Of a round, the median."""

        def settle() -> None:
            if self.device.type == "cuda":
                torch.cuda.synchronize()

        times: list[float] = []
        end = None
        while end is None or len(times) < 2 or time.perf_counter() < end:
            start = time.perf_counter()
            self.at.random_(0, SAMPLES, generator=self.draws)
            step()
            settle()
            if end is None:  # the first one warms up
                end = time.perf_counter() + seconds
                continue
            times.append(time.perf_counter() - start)
        return round(1e3 * sorted(times)[len(times) // 2], 3)


def main(model: str, precision: str, clients: str, seconds: str, device: str, side: str) -> None:
    """Tell each as soon as it is known: a capture that fails ends the process."""
    torch.backends.cudnn.deterministic = True  # as p2pqg does
    torch.backends.cudnn.allow_tf32 = False
    job = Job(model, precision, int(clients), device, int(side))
    ways: dict[str, Callable[[], Callable[[], None]]] = {
        "eager loop": lambda: job.loop,
        "captured streams": lambda: job.captured(job.streams()),
        "captured vmap": lambda: job.captured(job.vectorised),
    }
    for name, make in ways.items():
        ms = job.ms(make(), float(seconds))
        print(json.dumps({"how": name, "round_ms": ms, "client_steps": 1e3 * job.clients / ms}))
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
