"""Rows, epochs and the simulated clock count gradients."""

import math

import numpy as np
import pytest
from toys import TOY

import p2pqg
from p2pqg.engine.bookkeeping import Bookkeeper
from p2pqg.engine.outlook import through
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.topology import build

LATENCY, COMPUTE = 0.25, 2.0


def book():
    clock = ClockParams(links={"latency": LATENCY}, compute=COMPUTE)
    timing = Timing.of(clock, 4)
    network = Network(build("ring4"), timing=timing)
    return Bookkeeper(lambda t: 0.1, 1.0, np.ones(4), 1, network=network, timing=timing)


@pytest.mark.parametrize(
    ("taken", "seconds"),
    [
        ((("gradient", 1), ("gossip", 8.0)), COMPUTE + LATENCY),
        ((("gradient", 5), ("gossip", 8.0)), 5 * COMPUTE + LATENCY),
        ((("gradient", 1), ("gossip", 8.0), ("gossip", 8.0)), COMPUTE + 2 * LATENCY),
        ((("gossip", 8.0), ("gradient", 2)), LATENCY + 2 * COMPUTE),
        (
            (("gradient", 1), ("gossip", 8.0), ("gradient", 1), ("gossip", 8.0)),
            2 * COMPUTE + 2 * LATENCY,
        ),
        ((("gossip", 8.0),), LATENCY),
        ((), 0.0),
    ],
)
def test_a_round_takes_as_long_as_its_gradients_and_its_messages(taken, seconds):
    after = through(book().network, book().timing, 0, taken, np.zeros(4))
    np.testing.assert_allclose(after, np.full(4, seconds))


OWN = '''
from p2pqg import algorithm, gossip
from p2pqg.algorithms import dsgd


@algorithm("two-steps", params=dsgd.Params, start=dsgd.start)
def two_steps(s, grad, p):
    """Two batches, and the second one again."""
    half = s.x - p.lr * grad(s.x)
    half = half - p.lr * grad(half)
    x = yield gossip(half - p.lr * grad(half, again=True))
    return dsgd.State(x)
'''


def test_epochs_count_batches_and_the_column_counts_gradients(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    own = {"algorithm": f"{tmp_path}/own.py:two_steps", "engine": "local"}
    timed = {"network": {"compute": COMPUTE}}
    with p2pqg.Simulation(**TOY, **own, **timed, epochs=3) as sim:
        batches = 120 / 6 / TOY["batch_size"]  # in an epoch
        assert sim.experiment.num_rounds == math.ceil(3 * batches / 2)
        sim.advance(rounds=sim.experiment.num_rounds)
        history = sim.history
    rounds = history["round"] + 1
    np.testing.assert_allclose(history["epoch"], 2 * rounds / batches)
    np.testing.assert_allclose(history["gradients"], 3 * rounds)
    np.testing.assert_allclose(history["sim_seconds"], 3 * COMPUTE * rounds)
