"""Gradients of many clients in one vectorised call: as we take them, and by `torch.func.grad`.

    python tests/benchmarks/vectorised.py [MODEL ...] [--clients 8] [--repeats 20]

CPU time, in turn, so that a ratio holds when the machine's speed drifts; in float32.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from p2pqg.models import build_model
from p2pqg.models.stacked.stacked import Stacked

BATCH, CLASSES, IMAGE = 16, 10, (3, 16, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="*", default=["mlp", "cnn", "resnet20-gn", "resnet20-bn"])
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | ours, ms | func.grad, ms | ours over it |")
    print("|---|---|---|---|")
    for name in asked.model:
        stacked = Stacked(build_model(name, CLASSES, IMAGE), strategy="vmap")
        x = stacked.initial_row().repeat(asked.clients, 1)
        buffers = stacked.initial_buffers().repeat(asked.clients, 1)
        draw = torch.Generator().manual_seed(0)
        inputs = torch.randn(asked.clients, BATCH, *IMAGE, generator=draw)
        targets = torch.randint(CLASSES, (asked.clients, BATCH), generator=draw)

        def by_func(*given: Tensor, stacked: Stacked = stacked) -> Tensor:
            own = grad_and_value(partial(stacked.run._loss, 1.0), has_aux=True)
            return vmap(own, randomness="different")(*given)[0]

        ways = {"ours": lambda *given, of=stacked: of.gradients(*given)[1], "func": by_func}
        seen: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(asked.repeats + 1):
            for way, gradients in ways.items():
                start = time.process_time()
                gradients(x, buffers, inputs, targets)
                seen[way].append(time.process_time() - start)
        ours, other = seen["ours"][1:], seen["func"][1:]
        shares = [a / b for a, b in zip(ours, other, strict=True)]
        one, two = (1e3 * statistics.median(seconds) for seconds in (ours, other))
        share = f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
        print(f"| {name} | {one:.1f} | {two:.1f} | {share} |")


if __name__ == "__main__":
    main()
