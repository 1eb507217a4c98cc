"""Clients that do not wait, on real actors, in the middle of gradients and messages."""

import re
from pathlib import Path

import numpy as np
import pytest
import ray

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.testing import UNIVERSAL

SMALL = {
    "topology": "ring6",
    "rounds": 18,
    "batch_size": 8,
    "model": {"name": "mlp", "hidden": [6]},
    "precision": "float64",
    "seed": 3,
    "network": {
        "compute": {"seconds": 0.1, "varies": "exponential"},
        "links": {"latency": 0.15, "jitter": 0.05},  # so that something is always on its way
    },
}


@pytest.mark.parametrize(
    "algorithm", ["async-qg-dsgdm-n", pytest.param("ad-psgd", marks=pytest.mark.slow)]
)
def test_in_mid_flight_runs_are_stored_forked_packed_anew_and_survive_a_kill(
    cluster, tmp_path, algorithm
):
    settings = SMALL | {"algorithm": algorithm}
    with p2pqg.Simulation(engine="local", **settings) as sim:
        sim.advance(18)
        expected, rounds = sim.parameters(), sim.history
    with p2pqg.Simulation(clients_per_actor=3, **settings) as sim:
        sim.advance(7)
        path = sim.checkpoint(tmp_path / "moment")
        with sim.fork() as branch:
            ray.kill(sim._driver.engine.group.actors[1])
            sim.advance(11)
            branch.advance(11)
            np.testing.assert_array_equal(sim.parameters(), branch.parameters())
        np.testing.assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-10)
        assert sim.history["sim_seconds"].iloc[-1] == rounds["sim_seconds"].iloc[-1]
        assert sim.history["bytes_sent"].iloc[-1] == rounds["bytes_sent"].iloc[-1]
    with p2pqg.Simulation.restore(path, engine="local") as sim:  # packed anew
        sim.advance(11)
        np.testing.assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-10)


def test_a_method_of_ones_own_as_the_handbook_has_it_keeps_the_rules_of_the_house():
    page = (Path(__file__).parents[2] / "docs" / "own.md").read_text("utf-8")
    (code,) = re.findall(r"<!-- my_pace.py -->\n```python\n(.*?)```", page, re.DOTALL)
    exec(code, {"__name__": "my_pace"})
    for check in UNIVERSAL:
        check(ALGORITHMS["fading"], memory=0.5)
