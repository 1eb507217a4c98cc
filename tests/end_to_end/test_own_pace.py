"""Clients that do not wait, on real actors, in the middle of gradients and messages."""

import numpy as np
import pytest
import ray

import p2pqg

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


@pytest.mark.parametrize("algorithm", ["ad-psgd", "async-qg-dsgdm-n"])
def test_in_mid_flight_runs_are_stored_forked_packed_anew_and_survive_a_kill(
    cluster, tmp_path, algorithm
):
    settings = SMALL | {"algorithm": algorithm}
    with p2pqg.Simulation(engine="local", **settings) as sim:
        sim.advance(18)
        expected, rounds = sim.parameters(), sim.history
    with p2pqg.Simulation(clients_per_actor=2, **settings) as sim:
        sim.advance(7)
        path = sim.checkpoint(tmp_path / "moment")
        with sim.fork() as branch:
            ray.kill(sim._driver.engine.crew.actors[1])
            sim.advance(11)
            branch.advance(11)
            np.testing.assert_array_equal(sim.parameters(), branch.parameters())
        np.testing.assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-10)
        assert sim.history["sim_seconds"].iloc[-1] == rounds["sim_seconds"].iloc[-1]
        assert sim.history["bytes_sent"].iloc[-1] == rounds["bytes_sent"].iloc[-1]
    with p2pqg.Simulation.restore(path, clients_per_actor=5) as sim:
        sim.advance(11)
        np.testing.assert_allclose(sim.parameters(), expected, rtol=0, atol=1e-10)
