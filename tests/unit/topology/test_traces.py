"""Contact traces in CSV: who met whom when; rounds that are numbers, and times that are not."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from p2pqg.base.errors import TopologyError
from p2pqg.engine.routes import Routing, RowRoutes
from p2pqg.network.network import Network
from p2pqg.theory.doctor import diameter, examine
from p2pqg.topology import build, check_needs, schedule
from p2pqg.topology.convergence import gap_of_period
from p2pqg.topology.words import describe_network

UNIX = [1353303380 + 20 * k for k in range(60)]


@pytest.fixture
def trace(tmp_path):
    """A function of (column, moments): a file in which three people meet in turn, a line each."""

    def trace(column: str, moments, meetings=("a,b", "b,c", "c,a")) -> str:
        path = tmp_path / "trace.csv"
        lines = [f"{at},{meetings[k % len(meetings)]}" for k, at in enumerate(moments)]
        path.write_text("\n".join([f"{column},source,target", *lines]))
        return str(path)

    return trace


@pytest.mark.parametrize(
    "moments",
    [
        UNIX,
        [1000 * at for at in UNIX],
        ["2012-11-19 05:36:20", "2012-11-19 05:36:40"],
        ["2012-11-19T05:36:20Z"],
        [0, 1, "1e99"],
        [0, 10**8],
    ],
    ids=["seconds", "milliseconds", "dates", "dates with a zone", "1e99", "a hundred million"],
)
def test_times_in_the_column_round_are_refused_and_point_to_time(trace, moments):
    path = trace("round", moments)
    with pytest.raises(TopologyError, match="Name the column time"):
        build(path)


@pytest.mark.parametrize("cell", ["1_0", "1__0_", "nan", "inf", "-1", "1.5", "two", "٣"])
def test_what_is_no_round_is_refused(trace, cell):
    with pytest.raises(TopologyError, match="line 2: round must be"):
        build(trace("round", [cell]))


def test_a_far_round_takes_no_longer_than_a_near_one(trace):
    """Else the test has no end: to look at each of 10^8 rounds takes hours."""
    far = build(trace("round", [0, 1, 99_999_999]))
    assert far.period == 10**8
    assert [sorted(far.graph(t).edges()) for t in (0, 1, 99_999_999)] == [
        [(0, 1)],
        [(1, 2)],
        [(0, 2)],
    ]
    for idle in (2, 5_000_000, 10**8 + 3):
        assert_array_equal(far.mixing(idle).dense(), np.eye(3))
    assert_array_equal(far.mixing(10**8).dense(), far.mixing(0).dense())
    assert "nobody talks in 99,999,997 of 100,000,000 rounds" in far.notes[0]
    assert check_needs(far, (), "dsgd") == list(far.notes)
    assert diameter(far) == 10**8
    near = build(trace("round", [0, 1, 2]))
    assert_allclose(far.product(10**8), near.product(3))
    assert_allclose(far.product(2 * 10**8, start=1), near.product(6, start=1))
    assert gap_of_period(far) == pytest.approx(gap_of_period(near))
    assert "repeats" not in describe_network(far)


def test_what_is_done_to_a_far_trace_takes_no_longer_either(trace):
    far = Network(build(trace("round", [0, 1, 99_999_999], ("a,b", "b,c", "c,d", "d,a"))))
    without = far.drop_links([("a", "b")])
    assert without.components() == 2
    assert_array_equal(without.schedule.mixing(0).dense(), np.eye(4))
    about, arrays = without.to_data()
    back = Network.from_data(about, arrays)
    assert back.base.period == 10**8
    for round in (0, 1, 2, 7, 99_999_999):
        assert_array_equal(
            back.schedule.mixing(round).dense(), without.schedule.mixing(round).dense()
        )
    more = far.add_clients(1, [("new-4", "a")])
    assert sorted(more.base.graph(5).edges()) == [(0, 4)]
    assert_allclose(more.base.product(2, 5), np.linalg.matrix_power(more.base.mixing(5).dense(), 2))
    assert sorted(more.base.graph(1).edges()) == [(0, 4), (1, 2)]


def test_the_doctor_counts_rounds_in_which_nobody_talks(trace):
    found = examine(trace("round", [0, 1, 299]))
    assert found.links == 3 / 300
    assert found.degrees == (0, 2 / 300, 1)
    assert found.diameter == 300


def test_a_trace_without_gaps_has_no_note(trace):
    assert build(trace("round", [0, 1, 2])).notes == ()
    assert build(trace("time", UNIX)).notes == ()


def test_a_long_trace_stays_on_disk_and_in_memory_only_as_far_as_it_is_needed(trace, monkeypatch):
    monkeypatch.setattr(schedule, "MANY_KEPT", 20)
    far = build(trace("round", [0, 99_999_999]))
    routes = Routing(far, (0, 1, far.num_clients))
    for round in range(40):
        far.mixing(round)
        assert isinstance(routes.rows(round), RowRoutes)
    assert len(far._known) == 20
    assert len(routes._cache) == 2
    again = pickle.loads(pickle.dumps(far))
    assert_array_equal(again.mixing(99_999_999).dense(), far.mixing(99_999_999).dense())


# Times


@pytest.mark.parametrize(
    "moments",
    [
        ["1353303380000000001", "1353303380000000000", "1353303380000000002"],
        ["0.1000000000000000000001", "0.1", "0.2"],
        ["1e-5", "-3", "1e300"],
        ["2012-11-19 05:36:20.000000001", "2012-11-19T05:36:20", "2012-11-19 05:36:21"],
        ["2012-11-19 05:36", "2012-11-18", "2012-11-19T06:36:00.5+01:00"],
        ["2012-11-19T04:00:00Z", "2012-11-19T02:00:00-0100", "2012-11-19 04:00:00.1"],
    ],
    ids=["nanoseconds", "digits", "numbers", "fractions", "dates", "zones"],
)
def test_times_are_put_in_order_without_loss(trace, moments):
    network = build(trace("time", moments))
    assert network.period == 3
    assert [sorted(network.graph(t).edges()) for t in range(3)] == [[(1, 2)], [(0, 1)], [(0, 2)]]


def test_the_same_moment_written_in_two_ways_is_one_round(trace):
    assert build(trace("time", ["1", "1.0", "1e0"])).period == 1
    assert build(trace("time", ["2012-11-19 05:00", "2012-11-19T06:00+01:00"])).period == 1


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        (
            ["soon"],
            "line 2: time must be a number, or a date such as 2012-11-19 10:00:20, got 'soon'",
        ),
        (["2012-02-31"], "line 2: time must be a number, or a date"),
        (["19/11/2012"], "line 2: time must be a number, or a date"),
        (["nan"], "line 2: time must be a number"),
        (["1e99999999999999999999"], "line 2: time must be a number"),
        (["2012-11-19", "7"], "has numbers as well as dates in time"),
    ],
)
def test_what_is_no_time_is_refused(trace, moments, message):
    with pytest.raises(TopologyError, match=message):
        build(trace("time", moments))


def test_a_line_without_its_time_is_refused(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("source,target,time\na,b,1\nb,c,\n")
    with pytest.raises(TopologyError, match="line 3 must have the same columns"):
        build(str(path))


def test_weights_of_a_trace_count_where_asked_and_must_agree_within_a_round(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("source,target,weight,round\na,b,0.5,0\nb,a,0.5,0\nb,c,0.25,2\na,b,0.1,2\n")
    network = build(f"{path}:mixing=given")
    assert_allclose(network.mixing(0).dense(), [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1]])
    assert_allclose(network.mixing(2).dense()[1], [0.1, 0.65, 0.25])
    path.write_text("source,target,weight,round\na,b,0.5,0\nb,a,0.25,0\n")
    with pytest.raises(TopologyError, match="line 3: edge b, a has weight 0.25, but 0.5 before"):
        build(f"{path}:mixing=given")
    assert build(f"{path}:directed=true,mixing=given", allow_row_stochastic=True).directed
