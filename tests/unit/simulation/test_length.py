"""How often a run is evaluated by default, by what that costs."""

from types import SimpleNamespace

import numpy as np
import pytest
from toys import TOY, assert_same

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.recipe.settings import RunConfig
from p2pqg.simulation import life
from p2pqg.simulation.length import evaluations
from p2pqg.simulation.life import Life


@pytest.mark.parametrize(
    ("num_rounds", "samples", "traits", "every"),
    [
        (1000, 100, {}, (10, True)),  # 300 test samples cost as much as a round: 100 times at most
        (10_000, 100, {}, (100, True)),
        (500, 100, {}, (10, True)),  # a tenth of the run: 50 times
        (20, 100, {}, (10, True)),
        (10, 100, {}, (10, False)),  # once, which is at the end
        (5, 100, {}, (5, False)),
        (500, 50, {}, (20, True)),  # half as many samples a round, and an evaluation costs two
        (500, 50, {"cost": 1}, (5, True)),  # linear layers: half a round
    ],
)
def test_by_default_evaluations_take_a_tenth_of_a_run_and_are_a_hundred_at_most(
    num_rounds, samples, traits, every
):
    found = SimpleNamespace(
        arrays=SimpleNamespace(test_y=np.zeros(300)),
        blueprint=SimpleNamespace(entry=SimpleNamespace(traits=traits)),
    )
    assert evaluations(num_rounds, samples, RunConfig(), found) == every
    assert evaluations(num_rounds, samples, RunConfig(eval_every=7), found) == (7, False)
    assert evaluations(num_rounds, samples, RunConfig(eval_first=True), found) == (every[0], True)


def test_a_run_that_ends_by_a_clock_needs_one():
    with pytest.raises(ConfigError, match="time is that of the simulated clock, and there is none"):
        p2pqg.Simulation(**TOY, engine="local", time="10 s")


CLOCKED = TOY | {
    "engine": "local",
    "record_every": 1,
    "eval_every": 4,
    "eval_first": False,
    "network": {"compute": 1.0},
}


@pytest.mark.parametrize(
    ("more", "gradients"),
    [
        ({"algorithm": "gt-hsgd"}, lambda round: 2 if round else 1),
        ({"algorithm": {"name": "slowmo", "tau": 2}}, lambda round: 1),  # one more mean in two
        ({"algorithm": {"name": "diloco", "local_steps": 2}}, lambda round: 2),
        ({"algorithm": "cga", "topology": "complete4"}, lambda round: 4),
        (
            {"scenario": [{"at": 3, "set_algorithm_params": {"local_steps": 3}}]},
            lambda round: 3 if round > 2 else 1,
        ),
    ],
)
def test_a_run_ends_with_the_round_in_which_its_time_is_over_and_is_evaluated_as_set(
    more, gradients
):
    with p2pqg.Simulation(**CLOCKED | more, time=10) as sim:
        sim.finish()
        seconds = np.cumsum([gradients(round) for round in range(20)])
        wanted = int(np.searchsorted(seconds, 10)) + 1  # what began before the end is waited for
        assert (sim.round, sim.sim_seconds) == (wanted, seconds[wanted - 1])
        evaluated = sim.history.loc[sim.history["test_loss"].notna(), "round"] + 1
        assert evaluated.tolist() == sorted({*range(4, wanted, 4), wanted})


@pytest.mark.parametrize("more", [{}, {"consensus": {"targets": [0.01]}}])
def test_a_run_on_the_clock_that_was_led_by_hand_is_evaluated_as_one_in_one_go(more):
    """Also where each round may be the last: nobody knows how long control gossips."""
    settings = CLOCKED | more | {"time": 6}
    with p2pqg.Simulation(**settings) as whole, p2pqg.Simulation(**settings) as parts:
        whole.finish()
        parts.advance(rounds=2)
        parts.finish()
        assert_same(whole, parts)


@pytest.mark.parametrize(
    ("more", "looks"),
    [
        ({}, 1),
        ({"scenario": [{"at": 3, "drop_links": ["0-1"]}]}, 2),  # anew, as the network is another
        ({"scenario": [{"at": "3.5 s", "set_algorithm_params": {"beta": 0.5}}]}, 2),
        ({"algorithm": "async-qg-dsgdm-n"}, 1),
    ],
    ids=str,
)
def test_who_asks_after_each_round_whether_it_is_over_lets_the_clock_be_read_once(
    more, looks, monkeypatch
):
    settings, looked = CLOCKED | more | {"time": 12}, []
    with p2pqg.Simulation(**settings) as whole, p2pqg.Simulation(**settings) as parts:
        whole.finish()
        first = Life._first

        def counted(self, reached, most):
            looked.append(most - self.round > 1)  # not just at the next round
            return first(self, reached, most)

        monkeypatch.setattr(Life, "_first", counted)
        while not parts.is_over:
            parts.advance(rounds=1)
        assert sum(looked) == looks
        assert_same(whole, parts)


