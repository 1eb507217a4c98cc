"""Clients that do not wait, in a simulation: changes of speed, the screen, the report."""

import re

import numpy as np
import pytest
from toys import TOY, assert_same

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.engine.bookkeeping import Logbook
from p2pqg.page import write_page
from p2pqg.running.told import about, outcome
from p2pqg.simulation import life
from p2pqg.simulation.summary import pace

PACE = TOY | {"algorithm": "ad-psgd", "engine": "local", "network": {"compute": "1 s"}}


def test_who_becomes_slow_ends_its_gradient_as_it_began_and_then_is_slow():
    with p2pqg.Simulation(**PACE, rounds=20) as sim:
        sim.advance(5)  # all have made 5 steps, at 5 s
        sim.set_network(compute={"speeds": {"3": 0.1}})
        sim.advance(
            8
        )  # 78 steps: the others make one a second, client 3 one at 6 s, the next at 16 s
        summary = sim.summary()
        assert summary["least_steps"] == 6
        assert summary["most_steps"] == 15
        assert sim.sim_seconds == 15.0


def test_rows_tell_as_much_of_how_old_the_news_was_as_they_have_rounds():
    log = Logbook(steps=np.array([3, 9]))
    assert pace(log, 3)["staleness_mean"] is pace(log, 3)["staleness_max"] is None
    for round, mean, most in [(19, 1.0, 3.0), (20, None, None), (25, 3.5, 2.0)]:
        log.rounds.append({"round": round, "staleness_mean": mean, "staleness_max": most})
    told = {"least_steps": 3, "most_steps": 9, "staleness_mean": 1.5, "staleness_max": 3.0}
    assert pace(log, 3) == told  # (20 * 1 + 5 * 3.5) / 25


def test_a_time_is_reached_in_the_round_whose_last_step_is_after_it():
    slow = {"network": {"compute": "2 s"}}
    for time, rounds in (("7.5 s", 4), ("8 s", 4), ("8.5 s", 5)):
        with p2pqg.Simulation(**PACE | slow, time=time) as sim:
            assert sim.experiment.num_rounds == rounds


@pytest.mark.parametrize("algorithm", ["ad-psgd", "async-dsgdm-n"])
@pytest.mark.parametrize(("time", "steps"), [("0.5 s", 0), ("1 s", 1), ("2.5 s", 2), ("4 s", 4)])
def test_steps_that_the_end_of_the_clock_cuts_off_are_not_told(algorithm, time, steps):
    with p2pqg.Simulation(**PACE | {"algorithm": algorithm}, time=time, record_every=1) as sim:
        sim.finish()
        assert sim.summary()["most_steps"] == sim.summary()["gradients"] == steps
        row = sim.history.iloc[-1]
        assert row["gradients"] == steps
        assert row["epoch"] == steps / sim.experiment.steps_per_epoch


@pytest.mark.parametrize("algorithm", ["dsgd", "ad-psgd", "async-dsgdm-n"])
@pytest.mark.parametrize(("compute", "time"), [(0.1, "1 s"), (0.7, "7 s")])
def test_ten_rounds_fill_ten_times_the_seconds_of_one_though_their_sum_is_rounded(
    algorithm, compute, time
):
    """It is 0.9999999999999999 s, and 7.000000000000001 s."""
    at = f"{8 * compute} s"  # as a sum 0.7999999999999999 s
    settings = {"algorithm": algorithm, "network": {"compute": compute}, "time": time}
    with p2pqg.Simulation(**PACE | settings, scenario=[{"at": at, "set_lr": 0.01}]) as sim:
        sim.finish()
        assert (sim.experiment.num_rounds, sim.round) == (10, 10)
        assert sim.history["gradients"].iloc[-1] == 10
        assert sim.events[0]["round"] == 8


def test_clients_meet_where_messages_get_lost():
    """W of a round that lacks lost messages is directed; the network is not."""
    with p2pqg.Simulation(**PACE, rounds=5, impairments={"loss": 0.5}) as sim:
        sim.advance(5)
        assert sim.summary()["least_steps"] == 5


