"""What a round asks of a card, counted without one: the kernels that it starts, and for what.

    python tests/benchmarks/launches.py [mlp] [resnet20] [--match TEXT] [--rounds 8] [--operations]

A small model on a card is bound by the number of kernels: each takes some 5 microseconds of the
host, whatever it does. The gradient of all clients is captured and replayed, which is one launch.
This counts the rest on a stand-in for a card (`tests/stand_in_card.py`), in rounds that record
nothing: operations of torch that have something to do, uploads, and replays. A few operations
(sorting, indexing by a mask) start several kernels; they count once.

    batches    places of the samples, samples, crops and flips, normalisation
    gradient   to and from the captured step, and its replay
    around it  weight decay, flipped labels, noise for privacy, losses
    algorithm  the lines of its file
    mixing     the network: W, rules, attacks, impairments
    rest       everything else
    all but    all but the gradient
    waits      times that the host waits for the card, see docs/gpus.md

32 MLPs learn from digits, 16 ResNet-20 from images with crops and flips. Launches depend neither on
the size of an image nor on that of a batch, so both are small.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from counted_launches import PLACES, counted

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.algorithms.attacks import ATTACKS
from p2pqg.algorithms.gossip_rules import GOSSIP_RULES

CLOCK = {"compute": {"seconds": 1, "varies": "exponential"}}
FOUR = np.random.default_rng(0)
IMAGES = FOUR.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8), FOUR.integers(0, 10, 64)
MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "mlp": (32, {"dataset": "digits", "model": "mlp"}),
    "resnet20": (
        16,
        {
            "dataset": {"data": IMAGES, "augmentation": "crop-flip"},
            "model": "resnet20-gn",
            "batch_size": 2,
            "weight_decay": 1e-4,
        },
    ),
}


def conditions(clients: int) -> dict[str, dict[str, Any]]:
    """Settings by the name of their row."""
    ring = f"ring{clients}"
    found: dict[str, dict[str, Any]] = {}
    made_for = {"dsgd-ceca": "ceca", "teleportation": "teleportation", "relay-sgd": "chain"}
    for name, entry in ALGORITHMS.items():
        network = made_for.get(name, "ring")
        found[name] = {"algorithm": name, "topology": f"{network}{clients}"}
        if entry.traits.get("asynchronous"):
            found[name]["network"] = CLOCK
    found["dsgd, 4 local steps"] = {"local_steps": 4}
    for name in ("top-k", "random-k", "qsgd", "sign"):
        found[f"choco-sgd, {name}"] = {"algorithm": {"name": "choco-sgd", "compressor": name}}
    for name in GOSSIP_RULES:
        found[f"rule {name}"] = {"rule": name, "topology": f"complete{clients}"}
    for name in ATTACKS:
        attack = {"who": [0, 1], "how": name}
        found[f"attack {name}"] = {"attacks": [attack]}
        if name in ("ipm", "dissensus"):
            found[f"attack {name} against median"] = {"attacks": [attack], "rule": "median"}
    for name, value in {
        "loss": 0.2,
        "noise": 0.1,
        "participation": 0.7,
        "delay": 1,
    }.items():
        found[name] = {"impairments": {name: value}}
    found["all impairments"] = {
        "impairments": {"loss": 0.2, "noise": 0.1, "participation": 0.7, "delay": 1}
    }
    found["privacy"] = {"privacy": {"clip": 1.0, "sigma": 0.5}}
    found["personal layers"] = {"personal": ["*bias*"]}
    for name in ("onepeer-exponential", "random-matching", "random-regular", "exponential"):
        found[name] = {"topology": f"{name}{clients}"}
    found["consensus control"] = {"consensus": {"targets": [1e-3]}}
    found["warm-up and milestones"] = {"lr_schedule": {"warmup_epochs": 1, "milestones": [0.5]}}
    return {name: {"algorithm": "dsgd", "topology": ring} | made for name, made in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["mlp", "resnet20"])
    parser.add_argument("--match", default="", help="rows whose names have this in them")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--operations", action="store_true", help="name those of each row")
    asked = parser.parse_args()
    for model in asked.models:
        clients, settings = MODELS[model]
        print(f"| {clients} {model} | {' | '.join(PLACES)} | all but | waits |")
        print("|---" * (len(PLACES) + 3) + "|")
        for name, more in conditions(clients).items():
            if asked.match not in name:
                continue
            try:
                row = counted(asked.rounds, **settings | more)
            except p2pqg.P2pqgError as error:
                print(f"| {name} | {str(error).splitlines()[0]} |")
                continue
            but = sum(row.launches.values()) - row.launches["gradient"]
            cells = [*(row.launches[place] for place in PLACES), but, row.waits]
            print(f"| {name} | {' | '.join(f'{cell:.4g}' for cell in cells)} |", flush=True)
            if asked.operations:
                for (place, what), times in sorted(row.operations.items()):
                    print(f"    {place}: {what} {times / asked.rounds:.4g}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # that clocks have no end, and what suits no attack
    main()
