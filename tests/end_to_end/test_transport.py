"""Ray's direct transport carries the rows that the object store carries, to the bit."""

import os
import signal

import pytest
import ray
from toys import TOY

import p2pqg

pytestmark = pytest.mark.slow  # actors find each other in seconds
SETTINGS = TOY | {"rounds": 30, "clients_per_actor": 3}


def simulate(**settings):
    with p2pqg.Simulation(**SETTINGS | settings) as sim:
        sim.advance(30)
        return sim.parameters(), sim.history.drop(columns="wall_seconds")


@pytest.mark.parametrize(
    "settings",
    [
        {"clients_per_actor": 2},  # neighbors on both sides want different rows
        {"topology": "chain6", "algorithm": "relay-sgd"},  # messages for one edge each
        {"algorithm": "slowmo"},  # gossip and all-reduce
        {"consensus": {"targets": [1e-4]}},  # the driver reads along
        {"impairments": {"delay": [0, 2]}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_every_kind_of_message_arrives_bit_for_bit(cluster, settings):
    x, history = simulate(**settings)
    y, direct = simulate(**settings, transport="direct")
    assert (x == y).all()
    assert history.equals(direct)


def test_forks_and_restarts_go_on_bit_for_bit(cluster):
    x, _ = simulate()
    with p2pqg.Simulation(**SETTINGS, transport="direct") as sim:
        sim.advance(10)
        with sim.fork() as branch:
            branch.advance(20)
            assert (branch.parameters() == x).all()
        actor = sim._driver.engine.group.actors[1]
        os.kill(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())), signal.SIGKILL)
        sim.advance(20)
        assert (sim.parameters() == x).all()


def test_tensors_that_have_arrived_are_forgotten(cluster):
    def tensors_kept(_):
        return ray._private.worker.global_worker.rdt_manager.rdt_store.get_num_objects()

    with p2pqg.Simulation(**SETTINGS | {"rounds": 200}, transport="direct") as sim:
        sim.advance(200)
        sim.parameters()
        actors = sim._driver.engine.group.actors
        assert max(ray.get([a.__ray_call__.remote(tensors_kept) for a in actors])) <= 2
