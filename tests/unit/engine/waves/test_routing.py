"""How often clients that do not wait meet: what they draw, in the mean."""

import numpy as np
import pytest

from p2pqg.engine.waves.routing import WaveRouting, meeting_rates
from p2pqg.theory.trajectories import _timed, at_start
from p2pqg.topology import build

SWAP = np.array([[0.0, 1], [1, 0]])


def rates(topology, **clock):
    """(a, b) -> meetings in the time in which a client makes one gradient on average."""
    found = meeting_rates(_timed(build(topology), False, 0, clock or None))
    pairs = zip(found.a.tolist(), found.b.tolist(), strict=True)
    return dict(zip(pairs, found.rates.tolist(), strict=True))


def test_each_client_wants_one_of_its_neighbors_once_a_gradient():
    """Whom a pair has in common it meets twice as often: either may want it."""
    assert rates("ring8") == pytest.approx(
        {tuple(sorted((i, (i + 1) % 8))): 2 * 1 / 2 for i in range(8)}
    )
    complete = rates("complete5")
    assert len(complete) == 10
    assert list(complete.values()) == pytest.approx([2 / 4] * 10)
    assert rates("star5") == pytest.approx({(0, i): 1 + 1 / 4 for i in range(1, 5)})


def test_neighbors_are_wanted_by_their_weights():
    W = np.array([[0.4, 0.5, 0.1], [0.5, 0.2, 0.3], [0.1, 0.3, 0.6]])
    wanted = {(0, 1): 5 / 6 + 5 / 8, (0, 2): 1 / 6 + 1 / 4, (1, 2): 3 / 8 + 3 / 4}
    assert rates(W) == pytest.approx(wanted)


def test_who_computes_faster_meets_more_often():
    """The centre makes half a gradient while a leaf makes one, and the mean of all is 0.9."""
    found = rates("star5", compute={"seconds": 3.0, "speeds": {"0": 0.5}})
    assert found == pytest.approx({(0, i): (1 + 0.5 / 4) / 0.9 for i in range(1, 5)})


def test_of_networks_used_in_turn_each_has_its_share():
    one, other = np.eye(4), np.eye(4)
    one[:2, :2] = one[2:, 2:] = other[1:3, 1:3] = SWAP
    found = rates(np.stack([one, one, other]))
    assert found == pytest.approx({(0, 1): 2 * 2 / 3, (2, 3): 2 * 2 / 3, (1, 2): 2 / 3})


@pytest.fixture
def long_trace(tmp_path):
    """Seconds of three years; who looks at each of them takes hours."""
    (tmp_path / "trace.csv").write_text("round,source,target\n0,0,1\n7,0,1\n99999999,1,2\n")
    return tmp_path / "trace.csv"


def test_a_trace_of_very_many_rounds_is_read_where_somebody_meets(long_trace):
    assert rates(long_trace) == pytest.approx({(0, 1): 2 * 2 / 10**8, (1, 2): 2 / 10**8})


def test_so_it_is_when_those_that_were_cut_off_are_forgotten(long_trace):
    (block,) = at_start("swift", lambda x, round: x, np.zeros((3, 2)), topology=long_trace, lr=0.1)
    timeline, network = block.timeline, block.routing.network
    timeline.play(8)
    assert set(timeline.held.sender.tolist()) == {0, 1}
    timeline.rewire(WaveRouting(network.drop_links(["0-1"]), block.routing.bounds))
    assert timeline.held.sender.tolist() == []
