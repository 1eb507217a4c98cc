"""Seconds of computing: means of the distributions, stragglers, traces, and bad input."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from p2pqg.base.errors import ConfigError
from p2pqg.network.clients import Clients
from p2pqg.network.compute import Compute, read_compute

MANY = Clients(40_000)


def compute(value, clients=MANY, seed=0) -> Compute:
    return Compute.of_spec(read_compute(value), clients, seed)


def test_constant_seconds_are_the_same_for_all_in_every_round():
    assert_array_equal(compute("50 ms", Clients(3)).seconds(7), [0.05] * 3)
    assert_array_equal(compute({"seconds": 2}, Clients(3)).seconds(0), [2] * 3)
    assert_array_equal(compute(0, Clients(3)).seconds(0), [0] * 3)


@pytest.mark.parametrize(
    ("text", "std"),
    [
        ("constant", 0),
        ("uniform:spread=0.5", 0.5 / np.sqrt(3)),
        ("lognormal:sigma=0.5", np.sqrt(np.exp(0.25) - 1)),
        ("lognormal:sigma=0", 0),
        ("exponential", 1),
        ("exponential:tail=0.25", 0.25),
        ("exponential:tail=0", 0),
    ],
)
def test_what_varies_has_mean_one_and_the_spread_it_says(text, std):
    drawn = compute({"seconds": 2, "varies": text}).seconds(0) / 2
    assert drawn.min() > 0
    assert abs(drawn.mean() - 1) <= 5 * std / 200
    assert_allclose(drawn.std(), std, rtol=0.05, atol=1e-12)


def test_the_logarithm_of_lognormal_seconds_is_normal():
    logs = np.log(compute({"seconds": 1, "varies": "lognormal:sigma=0.5"}).seconds(0))
    z = (logs + 0.125) / 0.5
    for moment, expected in ((1, 0), (2, 1), (3, 0), (4, 3)):
        assert abs((z**moment).mean() - expected) < 0.15


def test_the_exponential_tail_starts_at_its_constant():
    drawn = compute({"seconds": 1, "varies": "exponential:tail=0.25"}).seconds(0)
    assert drawn.min() >= 0.75
    assert_allclose((drawn > 1.25).mean(), np.exp(-2), atol=0.01)


def test_speeds_are_drawn_once_and_what_varies_in_every_round():
    fixed = compute({"seconds": 1, "speeds": "lognormal:sigma=0.5"})
    assert_array_equal(fixed.seconds(0), fixed.seconds(9))
    speeds = 1 / fixed.seconds(0)
    assert_allclose([speeds.mean(), speeds.std()], [1, np.sqrt(np.exp(0.25) - 1)], atol=0.02)
    both = compute({"seconds": 1, "varies": "uniform"})
    assert abs(np.corrcoef(both.seconds(0), both.seconds(1))[0, 1]) < 0.025


def test_a_client_draws_the_same_among_few_and_among_many():
    said = {"seconds": 1, "varies": "lognormal", "speeds": "exponential"}
    assert_array_equal(compute(said, Clients(5)).seconds(3), compute(said).seconds(3)[:5])
    assert (compute(said).seconds(3) != compute(said, seed=1).seconds(3)).all()


def test_speeds_of_single_clients():
    said = {"seconds": 3, "speeds": {"Eve": 2, 2: 0.5}}
    assert_array_equal(compute(said, Clients(3, ("Eve", "Ann", "Zoe"))).seconds(0), [1.5, 3, 6])


def test_stragglers_are_the_same_clients_for_good():
    said = {"seconds": 1, "stragglers": {"share": 0.25, "factor": 8}}
    found = compute(said, Clients(16))
    assert_array_equal(np.sort(found.seconds(0)), [1] * 12 + [8] * 4)
    assert_array_equal(found.seconds(0), found.seconds(5))
    for clients, slow in ((7, 2), (1, 1)):  # the nearest to 1.75; and at least one, for 0.25
        assert (compute(said, Clients(clients)).seconds(0) == 8).sum() == slow
    said["stragglers"]["share"] = 0
    assert_array_equal(compute(said, Clients(16)).seconds(0), [1] * 16)


def test_stragglers_per_round_are_drawn_anew():
    said = {"seconds": 3, "stragglers": {"share": 0.25, "factor": 8, "per": "round"}}
    taken = np.array([compute(said).seconds(round) for round in range(2)])
    assert set(np.unique(taken)) == {3, 24}
    slow = taken == 24
    assert_allclose(slow.mean(axis=1), 0.25, atol=0.02)
    assert_allclose((slow[0] & slow[1]).mean(), 0.25**2, atol=0.01)


def test_a_line_of_a_trace_holds_until_the_clients_next_one(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("client,round,seconds\n1,3,5 ms\n1,6,7\n0,0,2\n")
    said = {"seconds": 1, "trace": str(path), "varies": "exponential"}
    found = compute(said, Clients(3))
    plain = compute({"seconds": 1, "varies": "exponential"}, Clients(3))
    for round, expected in {0: 2, 2: 2, 9: 2}.items():
        assert found.seconds(round)[0] == expected
    for round, expected in {3: 0.005, 5: 0.005, 6: 7, 99: 7}.items():
        assert found.seconds(round)[1] == expected
    assert found.seconds(2)[1] == plain.seconds(2)[1]
    assert found.seconds(5)[2] == plain.seconds(5)[2]


@pytest.mark.parametrize(
    ("seconds", "lines", "never"),
    [
        (1, "", True),
        (0, "", False),
        (0, "0,0,0.5\n1,0,3\n", True),
        (0, "0,0,2\n1,1,3\n", False),  # in round 0 client 1 takes none
        (1, "0,0,2\n1,1,0\n", False),
    ],
)
def test_nobody_ever_rests_where_every_gradient_takes_time(seconds, lines, never, tmp_path):
    said = {"seconds": seconds}
    if lines:
        (tmp_path / "trace.csv").write_text("client,round,seconds\n" + lines)
        said["trace"] = str(tmp_path / "trace.csv")
    assert compute(said, Clients(2)).never_rests == never


def test_it_can_be_pickled():
    found = compute({"seconds": 1, "varies": "lognormal", "speeds": "uniform"}, Clients(4))
    assert_array_equal(pickle.loads(pickle.dumps(found)).seconds(3), found.seconds(3))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("quick", "network.compute must be a time such as"),
        ({"second": 1}, "unknown key network.compute.second; did you mean seconds"),
        ({"seconds": -1}, "network.compute.seconds must be >= 0"),
        ({"varies": "log-normal"}, "varies: unknown distribution 'log-normal'; did you mean logn"),
        ({"varies": "lognormal:sgma=1"}, "varies: lognormal: unknown key sgma; did you mean sigma"),
        ({"varies": "lognormal:sigma=-1"}, r"varies: lognormal: sigma must be in \[0, 10\]"),
        ({"varies": "lognormal:sigma"}, "varies: lognormal: sigma must be a number, got ''"),
        ({"varies": "uniform:spread=1"}, r"spread must be in \[0, 1\), got 1"),
        ({"varies": "exponential:tail=2"}, r"tail must be in \[0, 1\], got 2"),
        ({"speeds": "unifrom"}, "speeds: unknown distribution 'unifrom'; did you mean uniform"),
        ({"speeds": {0: 0}}, "network.compute.speeds.0 must be > 0 and finite, got 0"),
        ({"speeds": {0: 5e-324}}, "network.compute.speeds.0 must be 5.877e-39 at least, got 5e-"),
        ({"speeds": {0: "fast"}}, "network.compute.speeds.0 must be a number"),
        ({"speeds": {9: 1}}, "network.compute.speeds: no client is called '9'; clients are numb"),
        ({"stragglers": 0.1}, r"stragglers must be a mapping such as \{share: 0.1, factor: 10\}"),
        ({"stragglers": {"share": 2}}, r"stragglers.share must be in \[0, 1\], got 2"),
        ({"stragglers": {"factor": 0.5}}, "stragglers.factor must be >= 1, got 0.5"),
        ({"stragglers": {"per": "day"}}, "stragglers.per must be client or round, got 'day'"),
        ({"stragglers": {"shar": 1}}, "unknown key network.compute.stragglers.shar"),
        ({"trace": "nowhere.csv"}, "nowhere.csv: cannot be read"),
    ],
)
def test_bad_compute_is_refused(value, message):
    with pytest.raises(ConfigError, match=message):
        compute(value, Clients(4))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("9,0,1", "line 2: no client is called '9'"),
        ("0,-1,1", "line 2: round must be an integer >= 0, got '-1'"),
        ("0,1.5,1", "line 2: round must be an integer >= 0"),
        ("0,0,soon", "line 2: seconds must be a time"),
        ("0,0,1\n0,0,2", "line 3: client 0 has that round already"),
        ("0,0", "line 2 must have 3 cells"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(tmp_path, line, message):
    path = tmp_path / "trace.csv"
    path.write_text(f"client,round,seconds\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        compute({"trace": path}, Clients(4))
