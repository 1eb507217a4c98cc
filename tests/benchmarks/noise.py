"""How long a round waits for its noise for privacy: drawn when it is needed, by threads, and ahead.

    python tests/benchmarks/noise.py [CLIENTS PARAMS] [--repeats 20] [--computing 0.05]

All in turn, so that a ratio holds when the machine's speed drifts. `ahead` is asked after a
gradient of so many seconds that leaves the cores alone, as one does that a GPU computes.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from p2pqg.base.seeding import rng
from p2pqg.engine.noise import Noise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", type=int, nargs="*", default=[16, 270_000])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--computing", type=float, default=0.05)
    asked = parser.parse_args()
    clients, width = asked.size
    threads, ahead = (Noise(0, "privacy", torch.device("cpu")) for _ in range(2))

    def in_line(keys: list[tuple[int, int]]) -> np.ndarray:
        draws = [rng(0, "privacy", *key) for key in keys]
        return np.stack([draw.standard_normal(width, np.float32) for draw in draws])

    ways = {
        "ahead": lambda keys: ahead.rows(keys, width, torch.float32, True),
        "threads": lambda keys: threads.rows(keys, width, torch.float32, False),
        "in line": in_line,
    }
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for step in range(asked.repeats + 1):
        keys = [(client, step) for client in range(clients)]
        time.sleep(asked.computing)
        for name, draw in ways.items():
            start = time.perf_counter()
            draw(keys)
            seen[name].append(time.perf_counter() - start)
    print(f"| {clients} x {width:,}, {torch.get_num_threads()} threads | ms | of in line |")
    print("|---|---|---|")
    for name, seconds in seen.items():
        shares = [a / b for a, b in zip(seconds[1:], seen["in line"][1:], strict=True)]
        print(
            f"| {name} | {1e3 * statistics.median(seconds[1:]):.2f} "
            f"| {statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f}) |"
        )


if __name__ == "__main__":
    main()
