"""What rules of gossip cost against plain mixing: one command, one table per network.

    python tests/benchmarks/rules.py [social32 ...] [--params 26506] [--repeats 60] [--threads 1]
    python tests/benchmarks/rules.py --rounds 20        whole rounds: MLP 64-256-10 on digits

Every repeat runs all of them in turn, so that a ratio holds when the machine's speed drifts; times
are those of the processor. Beside them two bare measurements, below which nothing gets that is made
of calls on whole rows: `operations`, as many minimums, maximums and sums as the median takes, on
rows that are in the cache (the fewest for each receiver by itself, see `engine.middle`), where the
weighted sum reads every value once, in one call; `gram`, one product of the rows with themselves,
which `krum` and `ios` need before they can sum.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import p2pqg
from p2pqg.algorithms.gossip_rules import GOSSIP_RULES, find_rule
from p2pqg.engine.middle import plan
from p2pqg.engine.mixer import Arrivals, Mixer
from p2pqg.engine.robust import RuleMixer
from p2pqg.engine.routes import RowRoutes
from p2pqg.topology import build

RULES: dict[str, Any] = {name: name for name in GOSSIP_RULES} | {"krum": {"name": "krum", "f": 0}}


def mixers(name: str, num_params: int) -> dict[str, Callable[[], Any]]:
    """Plain mixing first, then each rule that the network has neighbors for, then the bare ones."""
    W = build(name).mixing(0)
    routes = RowRoutes.cut(W, (0, W.num_clients))
    x = torch.randn(W.num_clients, num_params, generator=torch.Generator().manual_seed(0))
    plain, arrivals = Mixer(routes, 0, x), Arrivals.of(routes, 0)
    found: dict[str, Callable[[], Any]] = {"plain": lambda: plain(x)}
    inboxes = np.bincount(arrivals.rows, minlength=W.num_clients)
    for rule, given in RULES.items():
        if inboxes.min() >= find_rule(given).least:
            mixer = RuleMixer(arrivals, find_rule(given), x)
            found[rule] = lambda mixer=mixer: mixer(x, 0.5)
    steps = [step for n in inboxes.tolist() for step in plan(n + 1, n // 2).steps]
    count = sum(2 if operation == 3 else 1 for operation, *_ in steps)
    one, other, to = (row.copy() for row in x[:3].numpy())

    def operations() -> None:
        for _ in range(count):
            np.minimum(one, other, out=to)

    found[f"({count} operations)"] = operations
    if W.num_clients <= 256:
        found["(gram)"] = lambda: x.numpy() @ x.numpy().T
    return found


def compare(title: str, runs: dict[str, Callable[[], Any]], repeats: int) -> None:
    """Median milliseconds, and the median of the ratios to the first, repeat by repeat."""
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):  # the first one warms up
        for name, run in runs.items():
            start = time.process_time()
            run()
            seen[name].append(time.process_time() - start)
    first = next(iter(runs))
    print(f"| {title} | ms | least ms | ratio to {first} (quartiles) |\n|---|---|---|---|")
    for name, seconds in seen.items():
        ratios = [own / base for own, base in zip(seconds[1:], seen[first][1:], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        ms = [1e3 * s for s in seconds[1:]]
        cells = f"{statistics.median(ms):.2f} | {min(ms):.2f}"
        print(f"| {name} | {cells} | {middle:.2f} ({low:.2f} to {high:.2f}) |")
    print(flush=True)


def whole_rounds(topology: str, rounds: int, repeats: int) -> dict[str, Callable]:
    """So many rounds of a simulation that goes on: gradients, mixing and records."""

    def advanced(rule: Any = None) -> Callable[[], None]:
        sim = p2pqg.Simulation(
            topology=topology,
            algorithm="dsgd",
            model={"name": "mlp", "hidden": [256]},
            rounds=rounds * (repeats + 1),
            eval_every=rounds * (repeats + 1),
            engine="local",
            **({"rule": rule} if rule else {}),
        )
        return lambda: sim.advance(rounds)

    return {"plain": advanced(), **{name: advanced(given) for name, given in RULES.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=["social32"])
    parser.add_argument("--params", type=int, default=26506)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=0)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    # glibc learns from a large block to keep what is freed. Else it is chance whose result is given
    # back to the system and fetched again, for more than the mixing itself.
    del [np.ones(30 * 2**20, dtype=np.uint8)][:]
    for name in settings.networks:
        if settings.rounds:
            runs = whole_rounds(name, settings.rounds, settings.repeats)
            compare(f"{name}, {settings.rounds} rounds", runs, settings.repeats)
        else:
            title = f"{name}, {settings.params} params, {settings.threads} threads"
            compare(title, mixers(name, settings.params), settings.repeats)


if __name__ == "__main__":
    main()
