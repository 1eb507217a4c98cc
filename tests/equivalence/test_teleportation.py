"""Teleportation against its own words: slots whose models move from client to client."""

import numpy as np
import pytest
from toys import TOY

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.testing import assert_same, dense, run
from p2pqg.theory.quadratics import Quadratics, starts
from p2pqg.topology.teleportation import TeleportationParams, active


@pytest.mark.parametrize("k", [2, 3, 4, 8])
def test_slots_gossip_and_move_and_whoever_is_in_one_takes_a_step(k):
    problem, x0, lr, rounds = Quadratics.random(), starts()[0], 0.05, 9
    found = run(
        "teleportation", problem, x0, topology=f"teleportation8:k={k},seed=3", lr=lr, rounds=rounds
    )
    hops = {2: [0, 1], 3: [0, 1, 2], 4: [0, 1, 2], 8: [0, 1, 2, 4]}[k]
    slots, last = np.tile(x0, (k, 1)), np.tile(x0, (8, 1))
    for round in range(rounds):
        clients = active(8, TeleportationParams(k=k, seed=3), round)
        arrived = last.copy()
        for slot, client in enumerate(clients):
            arrived[client] = np.mean([slots[(slot + hop) % k] for hop in hops], axis=0)
        gradient = problem.gradient(arrived, round)
        for client in clients:
            last[client] = arrived[client] - lr * gradient[client]
        slots = last[clients]
        assert_same(found[round + 1], last)


def test_other_clients_are_drawn_in_every_round_and_all_in_time():
    params = TeleportationParams(k=4, seed=1)
    drawn = [frozenset(active(16, params, round).tolist()) for round in range(60)]
    assert {len(clients) for clients in drawn} == {4}
    assert len(set(drawn)) > 50
    assert frozenset().union(*drawn) == set(range(16))


def test_rows_sum_to_one_and_k_of_them_are_not_idle():
    for round in range(5):
        W = dense("teleportation16:k=5,seed=2", round)
        assert_same(W.sum(1), np.ones(16))
        now = active(16, TeleportationParams(k=5, seed=2), round)
        assert set(np.flatnonzero((np.eye(16) != W).any(1))) == set(now.tolist())


@pytest.mark.parametrize(
    ("topology", "told"),
    [
        ("ring8", "teleportation needs the network that is made for it. Use teleportation8"),
        ("teleportation8:k=9", "k must be <= clients"),
        ("teleportation8:k=1", "k must be >= 2"),
    ],
)
def test_networks_that_will_not_do_are_refused(topology, told):
    with pytest.raises(ConfigError, match=told):
        run("teleportation", topology=topology, rounds=1)


def test_who_is_alone_is_told_a_network_that_can_be():
    with pytest.raises(ConfigError, match=r"Use teleportation2\.") as told:
        p2pqg.Simulation(topology="ring1", algorithm="teleportation", rounds=1, engine="local")
    assert p2pqg.mixing_matrix(str(told.value).split()[-1].rstrip(".")).shape == (2, 2)


def test_a_rule_that_starts_from_the_own_model_is_refused():
    with pytest.raises(ConfigError, match="fetches models of others, and has none of its own"):
        run("teleportation", topology="teleportation8", rounds=1, rule="median")


def test_its_network_stays_and_nobody_is_told_of_a_memory_that_it_does_not_have():
    settings = {"topology": "teleportation8", "algorithm": "teleportation", "engine": "local"}
    with p2pqg.Simulation(**TOY | settings) as sim:
        sim.advance(1)
        with pytest.raises(ConfigError, match="counts on every message of the network that is"):
            sim.set_topology("teleportation8:k=2")
