"""What became of a network is written down, and drawn again as it was."""

from p2pqg.network import Network
from p2pqg.results.changes import Watched, arcs_of, became, differences
from p2pqg.topology import build

RING = Network(build("ring8"))


def test_a_network_is_drawn_again_as_it_was_at_any_round():
    steps = {
        3: lambda net: net.drop_links([[0, 1]]),
        5: lambda net: net.drop_clients([4, 6]),
        8: lambda net: net.restore_links(),
        9: lambda net: net.add_links([[0, 4]]),
        12: lambda net: net.restore_clients([4]),
        15: lambda net: net.drop_links([[0, 4]]),
        20: lambda net: net.with_topology("complete8"),
        22: lambda net: net.add_clients(1),
    }
    watched, network, then = Watched(RING), RING, {}
    for round, change in steps.items():
        network = change(network)
        assert watched.look(network, round)
        assert not watched.look(network, round + 1)
        then[round] = network
    for round, network in then.items():
        found = became(watched.rows, RING.base, round)
        assert found.absent == network.absent
        assert found.cut == network.cut
        assert found.num_clients == network.num_clients
        assert arcs_of(found.schedule(RING.base)) == arcs_of(network.base)
    assert became(watched.rows, RING.base, 2).links is None
    assert became(watched.rows, RING.base, 4).cut == {(0, 1), (1, 0)}


def test_what_runs_again_after_a_crash_is_written_once():
    watched = Watched(RING)
    cut = RING.drop_links([[0, 1]])
    watched.look(cut, 7)
    watched.look(RING, 3)  # back at a checkpoint
    watched.look(cut, 7)
    assert [row["round"] for row in watched.rows if row["what"] == 0] == [7, 7]
    assert became(watched.rows, RING.base, 6).cut == frozenset()
    assert became(watched.rows, RING.base, 7).cut == cut.cut


def test_an_equal_network_makes_no_rows():
    assert differences(RING, Network(RING.base), 5) == []
    assert differences(RING, RING.with_impairments(loss=0.1), 5) == []
