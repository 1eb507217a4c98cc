"""What became of a network is written down, and drawn again as it was."""

import networkx as nx
import numpy as np
import pytest

from p2pqg.network import Network
from p2pqg.results.changes import Became, Watched, arcs_of, became, differences
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


@pytest.mark.parametrize("start", ["ring8", "exponential8"])
@pytest.mark.parametrize("then", ["exponential8", "onepeer-exponential8", "chain8", "complete8"])
def test_a_network_that_took_anothers_place_has_its_links_and_their_directions(start, then):
    """Directed ones that came after an undirected one were drawn as lines."""
    network = Network(build(start))
    watched, now = Watched(network), network.with_topology(then)
    watched.look(now, 3)
    found = became(watched.rows, network.base, 3).schedule(network.base)
    assert found.directed == now.base.directed
    assert arcs_of(found) == arcs_of(now.base)
    assert became(watched.rows, network.base, 2).schedule(network.base) is network.base


def test_a_network_in_which_nobody_meets_for_long_is_drawn_without_links():
    """A report of such a run ended with "the network is in 8 pieces"."""
    W = {True: RING.base.mixing(0).dense(), False: np.eye(8)}
    now = RING.with_topology(lambda round: W[round % 20 == 19])
    found = became(differences(RING, now, 3), RING.base, 3).schedule(RING.base)
    assert (found.num_clients, arcs_of(found)) == (8, set())


def test_a_link_that_is_cut_one_way_stays_so_among_links_that_all_go_both_ways():
    base = build(nx.DiGraph([(a, (a + way) % 5) for a in range(5) for way in (1, -1)]))
    both = {(a, (a + way) % 5) for a in range(5) for way in (1, -1)}
    found = Became(5, frozenset(both), frozenset({(0, 1)}), frozenset()).schedule(base)
    assert found.directed
    assert arcs_of(found) == both


def test_clients_keep_their_names_also_when_others_join_them():
    friends = Network(build("florentine15"))
    same = friends.add_links(["Acciaiuoli-Albizzi"])
    for now in (same, same.add_clients(2, [[15, 0], [16, 0]])):
        found = became(differences(friends, now, 1), friends.base, 1).schedule(friends.base)
        assert found.labels == now.base.labels
        assert found.labels[:15] == friends.base.labels


def test_links_that_stay_cut_are_told_once():
    cut = RING.drop_links([[0, 1]])
    both = cut.drop_links([[4, 5]])
    more = differences(cut, both, 2)
    assert {(row["a"], row["b"]) for row in more} == {(4, 5), (5, 4)}
    watched = Watched(RING)
    assert watched.look(cut, 2)
    assert watched.look(both, 2)  # in one round
    assert became(watched.rows, RING.base, 2).cut == both.cut


def test_what_runs_again_after_a_crash_is_written_once():
    watched, away = Watched(RING), RING.drop_clients([6])
    cut = away.drop_links([[0, 1]])
    watched.look(away, 2)
    watched.look(cut, 7)
    watched.look(away, 3)  # back at a checkpoint
    watched.look(cut, 7)
    assert [row["round"] for row in watched.rows if row["what"] == 0] == [7, 7]
    before, after = (became(watched.rows, RING.base, round) for round in (6, 7))
    assert (before.cut, before.absent) == (frozenset(), {6})
    assert (after.cut, after.absent) == (cut.cut, {6})
    resumed = Watched(away, watched.rows)  # from a checkpoint after as many rounds, but before it
    resumed.look(cut, 7)
    assert resumed.rows == watched.rows


def test_an_equal_network_makes_no_rows():
    assert differences(RING, Network(RING.base), 5) == []
    assert differences(RING, RING.with_impairments(loss=0.1), 5) == []
