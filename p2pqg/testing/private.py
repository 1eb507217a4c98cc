"""Whether gradients of an algorithm can be private; on samples, as only these are clipped."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from p2pqg.algorithms.privacy import Privacy
from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.engine.block import Block, lockstep
from p2pqg.engine.learner import Learner
from p2pqg.engine.spec import Shards, Task
from p2pqg.engine.waves.block import WaveBlock
from p2pqg.models import blueprint
from p2pqg.models.judging.losses import LOSSES, Objective
from p2pqg.testing.plays import (
    assert_same,
    suitable_topology,
)
from p2pqg.theory.quadratics import CLIENTS, Array
from p2pqg.theory.trajectories import at_start


def check_private(algorithm: str | Entry, **params: Any) -> None:
    """Gradients that no limit reaches are plain ones; noise on them does not depend on hosting."""
    plain = _learned(algorithm, Privacy(), [CLIENTS], **params)
    assert_same(_learned(algorithm, Privacy(clip=math.inf, sigma=0), [CLIENTS], **params), plain, 0)
    assert_same(_learned(algorithm, Privacy(clip=1e9), [CLIENTS], **params), plain)
    noisy = Privacy(clip=0.5, sigma=1.0)
    together = _learned(algorithm, noisy, [CLIENTS], **params)
    assert np.abs(together - plain).max() > 1e-6
    assert_same(_learned(algorithm, noisy, [3, 5], **params), together)


def _learned(
    algorithm: str | Entry, privacy: Privacy, hosted: list[int], rounds: int = 2, **params: Any
) -> Array:
    """[clients, params] after some rounds on samples, with such gradients."""
    rows, classes, generator = 6, 3, rng(0, "samples")
    x = generator.standard_normal((rows * CLIENTS, 2)).astype(np.float32)
    y = generator.integers(0, classes, len(x))
    objective = Objective(LOSSES["cross-entropy"], outputs=classes)
    model = blueprint("mlp", hidden=(2,))
    looks = (None, None, None)
    task = Task(model, classes, (2,), *looks, 3, 0.01, "float64", 0, objective, privacy=privacy)
    bounds = np.concatenate([[0], np.cumsum(hosted)]).tolist()
    learners = []
    for first, end in zip(bounds, bounds[1:], strict=False):
        here = slice(rows * first, rows * end)
        shards = Shards(x[here], y[here], np.full(end - first, rows))
        clients = range(first, end)
        learners.append(Learner(task, clients, shards, (x[:1], y[:1]), torch.device("cpu")))
    x0 = learners[0].initial()[0].numpy()
    topology = suitable_topology(algorithm, **params)
    blocks = at_start(
        algorithm,
        lambda x, round: x,
        x0,
        topology=topology,
        lr=0.1,
        blocks=hosted,
        shapes=[shape for _, shape in model.shapes(classes, (2,))],
        **params,
    )
    for block, learner in zip(blocks, learners, strict=True):
        _learn_from(block, learner)
    lockstep(blocks, rounds)
    return torch.cat([block.x for block in blocks]).numpy()


def _learn_from(block: Block | WaveBlock, learner: Learner) -> None:
    """From now on the block's gradients are those of the learner."""
    if isinstance(block, WaveBlock):
        block.gradient = learner.gradient_of
        return

    def gradient(x: torch.Tensor, step: int, again: bool = False) -> torch.Tensor:
        return learner.gradient(x, step, again, block.gradients)

    block.gradient = gradient
