"""Where a simulation computes, and what is said of it."""

import pytest

import p2pqg

TINY = {"topology": "ring4", "dataset": "digits", "rounds": 2}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, []),
        ({"transport": "object-store", "clients_per_actor": 2}, []),
        (
            {"transport": "direct"},
            ["transport direct is ignored: engine local has no actors to carry rows between"],
        ),
        (
            {"address": "10.0.0.1:6379"},
            ["address 10.0.0.1:6379 is ignored: engine local computes in this process"],
        ),
    ],
)
def test_the_local_engine_says_which_settings_of_rays_mean_nothing_to_it(more, said):
    with p2pqg.Simulation(**TINY, **more, engine="local") as sim:
        assert sim.hosting.notes == said


def test_a_run_that_goes_on_without_actors_says_it_too(tmp_path):
    settings = TINY | {"engine": "local", "transport": "direct"}
    with p2pqg.Simulation(**settings) as sim:
        sim.checkpoint(tmp_path / "start")
    with p2pqg.Simulation.restore(tmp_path / "start") as sim:
        assert len(sim.hosting.notes) == 1
