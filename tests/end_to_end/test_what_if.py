"""Forks and interventions on real Ray actors give what they give in this process."""

import numpy as np
import pytest
from toys import TOY

import p2pqg
from p2pqg.base.errors import ConfigError

SETTINGS = TOY | {
    "rounds": 60,
    "eval_every": 5,
    "precision": "float64",
    "clients_per_actor": 3,
}
MEASURED = ["train_loss", "consensus_distance", "test_accuracy", "mean_drift", "sim_seconds"]


def what_if(sim):
    """One of everything, on a fork; parameters and history of the fork at its end."""
    with sim.fork() as branch:
        branch.drop_links(["0-1", (3, 4)])
        branch.advance(4)
        branch.drop_clients([2])
        branch.set_impairments(loss=0.2, delay=(0, 2), noise=0.01)
        branch.advance(4)
        branch.restore_clients(how="average")
        branch.restore_links()
        branch.set_lr(0.02)
        branch.set_algorithm_params(beta=0.5)
        branch.advance(4)
        branch.set_topology("complete6")
        branch.set_impairments(delay=0, participation=0.7)
        branch.advance(4)
        return branch.parameters(), branch.history, branch.events


def assert_close(a, b):
    np.testing.assert_allclose(a[0], b[0], rtol=0, atol=1e-10)
    for column in MEASURED:
        np.testing.assert_allclose(a[1][column], b[1][column], rtol=0, atol=1e-10)
    for column in ("bytes_sent", "present", "components"):
        assert a[1][column].tolist() == b[1][column].tolist()
    assert [event["what"] for event in a[2]] == [event["what"] for event in b[2]]


def test_actors_do_with_a_fork_what_this_process_does(cluster):
    clock = {"network": {"links": "4g", "compute": {"seconds": 1, "varies": "uniform"}}}
    with p2pqg.Simulation(**SETTINGS, **clock) as sim:
        sim.advance(7)
        left_alone = sim.fork()
        forked = what_if(sim)
        sim.advance(9)
        x, history = sim.parameters(), sim.history
        with pytest.raises(ConfigError, match="no client is called 9"):
            sim.drop_clients([9])
    # The parent is closed: its actors live on for the fork.
    left_alone.advance(9)
    assert (left_alone.parameters() == x).all()
    drop = "wall_seconds"
    assert left_alone.history.drop(columns=drop).equals(history.drop(columns=drop))
    left_alone.close()
    with pytest.raises(ConfigError, match="this simulation is closed"):
        left_alone.fork()

    with p2pqg.Simulation(**SETTINGS, **clock, engine="local") as here:
        here.advance(7)
        assert_close(forked, what_if(here))
        here.advance(9)
        np.testing.assert_allclose(x, here.parameters(), rtol=0, atol=1e-10)


def test_simulations_side_by_side_do_not_wait_for_each_others_cores(cluster):
    with (
        p2pqg.Simulation(**SETTINGS) as one,
        p2pqg.Simulation(**SETTINGS | {"algorithm": "dsgd", "clients_per_actor": 6}) as other,
    ):
        for sim in (one, other, one):
            sim.advance(3)
        assert (one.round, other.round) == (6, 3)


def test_clients_join_on_actors_of_their_own_and_a_scenario_crosses_it(cluster):
    scenario = [
        {"at": 3, "add_clients": {"count": 1, "links": ["6-0", "6-3"]}},
        {"at": 6, "drop_clients": [6]},
        {"at": 8, "restore_clients": {"how": "neighbor"}},
    ]
    found = []
    for engine in ("ray", "local"):
        settings = {"engine": engine, "scenario": scenario, "clients_per_actor": 6}
        with p2pqg.Simulation(**SETTINGS | settings) as sim:
            sim.advance(12)
            found.append((sim.parameters(), sim.history, sim.events, sim.placement.bounds))
    (x, history, events, bounds), (y, history_here, events_here, bounds_here) = found
    assert bounds == bounds_here == (0, 4, 7)
    np.testing.assert_allclose(x, y, rtol=0, atol=1e-10)
    np.testing.assert_allclose(history["train_loss"], history_here["train_loss"], atol=1e-10)
    assert events == events_here


def test_what_a_claim_is_checked_with_is_the_same_on_actors(cluster):
    """States, batches, W of the past and of now, after the network has changed and grown."""

    def seen(engine):
        settings = {"engine": engine, "clients_per_actor": 6}  # one that becomes two
        with p2pqg.Simulation(**SETTINGS | settings) as sim:
            sim.advance(3)
            sim.drop_links(["0-1"])
            sim.advance(3)
            sim.add_clients(1)
            sim.advance(2)
            states = sim.state(6) | {f"first {k}": v for k, v in sim.state(0).items()}
            network = {f"W{round}": sim.W(round) for round in (0, 4, 7, 20)}
            more = {"batch": sim.batch(6, 7)[0], "shard": sim.shard(6)[1], "all": sim.parameters()}
            return states | network | more

    ours, theirs = seen("ray"), seen("local")
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=0, atol=1e-10, err_msg=name)
    assert np.array_equal(ours["x"], ours["all"][6])
    assert ours["W0"][0, 1] > ours["W4"][0, 1] == 0
    assert [ours[name].shape for name in ("W4", "W7")] == [(6, 6), (7, 7)]
