"""What clients that do not wait cost, beside those that do: CPU time of one process, one thread.

Each is advanced a little in turn, so that a ratio holds when the machine's speed drifts, and when
others are at work on it. `bench.py pace` runs this in a process of its own.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

import p2pqg

CLOCK = {"links": "lan", "compute": {"seconds": 1, "varies": "exponential"}}
MANY = 10_240
FAR = 10**6


def job(
    algorithm: str, clients: int = 32, record_every: int = FAR, **more: Any
) -> p2pqg.Simulation:
    """Job S, or with settings of its own; nothing is evaluated on the way, and mostly recorded."""
    return p2pqg.Simulation(
        topology=f"ring{clients}",
        algorithm=algorithm,
        engine="local",
        rounds=FAR,
        record_every=record_every,
        eval_every=FAR,
        eval_first=False,
        batch_size=32,
        network=CLOCK,
        **more,
    )


def blobs(clients: int) -> dict[str, Any]:
    """Samples of which everybody has as many, however many clients there are."""
    return {
        "dataset": {"name": "synthetic", "samples": 8 * clients, "test_samples": 100},
        "partition": "iid",
    }


def cost(simulation: p2pqg.Simulation, rounds: int) -> float:
    """CPU seconds of a client-step."""
    start = time.process_time()
    simulation.advance(rounds)
    return (time.process_time() - start) / rounds / simulation.network.num_clients


def planned(simulation: p2pqg.Simulation, rounds: int) -> float:
    """The share of the time on the wall that planning takes."""

    def spent() -> float:
        return sum(spans.get("planning", 0.0) for spans in simulation.profile().values())

    before, start = spent(), time.perf_counter()
    simulation.advance(rounds)
    return (spent() - before) / (time.perf_counter() - start)


def show(title: str, bound: str, values: list[float], costs: str = "") -> None:
    """A row: median (min to max)."""
    told = f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
    print(f"| {title} | {told} | {bound} | {costs or '-'} |", flush=True)


def main(seconds: float, repeats: int) -> None:
    """Print the table; each repeat of each contestant takes about so many seconds."""
    print("| job pace, in CPU time | median (min to max) | wanted | us a step |")
    print("|---|---|---|---|")
    rounds = max(8, int(600 * seconds))
    small = {name: job(name) for name in ("dsgd", "dsgdm-n", "ad-psgd", "async-dsgdm-n")}
    few, many = job("ad-psgd", **blobs(32)), job("ad-psgd", MANY, **blobs(MANY))
    of_many = max(1, rounds * 32 // MANY)
    contestants: dict[str, Callable[[], float]] = {
        name: lambda one=one: cost(one, rounds) for name, one in small.items()
    }
    contestants["32"] = lambda: cost(few, rounds)
    contestants["10,240"] = lambda: cost(many, of_many)
    for one in (*small.values(), few):
        one.advance(64)
    many.advance(1)
    seen: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            seen[name].append(run())
    for one, base, bound in (
        ("ad-psgd", "dsgd", ">= 0.5"),
        ("async-dsgdm-n", "dsgd", ">= 0.5"),
        ("async-dsgdm-n", "dsgdm-n", ">= 0.5"),
        ("10,240", "32", "<= 1.3"),
    ):
        pairs = list(zip(seen[one], seen[base], strict=True))
        ratios = [b / a if bound.startswith(">") else a / b for a, b in pairs]
        title = f"speed of {one} / {base}" if bound.startswith(">") else f"a step of {one} / {base}"
        costs = " / ".join(f"{1e6 * statistics.median(seen[x]):.1f}" for x in (one, base))
        show(title, bound, ratios, costs)
    for name, record_every, noted in (
        ("ad-psgd", FAR, ""),
        ("async-dsgdm-n", FAR, ""),
        ("async-dsgdm-n", 1, ", every round recorded"),
    ):
        one = job(name, record_every=record_every, profile=True)
        one.advance(64)
        show(
            f"planning, of {name}{noted}, of the time on the wall",
            "< 0.1",
            [planned(one, rounds) for _ in range(repeats)],
        )


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # that clocks have no end
    torch.set_num_threads(1)
    main(float(sys.argv[1]), int(sys.argv[2]))
