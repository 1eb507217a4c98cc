"""Until one-client actors have done their first round: forked, and each with its own imports.

    python tests/benchmarks/starts.py [ACTORS] [--repeats 3]

In turn, so that a ratio holds when the machine's speed drifts: seconds, CPU time of all processes,
and their memory, what several share counted once. On Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]
WAYS = {"forked": "1", "one by one": "0"}
"""How they start: P2PQG_FORK."""
MEASURES = {"s": "{:.1f}", "s of CPU": "{:.1f}", "GB": "{:.2f}"}

START = """
import json
import os
import sys
import time

began = time.perf_counter()
import p2pqg
from processes import children

n = int(sys.argv[1])
with p2pqg.Simulation(topology=f"ring{n}", rounds=9, clients_per_actor=1, device="cpu") as sim:
    sim.advance(1)
    seconds = time.perf_counter() - began
    ticks, kilobytes = 0, 0
    for process in children(os.getpid()):
        words = open(f"/proc/{process}/stat").read().rpartition(")")[2].split()
        ticks += sum(map(int, words[11:15]))  # its own and of those it has waited for
        shares = [line.split() for line in open(f"/proc/{process}/smaps_rollup")]
        kilobytes += sum(int(words[1]) for words in shares if words[0] == "Pss:")
    print(json.dumps([seconds, ticks / os.sysconf("SC_CLK_TCK"), kilobytes / 1e6]))
"""


def started(actors: int, way: str) -> list[float]:
    """What it takes, as of MEASURES."""
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = subprocess.run(
        [sys.executable, "-c", START, str(actors)],
        env=os.environ | {"PYTHONPATH": path, "P2PQG_FORK": WAYS[way]},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(told.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("actors", type=int, nargs="?", default=16)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    seen: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for _ in range(asked.repeats):
        for way in WAYS:
            seen[way].append(started(asked.actors, way))
    print(f"| {asked.actors} actors | {' | '.join(MEASURES)} |")
    print("|---" * (1 + len(MEASURES)) + "|")
    middle = {way: [*map(statistics.median, zip(*seen[way], strict=True))] for way in WAYS}
    for way, values in middle.items():
        cells = [form.format(v) for form, v in zip(MEASURES.values(), values, strict=True)]
        print(f"| {way} | {' | '.join(cells)} |")
    ratios = [a / b for a, b in zip(*middle.values(), strict=True)]
    print(f"| of one by one | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")


if __name__ == "__main__":
    main()
