"""Kernels that a round starts on a card, counted on one that is none, see `stand_in_card.py`."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from stand_in_card import CARD, Card, stand_in

import p2pqg
from p2pqg.models.stacked.captured import Captured
from p2pqg.models.stacked.choosing import Examples
from p2pqg.models.stacked.cuda_graphs import CudaGraphs
from p2pqg.models.stacked.trying import first

PLACES = ("batches", "gradient", "around it", "algorithm", "mixing", "rest")
"""Parts of a round; what they are is said in `benchmarks/launches.py`."""

WARM_UP = 6
"""Rounds in which caches fill: what was made of a network, a few steps of batches ahead."""


def place_of(frame: FrameType | None) -> str:
    """Which part of a round asks for something."""
    ours, found = str(Path(p2pqg.__file__).parent), "rest"
    while frame:
        name = frame.f_code.co_filename
        inside = name[len(ours) + 1 :] if name.startswith(ours) else ""
        if inside.startswith("data/feeding"):
            return "batches"
        if inside == "models/stacked/stacked.py":
            return "gradient"
        if inside == "engine/learner.py":
            return "around it"
        if frame.f_code.co_name in ("_answer", "_meet", "_post") and inside.startswith("engine"):
            return "algorithm" if found == "algorithm" else "mixing"
        if inside.startswith("algorithms/") and found == "rest":
            found = "algorithm"
        frame = frame.f_back
    return found


@dataclass
class Counted:
    """Of one round, on average.

    Attributes:
        launches: of each part; operations: (part, operation) -> how many; waits: of the host.
    """

    launches: dict[str, float]
    operations: Counter[tuple[str, str]]
    waits: float


def counted(rounds: int = 8, **settings: Any) -> Counted:
    """What rounds of a run take that record nothing."""
    run = {"engine": "local", "capture": "off", "rounds": 10**6, "eval_first": False}
    far = {"record_every": 10**6, "eval_every": 10**6}
    with stand_in() as card, p2pqg.Simulation(**run | far | settings, device="cuda") as sim:
        (host,) = sim._driver.engine.hosts
        _capture(host)
        for _ in host.block.rounds(WARM_UP):
            raise AssertionError("a sole host waits for others")
        return _counted(card, host, rounds)


class _Still:
    """In the place of a strategy that is captured: what a replay computes is of no account here."""

    @staticmethod
    def gradients(x, buffers, inputs, targets, scale):
        return x[:, 0] * scale, x * 1e-3, buffers.clone()


def _capture(host: Any) -> None:
    """What `choosing` would do on a card: the gradients of all clients as one graph."""
    learner = host.learner
    if learner.stacked.never_alike or learner.task.privacy.limit < float("inf"):
        return
    captured = Captured(_Still(), learner.stacked.run, CudaGraphs(CARD))
    batch = learner.stacked.batch(*learner.feed.batch(0))
    args = learner.initial(), learner.buffers, *batch
    for clients in Examples(args, own_pace=learner.own_pace).numbers(0):
        captured.capture_gradients(*first(args, clients), scale=learner.stacked.scale)
    learner.stacked.use(captured)


def _counted(card: Card, host: Any, rounds: int) -> Counted:
    found: Counter[tuple[str, str]] = Counter()

    def launched(what: str) -> None:
        found[place_of(sys._getframe()), what] += 1

    before, card.on_launch = len(card.waits), launched
    for _ in host.block.rounds(WARM_UP + rounds):
        raise AssertionError("a sole host waits for others")
    card.on_launch = lambda what: None
    launches = dict.fromkeys(PLACES, 0.0)
    for (place, _), times in found.items():
        launches[place] += times / rounds
    return Counted(launches, found, (len(card.waits) - before) / rounds)
