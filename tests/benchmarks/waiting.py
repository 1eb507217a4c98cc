"""OpenMP's threads that spin while they wait for one another, and such as sleep, side by side.

    python tests/benchmarks/waiting.py [--model resnet20-gn] [--rounds 6] [--repeats 3]

The same rounds in a process of their own each time, with every core; once alone, and once beside a
plain Python loop per core, as on a machine that others use, too. The ratios are of time on the
wall and of CPU time: sleeping over spinning.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

ROUNDS = """
import sys, time
import numpy as np
import p2pqg

draw = np.random.default_rng(0)
y = draw.integers(0, 10, 400)
X = draw.normal(size=(400, 3, 32, 32)).astype("float32")
simulation = p2pqg.Simulation(
    dataset={"data": (X, y)}, model=sys.argv[1], topology="ring", clients=8,
    engine="local", eval_every=1000,
)
simulation.advance(1)
wall, cpu = time.perf_counter(), time.process_time()
simulation.advance(int(sys.argv[2]))
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnet20-gn")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    command = [sys.executable, "-W", "ignore", "-c", ROUNDS, asked.model, str(asked.rounds)]

    def seconds(**policy: str) -> tuple[float, float]:
        environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | policy
        said = subprocess.check_output(command, env=environment, text=True)
        wall, cpu = map(float, said.split())
        return wall, cpu

    print("| beside | spinning, s (CPU) | sleeping, s (CPU) | sleeping / spinning: wall | CPU |")
    print("|---|--:|--:|--:|--:|")
    for beside, busy in (("nothing", 0), ("a busy loop per core", os.cpu_count() or 1)):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            pairs = [(seconds(), seconds(OMP_WAIT_POLICY="passive")) for _ in range(asked.repeats)]
        finally:
            for other in others:
                other.kill()
        a, b = (statistics.median(pair[i][0] for pair in pairs) for i in range(2))
        c, d = (statistics.median(pair[i][1] for pair in pairs) for i in range(2))
        print(f"| {beside} | {a:.1f} ({c:.1f}) | {b:.1f} ({d:.1f}) | {b / a:.2f} | {d / c:.2f} |")


if __name__ == "__main__":
    main()
