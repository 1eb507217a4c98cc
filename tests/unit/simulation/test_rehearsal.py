"""What a scenario says is refused before the run if, and only if, the run could not do it."""

import random

import numpy as np
import pytest

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.network import scenario

X = np.random.default_rng(0).normal(size=(60, 2)).astype("float32")
Y = (X[:, 0] > 0).astype(int)
SMALL = {
    "topology": "ring6",
    "dataset": (X, Y, X[:20], Y[:20]),
    "engine": "local",
    "rounds": 8,
    "batch_size": 4,
    "algorithm": "dsgd",
    "network": {"compute": 1.0},
}
ITEMS = [
    {"drop_links": [[0, 1]]},
    {"restore_links": [[0, 1]]},
    {"restore_links": "all"},
    {"add_links": [[0, 3]]},
    {"drop_clients": [5]},
    {"drop_clients": [0, 1, 2, 3, 4]},
    {"restore_clients": [5]},
    {"restore_clients": {"clients": "all", "how": "average"}},
    {"add_clients": {"count": 1, "links": [[6, 0]]}},
    {"set_topology": "complete"},
    {"set_rule": "clipped"},
    {"attack": {"who": [1], "how": "sign-flip"}},
    {"attack": {"who": [0, 1, 2, 3, 4], "how": "noise"}},
    {"stop_attack": [1]},
    {"set_network": {"compute": 0.5}},
    {"set_impairments": {"loss": 0.1}},
]
ATTACKS = [
    [],
    [{"who": [1], "how": "sign-flip", "when": [0, 2]}],
    [{"who": [0, 1, 2, 3, 4], "how": "sign-flip", "when": [0, 2]}],
    [{"who": [0, 1, 2, 3, 4], "how": "sign-flip", "when": 6}],
]


def outcome(**settings):
    """How a run of a scenario ends, and what was told before it."""
    try:
        sim = p2pqg.Simulation(**SMALL | settings)
    except ConfigError as error:
        return "refused", str(error)
    with sim:
        try:
            sim.finish()
        except ConfigError as error:
            return "failed", "\n".join([*sim.experiment.warnings, str(error)])
        return "done", "\n".join(sim.experiment.warnings)


def drawn(seed, times):
    """A scenario of two items or three."""
    draw = random.Random(seed)
    items = [{"at": draw.choice(times)} | draw.choice(ITEMS) for _ in range(draw.choice([2, 3]))]
    return {"scenario": items, "attacks": draw.choice(ATTACKS)}


@pytest.mark.parametrize("seed", range(16))
def test_by_rounds_all_that_fails_is_refused_and_nothing_else(seed, monkeypatch):
    said = drawn(seed, [1, 3, 5])
    found, why = outcome(**said)
    with monkeypatch.context() as patch:
        patch.setattr(scenario, "trial", lambda *given: ({}, []))  # nothing is tried before
        assert {"refused": "failed"}.get(found, found) == outcome(**said)[0], (said, why)
    assert found != "failed", (said, why)


@pytest.mark.parametrize("seed", range(16))
def test_by_seconds_what_can_be_done_is_not_refused_and_what_may_fail_is_told(seed, monkeypatch):
    said = drawn(seed, [1, 3, 5, "1.5 s", "2.5 s", "3.5 s"])  # all are due in eight rounds
    found, told = outcome(**said)
    with monkeypatch.context() as patch:
        patch.setattr(scenario, "trial", lambda *given: ({}, []))
        assert (found == "done") == (outcome(**said)[0] == "done"), (said, told)
    if found == "failed":
        assert "come first" in told or "come between" in told or "over by then" in told


def test_who_lied_until_a_round_may_be_all_that_is_left_after_a_second():
    liars = {"who": [0, 1, 2, 3, 4], "how": "sign-flip"}
    leaves = [{"at": "5.5 s", "drop_clients": [5]}]
    found, told = outcome(attacks=[liars | {"when": [0, 2]}], scenario=leaves)
    assert found == "done"
    line = "scenario[0].drop_clients: nobody honest would be left; stop_attack first, or keep one: "
    assert line + "it depends on what is over by then" in told
    found, told = outcome(attacks=[liars], scenario=leaves)  # without an end
    assert found == "refused"
    assert told == line.removesuffix(": ")


def test_who_lies_no_more_cannot_be_stopped():
    over = [{"who": [1], "how": "sign-flip", "when": [0, 2]}]
    found, told = outcome(attacks=over, scenario=[{"at": 5, "stop_attack": [1]}])
    assert (found, told[-40:]) == (
        "refused",
        "stop_attack: client 1 does not lie; leave it out"[-40:],
    )
    assert outcome(attacks=over, scenario=[{"at": 2, "stop_attack": [1]}])[0] == "done"
    assert outcome(attacks=over, scenario=[{"at": 5, "stop_attack": "all"}])[0] == "done"


def test_a_new_client_without_a_neighbor_is_refused_before_the_run():
    items = [{"at": at, "add_clients": {"count": 1, "links": [[6, 0]]}} for at in (2, 4)]
    found, told = outcome(scenario=items)  # the second is client 7, and has no link
    assert found == "refused"
    assert told.endswith(
        "add_clients: client 7 has no neighbor to take a model from; give it a link"
    )


def test_what_fails_in_every_order_of_rounds_and_seconds_is_refused():
    twice = [{"at": 3, "drop_clients": [5]}, {"at": "2.5 s", "drop_clients": [5]}]
    assert outcome(scenario=twice)[0] == "refused"
    liars = [{"who": [0, 1, 2, 3, 4], "how": "sign-flip", "when": [0, 2]}]
    leaves = [{"at": "2.5 s", "drop_clients": [5]}, {"at": 1, "restore_clients": [5]}]
    found, told = outcome(attacks=liars, scenario=leaves)  # before round 1 it is the only honest
    assert (found, told[12:]) == (
        "refused",
        "restore_clients: client 5 did not leave; leave it out",
    )
    back = [{"at": 3, "drop_clients": [5]}, {"at": "3.5 s", "restore_clients": [5]}]
    found, told = outcome(scenario=back)
    assert found == "done"
    assert "client 5 did not leave; leave it out: so it will be where seconds come first" in told


