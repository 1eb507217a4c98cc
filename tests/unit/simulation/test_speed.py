"""What a summary says of speed is of the rounds, and of nothing in between."""

import time

import pytest

from p2pqg import Simulation
from p2pqg.simulation.speed import Speed

SMALL = {"topology": "ring4", "model": "logistic", "engine": "local", "rounds": 100}


def steps(sim):
    return sim._speed_so_far.steps


def test_who_thinks_between_two_calls_does_not_slow_clients_down():
    """The time in between was counted, so that a notebook's clients became ever slower."""
    with Simulation(**SMALL) as sim:
        assert sim.summary(evaluate=False)["client_steps_per_second"] is None
        sim.advance(10)
        before = sim.summary(evaluate=False)["client_steps_per_second"]
        time.sleep(0.05)
        assert sim.summary(evaluate=False)["client_steps_per_second"] == before
        assert steps(sim) == 9 * 4  # all but those of the first round
        branch = sim.fork()
        sim.advance(10)
        assert (steps(sim), steps(branch)) == (19 * 4, 9 * 4)
        branch.close()


def test_steps_are_those_that_clients_made():
    """Who sat out, or left, had counted, and who joined had not."""
    with Simulation(**SMALL, algorithm="dsgd") as sim:
        sim.advance(1)
        sim.drop_clients([0])
        sim.advance(2)
        sim.set_algorithm_params(local_steps=5)
        sim.advance(2)
        sim.add_clients(1)
        sim.advance(1)
        assert steps(sim) == 2 * 3 + 2 * 3 * 5 + 4 * 5


def test_clients_that_do_not_wait_make_as_many_as_are_told():
    settings = {**SMALL, "algorithm": "ad-psgd", "rounds": 12, "network": {"compute": "1 s"}}
    with Simulation(**settings) as sim:
        sim.advance(12)
        assert steps(sim) + 4 == sim._driver.log.steps.sum()


def test_only_the_time_inside_counts_and_what_was_before_the_end_of_the_first_round_does_not(
    monkeypatch,
):
    now = [0.0]
    monkeypatch.setattr("p2pqg.simulation.speed.time.perf_counter", lambda: now[0])
    speed = Speed()
    with speed.running(from_now=False):
        now[0] = 100.0
        speed.first_round_is_over()
        now[0] = 101.0
        speed.steps = 10
        assert speed.per_second == pytest.approx(10)
        now[0] = 102.0
    now[0] = 500.0
    with speed.running(from_now=True):
        now[0] = 503.0
    assert speed.per_second == pytest.approx(10 / 5)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_set_meanwhile_changes_no_measurement(hours, monkeypatch):
    """`sim.seconds` and wall_seconds were minus three hours."""
    with Simulation(**SMALL, profile=True) as sim:
        sim.advance(1)
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 3600 * hours)
        sim.advance(1)
        seconds = sim.history["wall_seconds"]
        assert 0 < seconds[0] < seconds[1] < sim.seconds < 600
        assert 0 < sim.summary()["startup_seconds"] < 600
        assert all(0 <= one < 600 for of in sim.profile().values() for one in of.values())