@pytest.mark.parametrize("by_hand", [False, True])
def test_the_last_round_is_evaluated_also_where_no_further_one_was_looked_at(by_hand, monkeypatch):
    monkeypatch.setattr(life, "LOOK_AHEAD", 6)
    with p2pqg.Simulation(**CLOCKED, time=6) as sim:
        while by_hand and not sim.is_over:
            sim.advance(rounds=1)
        sim.finish()
        assert (sim.history.loc[sim.history["test_loss"].notna(), "round"] + 1).tolist() == [4, 6]


SLOWER = {"set_network": {"compute": 2.0}}
STRAGGLER = {"network": {"compute": {"seconds": 1.0, "speeds": {"3": 0.1}}}, "steps": 4}


@pytest.mark.parametrize(
    "more",
    [
        {"time": 6.5, "scenario": [{"at": 5, **SLOWER}]},  # to 7 s
        {"time": 6.5, "scenario": [{"at": "4.5 s", **SLOWER}]},
        STRAGGLER | {"algorithm": "ad-psgd", "scenario": [{"at": 5, "drop_clients": [3]}]},
    ],
    ids=str,
)
def test_the_round_after_an_event_that_makes_it_the_last_is_evaluated(more):
    """Without the event there are more."""
    with p2pqg.Simulation(**CLOCKED | more) as whole, p2pqg.Simulation(**CLOCKED | more) as parts:
        whole.finish()
        while not parts.is_over:
            parts.advance(rounds=1)
        for sim in (whole, parts):
            assert sim.round == 6
            evaluated = sim.history["test_loss"].notna()
            assert (sim.history.loc[evaluated, "round"] + 1).tolist() == [4, 6]


def test_a_callback_that_sends_away_whom_a_run_waits_for_ends_it_with_its_round():
    def send_away(sim, row):
        if sim.round == 5:
            sim.drop_clients([3])

    settings = CLOCKED | STRAGGLER | {"algorithm": "ad-psgd", "callbacks": [send_away]}
    with p2pqg.Simulation(**settings) as whole, p2pqg.Simulation(**settings) as parts:
        whole.finish()
        while not parts.is_over:
            parts.advance(rounds=1)
        assert whole.round == parts.round == 5


def test_who_is_in_time_goes_by_the_gradients_of_the_rounds_that_are(tmp_path):
    """Rounds of three gradients take 3 s, and 1.5 s where a client is twice as fast."""
    compute = {"seconds": 1.0, "speeds": {"0": 2.0}}
    settings = CLOCKED | {"rounds": 9, "network": {"compute": compute, "deadline": 2.0}}
    with p2pqg.Simulation(**settings) as sim:
        sim.advance(rounds=1)
        assert ((sim.W(0) > 0).sum(1) == 3).all()  # a ring; all are in time
        sim.set_algorithm_params(local_steps=3)
        sim.advance(rounds=1)
        sim.checkpoint(tmp_path / "saved")
        with p2pqg.Simulation.restore(tmp_path / "saved") as again:
            for one in (sim, again):
                one.advance(rounds=1)
                heard = (one.W(2) > 0).sum(1)
                assert heard.tolist() == [1, 2, 1, 1, 1, 2]  # by its neighbors, of client 0 alone
            assert_same(sim, again)
        with pytest.raises(ConfigError, match="computes its 5 gradients of a round, got 2 s"):
            sim.set_algorithm_params(local_steps=5)


def test_a_deadline_is_refused_in_its_own_words_where_clients_do_not_wait():
    with (
        p2pqg.Simulation(**CLOCKED | {"algorithm": "swift"}, rounds=4) as sim,
        pytest.raises(ConfigError, match=r"network\.deadline ends a round for all"),
    ):
        sim.set_network(deadline=9.0)
    late = [{"at": 1, "set_network": {"deadline": 9.0}}]
    with pytest.raises(ConfigError, match=r"network\.deadline ends a round for all"):
        p2pqg.Simulation(**CLOCKED | {"algorithm": "swift", "scenario": late}, rounds=4)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"time": "1e18 s"},
            "time 1e18 s is more than 1,000,000 rounds; after 1,000 the simulated",
        ),
        ({"epochs": 1e30}, r"1e\+30 epochs are .* rounds; a run has 9.223e\+18 at most"),
        ({"planned_epochs": 1e30, "rounds": 3}, r"1e\+30 epochs are .* rounds"),
        (
            {"local_steps": 10**8, "rounds": 3},
            "10,000,000 steps of a client at most, got 100,000,000",
        ),
        ({"local_epochs": 1e30, "rounds": 3}, "make local_steps or local_epochs less"),
    ],
)
def test_an_end_that_is_too_far_away_is_told_of_at_once(settings, told):
    local = {"algorithm": "dfedavgm"} if any("local" in key for key in settings) else {}
    with pytest.raises(ConfigError, match=told):
        p2pqg.Simulation(**CLOCKED | {"rounds": None} | local | settings)