def test_a_round_that_an_event_brings_before_the_end_of_the_time_is_not_refused():
    by_time = {"rounds": None, "time": 8}  # eight rounds of a second
    faster = {"at": 4, "set_network": {"compute": 0.25}}  # and 16 more instead of four
    late = {"at": 12, "set_lr": 0.01}
    found, told = outcome(**by_time, scenario=[late])
    assert (found, told[:65]) == (
        "refused",
        "scenario[0] is in round 12, but the last round is 7; make it earl",
    )
    with p2pqg.Simulation(**SMALL | by_time | {"scenario": [faster, late]}) as sim:
        sim.finish()
        assert sim.history["lr"].iloc[-1] == 0.01
        line = (
            "scenario[1] is in round 12, but the last round is 7, if the pace stays: it may never"
        )
        assert any(one.startswith(line) for one in sim.experiment.warnings)


@pytest.mark.parametrize("at", [0, 1, 4, 7, "4 s", "4.5 s"])
def test_a_run_that_ends_by_the_clock_goes_on_after_an_event(at):
    with p2pqg.Simulation(**SMALL | {"rounds": None, "time": 8}) as sim:
        sim.finish()
        end = sim.round, sim.sim_seconds
    said = [{"at": at, "set_lr": 0.01}]
    with p2pqg.Simulation(**SMALL | {"rounds": None, "time": 8, "scenario": said}) as sim:
        sim.finish()
        assert (sim.round, sim.sim_seconds) == end == (8, 8.0)
        assert [event["what"] for event in sim.events] == ["set_lr 0.01"]


@pytest.mark.parametrize("at", [3, "2.5 s", None])
@pytest.mark.parametrize(("algorithm", "end"), [("dsgd", 9.0), ("async-dsgdm-n", 8.0)])
def test_a_run_that_ends_by_the_clock_does_so_where_clients_slow_down(algorithm, end, at):
    """Rounds end at 1, 2, 3, 5, 7, 9; who does not wait ends what it began at 4, then 6, 8."""

    def slow(sim, row):
        if at is None and sim.round == 3:
            sim.set_network(compute=2.0)

    settings = SMALL | {"rounds": None, "time": 8, "algorithm": algorithm, "callbacks": [slow]}
    if at is not None:
        settings["scenario"] = [{"at": at, "set_network": {"compute": 2.0}}]
    settings["record_every"] = 1
    with p2pqg.Simulation(**settings) as whole, p2pqg.Simulation(**settings) as parts:
        whole.finish()
        while not parts.is_over:
            parts.advance(rounds=1)
        for sim in (whole, parts):
            assert (sim.round, sim.sim_seconds) == (6, end)
            assert sim.history["gradients"].iloc[-1] == 6


def test_a_deadline_of_the_way_is_gone_through_with_what_it_draws():
    late = [{"at": 2, "set_network": {"deadline": 2.0}}]
    found, told = outcome(algorithm="muffliato", scenario=late)  # by: message
    assert (found, told[:31]) == ("refused", "scenario[0].set_network: muffli")
    kept = {"impairments": {"by": "link", "on_loss": "keep"}}
    assert outcome(algorithm="muffliato", scenario=late, **kept)[0] == "done"
    there = {"network": {"compute": 1.0, "deadline": 2.0}} | kept
    by_message = [{"at": 2, "set_impairments": {"by": "message"}}]
    assert outcome(algorithm="muffliato", scenario=by_message, **there)[0] == "refused"


def test_who_all_reduces_with_a_memory_minds_other_clients_and_no_other_links():
    plain = SMALL | {"algorithm": "ef21"}
    other = {"set_topology": "chain"}
    late = {"set_network": {"deadline": 2.0}}
    with (
        p2pqg.Simulation(**plain) as one,
        p2pqg.Simulation(**plain, scenario=[{"at": 2} | other, {"at": 3} | late]) as two,
    ):
        one.finish(), two.finish()
        assert np.array_equal(one.state(3)["x"], two.state(3)["x"])
    found, told = outcome(algorithm="ef21", scenario=[{"at": 2, "drop_clients": [5]}])
    assert found == "refused"
    assert "its clients cannot change after the first round" in told


def test_what_fails_between_two_rounds_alone_is_told():
    items = [
        {"at": 1, "add_links": [[0, 3]]},
        {"at": "1.5 s", "restore_links": [[0, 1]]},
        {"at": 3, "drop_links": [[0, 1]]},
    ]
    found, told = outcome(scenario=[items[0] | {"at": 0}, *items[1:]])  # none comes before round 0
    line = "scenario[1].restore_links: link 0-1 is not down; leave it out: so it will be where "
    assert (found, told.splitlines()[0]) == ("failed", f"{line}seconds come between rounds 0 and 3")
    found, told = outcome(scenario=items)
    assert (found, told.count(line)) == ("failed", 1)
    alone = [[0, 1], [0, 5]]
    items = [
        {"at": 1, "drop_links": alone},
        {"at": "1.5 s", "drop_clients": [0]},
        {"at": "1.6 s", "restore_clients": {"clients": [0], "how": "neighbor"}},
        {"at": 4, "restore_links": alone},
    ]
    found, told = outcome(scenario=items)  # neither first nor last, and so it is
    assert found == "failed"
    assert "restore it stale: so it will be where seconds come between rounds 1 and 4" in told
