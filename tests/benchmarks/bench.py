"""How close `p2pqg run` comes to the bare arithmetic: one command, one table.

    python tests/benchmarks/bench.py [S] [R] [scale] [pace] [--repeats 3] [--seconds 8]

    S      32 clients on a ring, MLP 64-64-10 on digits, batch 32, gossip SGD
    R      16 clients on a ring, ResNet-20-GN at 3 x 32 x 32, batch 32, gossip SGD; and in bf16
    scale  10,240 clients with the MLP of job S, against 32 of them
    pace   job S by clients that do not wait, whose gradients take exponential times, against job S;
           and 10,240 of them; and the share of the time that planning takes. In CPU time, in one
           process (`pace.py`): about a minute

The baselines (`baselines.py`, plain PyTorch, no Ray) run in turn with ours, so that a ratio holds
when the machine's speed drifts. Ours is the whole command, with defaults: Ray, evaluation and
recording included. Median and (min to max) of the repeats.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PLAIN = "client-steps/s"


def peak_memory(process: subprocess.Popen, peak: list[float]) -> None:
    """Largest proportional set size, in GB, of a process and all it started, until it ends."""
    while process.poll() is None:
        total = 0
        for pid in family(process.pid):
            with contextlib.suppress(OSError, StopIteration):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += int(next(x for x in lines if x.startswith("Pss:")).split()[1])
        peak[0] = max(peak[0], total * 1024 / 1e9)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)


def family(root: int) -> set[int]:
    """A process and its descendants."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
    found = {root}
    while new := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= new
    return found


def ours(*words: str, rounds: int) -> dict[str, float]:
    """One `p2pqg run`: its speed, time to the first round, peak memory, and where its time went."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "p2pqg.cli", "run", *words, "--json", "--profile"]
        command += ["--rounds", str(rounds), "--out", out]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        peak = [0.0]
        watcher = threading.Thread(target=peak_memory, args=(process, peak))
        watcher.start()
        output, _ = process.communicate()
        watcher.join()
        if process.returncode:
            sys.exit(f"failed: {' '.join(command)}")
        summary = json.loads(output)
        (profile,) = Path(out).glob("*/profile.json")
        kinds: dict[str, float] = defaultdict(float)
        for host, spans in json.loads(profile.read_text()).items():
            for kind, seconds in spans.items():
                kinds[kind] += seconds if host != "driver" else 0.0
    return {
        PLAIN: summary["client_steps_per_second"],
        "first round, s": summary["startup_seconds"],
        "peak PSS, GB": peak[0],
        **{kind: seconds / sum(kinds.values()) for kind, seconds in kinds.items()},
    }


def bare(job: str, how: str, seconds: float, precision: str, threads: int) -> dict[str, float]:
    """A baseline in a process of its own."""
    command = [sys.executable, str(HERE / "baselines.py"), job, how, str(seconds), precision]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return {PLAIN: float(done.stdout)}


def contestants(job: str, seconds: float) -> dict[str, Any]:
    """Name -> function that runs it once; the first is what the others are compared with."""
    cores = len(os.sched_getaffinity(0))
    if job == "S":
        words = ["--topology", "ring32", "--algorithm", "dsgd"]
        return {
            "bare stacked, 1 thread": lambda: bare("S", "stacked", seconds, "float32", 1),
            f"bare stacked, {cores} threads": lambda: bare(
                "S", "stacked", seconds, "float32", cores
            ),
            "bare loop": lambda: bare("S", "loop", seconds, "float32", 1),
            "p2pqg run": lambda: ours(*words, rounds=int(1000 * seconds)),
        }
    if job == "R":
        images = ["--set", "dataset.image_side=32", "--set", "dataset.samples=512"]
        words = ["--topology", "ring16", "--algorithm", "dsgd", "--dataset", "synthetic", *images]
        words += ["--model", "resnet20-gn"]
        rounds = max(10, int(3 * seconds))
        return {
            "bare loop": lambda: bare("R", "loop", seconds, "float32", cores),
            "bare loop, bf16": lambda: bare("R", "loop", seconds, "bf16", cores),
            "p2pqg run": lambda: ours(*words, rounds=rounds),
            "p2pqg run, bf16": lambda: ours(*words, "--precision", "bf16", rounds=rounds),
        }

    def scale(topology: str, clients: int) -> dict[str, float]:
        blobs = [f"samples={40 * clients}", "test_samples=100", "features=64"]
        sets = [word for blob in blobs for word in ("--set", f"dataset.{blob}")]
        words = [
            "--topology",
            topology,
            "--algorithm",
            "dsgd",
            "--dataset",
            "synthetic",
            *sets,
        ]
        return ours(*words, rounds=max(150, int(200_000 * seconds / 8 / clients)))

    names = ("ring10240", "random-regular10240:degree=8", "onepeer-exponential10240")
    small = {"ring32": lambda: scale("ring32", 32)}
    return small | {name: lambda name=name: scale(name, 10_240) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="*", default=["S", "R", "scale", "pace"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    settings = parser.parse_args()
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}\n")
    for job in settings.jobs:
        if job == "pace":
            words = [str(settings.seconds / 8), str(settings.repeats)]
            subprocess.run([sys.executable, str(HERE / "pace.py"), *words], check=True)
            print()
            continue
        runs = contestants(job, settings.seconds)
        seen: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
        for _ in range(settings.repeats):
            for name, run in runs.items():
                seen[name].append(run())
        show(job, seen)


def show(job: str, seen: dict[str, list[dict[str, float]]]) -> None:
    """Markdown: a row per contestant, ratios taken repeat by repeat."""
    first = next(iter(seen))
    print(f"| job {job} | {PLAIN} | ratio to {first} | first round, s | peak PSS, GB | time |")
    print("|---|---|---|---|---|---|")
    for name, results in seen.items():
        ratios = [r[PLAIN] / base[PLAIN] for r, base in zip(results, seen[first], strict=True)]
        kinds = {
            kind: statistics.median(r[kind] for r in results)
            for kind in results[0]
            if kind.isalpha() and all(kind in r for r in results)
        }
        shares = ", ".join(
            f"{kind} {100 * share:.0f} %"
            for kind, share in sorted(kinds.items(), key=lambda item: -item[1])
            if share >= 0.005
        )
        cells = [spread(results, PLAIN, ",.0f" if results[0][PLAIN] > 100 else ".1f")]
        cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        cells += [spread(results, key, ".1f") for key in ("first round, s", "peak PSS, GB")]
        print(f"| {name} | {' | '.join(cells)} | {shares or '-'} |", flush=True)
    print()


def spread(results: list[dict[str, float]], key: str, form: str) -> str:
    """Median (min to max)."""
    if key not in results[0]:
        return "-"
    values = [r[key] for r in results]
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
