"""What holds for most algorithms; leave out what yours has a reason not to fulfil."""

from __future__ import annotations

from typing import Any

import numpy as np

from p2pqg.base.registry import Entry
from p2pqg.testing.plays import (
    assert_same,
    run,
)
from p2pqg.theory.quadratics import CLIENTS, Quadratics, starts
from p2pqg.topology import build


def check_equal_stays_equal(algorithm: str | Entry, **params: Any) -> None:
    """Clients with equal data and equal start stay equal (but move)."""
    path = run(algorithm, Quadratics.random(equal_data=True), starts()[0], **params)
    assert_same(path, np.broadcast_to(path[:, :1], path.shape))
    assert np.linalg.norm(path[-1] - path[0]) > 1e-3


def check_alone(algorithm: str | Entry, **params: Any) -> None:
    """W = I: every client learns as if it were alone in the world.

    Exempt is who all-reduces, and who needs a connected network.
    """
    problem, x0 = Quadratics.random(), starts()
    isolated = build(np.eye(CLIENTS), allow_disconnected=True)
    together = run(algorithm, problem, x0, isolated, **params)
    for i in range(CLIENTS):
        alone = run(algorithm, problem.of([i]), x0[[i]], np.eye(1), **params)
        assert_same(together[:, [i]], alone)


def check_mean_finds_optimum(
    algorithm: str | Entry, lr: float = 0.1, rounds: int = 600, **params: Any
) -> None:
    """On quadratics of equal curvature the mean of the clients comes to the optimum.

    Exempt is who scales a gradient by its own size (Adam).
    """
    problem = Quadratics.random(equal_curvature=True)
    path = run(algorithm, problem, rounds=rounds, lr=lr, **params)
    assert_same(path[-1].mean(0), problem.optimum(), 1e-6)


USUAL = (check_equal_stays_equal, check_alone, check_mean_finds_optimum)