def test_there_must_be_a_clock_to_set_and_nobody_may_be_infinitely_fast():
    with (
        p2pqg.Simulation(**TOY, engine="local", rounds=5) as sim,
        pytest.raises(ConfigError, match="there is no simulated clock; begin with one"),
    ):
        sim.set_network(compute={"speeds": {"3": 0.1}})
    with (
        p2pqg.Simulation(**PACE, rounds=5) as sim,
        pytest.raises(ConfigError, match="compute must be > 0 for every client"),
    ):
        sim.set_network(compute={"seconds": 0})


def test_a_clock_that_is_wrong_is_not_called_missing_and_rounds_that_wait_are_refused():
    def told(clock):
        with pytest.raises(ConfigError) as error:
            p2pqg.Simulation(**PACE | {"network": {"compute": "1 s"} | clock}, rounds=5)
        return str(error.value)

    assert told({"compute": {"seconds": 1, "speeds": {"3": 0}}}) == (
        "network.compute.speeds.3 must be > 0 and finite, got 0.0"
    )
    assert "network.synchrony says for whom a round waits" in told({"synchrony": "neighbors"})


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ({"time": "4 s"}, "until 4.0 s on the simulated clock: 4 rounds"),
        ({"steps": 3}, "until every client has made 3 steps: 3 rounds"),
    ],
)
def test_the_screen_says_what_ends_a_run_and_what_more_would_be(tmp_path, ends, said):
    settings = PACE | ends | {"out": str(tmp_path)}
    with p2pqg.Simulation(**settings) as sim:
        told = dict(about(sim))
        assert told["length"].startswith(said)
        assert "nobody waits" in told["clock"]
    run = p2pqg.run(**settings)
    count = re.match(r".*: (\d+) rounds", said)[1]
    assert dict(outcome(run))["steps"].startswith(f"{count} to {count} of a client; the news was ")
    (key,) = ends
    with pytest.raises(ConfigError, match=f"ask for more with --{key}"):
        p2pqg.resume(run.path)


def test_the_report_draws_who_made_how_many_steps_and_how_old_the_news_was(tmp_path):
    slow = {"compute": {"seconds": 1.0, "speeds": {"3": 0.1}}}
    alone = p2pqg.run(**PACE | {"network": slow, "out": str(tmp_path), "name": "alone"}, rounds=20)
    page = write_page([alone.path]).read_text("utf-8")
    assert "How old the news was" in page
    assert "Steps of every client" in page
    told = re.search(
        r'aria-label="Steps of every client, sorted. ad-psgd: (\d+) steps? to (\d+)', page
    )
    steps = alone.clients.groupby("client")["steps"].max()
    assert told
    assert [int(told[1]), int(told[2])] == [steps.min(), steps.max()]
    assert steps.min() == steps[3]
    together = p2pqg.run(**TOY, engine="local", rounds=3, out=str(tmp_path), name="together")
    page = write_page([together.path]).read_text("utf-8")
    assert "Steps of every client" not in page
    assert "How old the news was" not in page


ODD = PACE | {
    "topology": "ring9",
    "model": {"name": "mlp", "hidden": [37, 19]},  # rows of such lengths begin anywhere in memory
    "dataset": {"name": "synthetic", "samples": 300, "features": 30, "classes": 10},
    "network": {"compute": {"seconds": 1, "speeds": "lognormal", "varies": "exponential"}},
    "record_every": 5,
    "eval_every": 15,
}


@pytest.mark.parametrize(
    "settings",
    [
        {"time": 30.0},
        {"rounds": 30, "scenario": [{"at": "28 s", "set_lr": 0.01}]},
    ],
)
def test_who_was_stopped_and_goes_on_computes_the_same_at_once(monkeypatch, tmp_path, settings):
    """How far is looked ahead is counted from where one stands; waves are not cut there."""
    monkeypatch.setattr(life, "LOOK_AHEAD", 7)
    with p2pqg.Simulation(**ODD | settings) as sim:
        sim.advance(15)
        path = sim.checkpoint(tmp_path / "saved")
    with p2pqg.Simulation(**ODD | settings) as whole, p2pqg.Simulation.restore(path) as again:
        whole.finish()
        again.finish()
        assert_same(again, whole)
