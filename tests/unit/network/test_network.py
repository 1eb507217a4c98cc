"""A network that changes and fails: its W, round by round, against rules and sums."""

import json
import pickle
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from p2pqg.base.errors import ConfigError, TopologyError
from p2pqg.network.impairments import Impairments
from p2pqg.network.network import Network
from p2pqg.network.params import ClockParams
from p2pqg.network.timing import Timing
from p2pqg.topology import RULES, Schedule, build, is_doubly_stochastic
from p2pqg.topology.checks import Promise
from p2pqg.topology.schedule import schedule_of

ROUNDS = range(6)


def network(topology="ring8", **settings) -> Network:
    return Network(build(topology), **settings)


def impaired(topology="social32", seed=1, by_columns=False, **settings) -> Network:
    return network(topology, seed=seed, by_columns=by_columns).with_impairments(**settings)


def same(a: Schedule, b: Schedule, rounds=ROUNDS) -> bool:
    pairs = [(a.mixing(t), b.mixing(t)) for t in rounds]
    return all(np.array_equal(one.dense(), other.dense()) for one, other in pairs)


# All is well.


def test_a_network_where_all_is_well_is_the_schedule_itself():
    base = build("ring8")
    assert Network(base).schedule is base
    assert Network(base, by_columns=True).with_impairments(loss=0, burst=3).schedule is base


def test_what_is_dropped_and_restored_leaves_the_schedule_itself():
    start = network("social32")
    broken = start.drop_links([[0, 18]]).drop_clients([3, 4]).with_impairments(loss=0.5)
    mended = broken.restore_links([(18, 0)]).restore_clients([4]).with_impairments(loss=0)
    assert mended.restore_clients().schedule is start.base


# Links and clients.


def test_cutting_a_link_cuts_both_directions_and_applies_the_rule_again():
    graph = nx.cycle_graph(8)
    graph.remove_edge(3, 4)
    expected = RULES["metropolis_hastings"].build(graph).dense()
    for link in ([3, 4], (4, 3), "3-4", "4->3"):
        cut = network().drop_links([link]).schedule
        assert_allclose(cut.mixing(0).dense(), expected, atol=1e-15)
        assert cut.period == 1
        assert cut.mixing(5) is cut.mixing(0)


def test_on_a_directed_network_one_direction_can_be_cut():
    W = network("exponential8").drop_links([[0, 1]]).schedule.mixing(0).dense()
    assert_allclose(W[1, [1, 7, 5]], 1 / 3)
    assert W[1, 0] == 0
    assert_allclose(W.sum(axis=1), 1)


def test_a_link_of_a_changing_network_is_cut_whenever_it_is_there():
    start = network("onepeer-exponential8")
    cut = start.drop_links([[0, 2]]).schedule
    assert cut.period == 3
    assert cut.mixing(0) is start.base.mixing(0)  # hop 1: nothing to cut
    assert cut.mixing(1).dense()[2, 0] == 0
    assert cut.mixing(4) is cut.mixing(1)


def test_who_left_stands_still_and_the_rule_applies_to_the_others():
    W = network("torus16").drop_clients([5, 6]).schedule.mixing(0)
    rest = np.setdiff1d(np.arange(16), [5, 6])
    graph = nx.convert_node_labels_to_integers(build("torus16").graph().subgraph(rest))
    assert_array_equal(W.dense()[[5, 6]], np.eye(16)[[5, 6]])
    expected = RULES["metropolis_hastings"].build(graph).dense()
    assert_allclose(W.dense()[np.ix_(rest, rest)], expected, atol=1e-15)
    assert_array_equal(np.flatnonzero(~W.present), [5, 6])
    assert_array_equal(W.active, W.present)


@pytest.mark.parametrize(
    ("graph", "by_columns"),
    [
        (nx.lollipop_graph(4, 4), False),
        (build("exponential8").graph(), False),  # regular: uniform
        (build("exponential8").graph(), True),
        (nx.DiGraph([(0, 1), (1, 2), (2, 3), (3, 0), (0, 2), (3, 1)]), True),  # columns
    ],
)
def test_a_graph_of_every_round_is_weighed_anew_as_one_that_stays(graph, by_columns):
    stays, drawn = (
        Network(build(topology, needs=("column-stochastic",)), seed=1, by_columns=by_columns)
        for topology in (graph, lambda round: graph)
    )
    for what in ("drop_links", [[0, 1]]), ("drop_clients", [2]):
        one, other = (getattr(network, what[0])(what[1]) for network in (stays, drawn))
        assert same(one.schedule, other.schedule)
        assert same(*(n.with_impairments(participation=0.6).schedule for n in (one, other)))


def test_a_graph_is_directed_where_its_kind_is_be_it_of_all_rounds_or_of_each():
    both_ways, plain = nx.DiGraph(nx.cycle_graph(4)), nx.cycle_graph(4)
    for graph, directed in ((both_ways, True), (plain, False)):
        for topology in (graph, lambda round, graph=graph: graph):
            network = Network(build(topology))
            assert network.base.directed == directed
            W = network.drop_links(["0->1"]).schedule.mixing(1).dense()
            assert W[1, 0] == 0
            assert (W[0, 1] > 0) == directed


def test_links_that_go_one_way_later_are_told_where_a_cut_would_be_of_both():
    ring = build("ring4").mixing(0).dense()
    one_way = (np.eye(4) + np.roll(np.eye(4), 1, 0)) / 2
    network = Network(build(lambda round: one_way if round == 9 else ring))
    assert_array_equal(network.schedule.mixing(9).dense(), one_way)
    cut = network.drop_links(["0->1"]).schedule
    assert cut.mixing(8).dense()[1, 0] == cut.mixing(8).dense()[0, 1] == 0
    with pytest.raises(TopologyError, match="round 9': links go one way, .* Return an nx.DiGraph"):
        cut.mixing(9)


def test_given_weights_that_remain_stay_as_they_are():
    before = build("office-wan8")
    W = network("office-wan8").drop_links(["berlin-1-lisbon-1"]).schedule.mixing(0).dense()
    expected = before.mixing(0).dense()
    expected[0, 4] = expected[4, 0] = 0
    expected[[0, 4], [0, 4]] += 0.1
    assert_allclose(W, expected, atol=1e-15)


def test_a_network_may_fall_apart_and_says_so():
    start = network("ring8")
    assert start.components() == 1
    halves = start.drop_links(["0-1", "4-5"])
    assert halves.components() == 2
    assert halves.drop_clients([0]).components() == 2
    assert halves.drop_clients([2]).components() == 3  # 1, 3 4, 5 6 7 0
    assert halves.restore_links().components() == 1


def test_pieces_of_a_directed_network_are_those_that_reach_each_other():
    one_way = Network(build(nx.cycle_graph(5, create_using=nx.DiGraph)))
    assert one_way.components() == 1
    assert one_way.drop_links([[0, 1]]).components() == 5


@pytest.mark.parametrize("directed", [False, True])
def test_components_are_those_of_networkx(directed):
    draw = np.random.default_rng(0)
    long = nx.path_graph(90, create_using=nx.DiGraph if directed else None)
    loop = nx.cycle_graph(90, create_using=nx.DiGraph if directed else None)
    seldom = [nx.gnp_random_graph(24, p, seed=7, directed=directed) for p in (0.03, 0.08, 0.2)]
    for graph in (long, loop, *seldom):
        live = Network(schedule_of(graph, "mine", "columns" if directed else None))
        absent = draw.choice(len(graph), 3, replace=False).tolist()
        live = replace(live, absent=frozenset(absent))
        graph.remove_nodes_from(absent)
        count = nx.number_strongly_connected_components if directed else None
        count = count or nx.number_connected_components
        assert live.components() == count(graph)


def test_pieces_are_counted_over_a_period():
    start = network("onepeer-hypercube8")
    assert start.components() == 1
    assert start.drop_links([[i, i ^ 4] for i in range(4)]).components() == 2


def test_neighbors_are_those_who_are_heard():
    one_way = Network(build(nx.cycle_graph(5, create_using=nx.DiGraph)))
    assert one_way.neighbors(0) == [4]
    assert network().drop_clients([1]).neighbors(0) == [7]
    assert network("onepeer-exponential8").neighbors(0) == [4, 6, 7]


def test_best_constant_of_pieces_is_noted():
    notes = network("ring8:mixing=best_constant").drop_links(["0-1", "4-5"]).schedule.notes
    assert any("metropolis_hastings there" in note for note in notes)


# Other networks.


def test_another_topology_has_all_its_links_but_not_the_absent_clients():
    moved = network().drop_links([[0, 1]]).drop_clients([2]).with_topology("complete")
    assert moved.num_clients == 8
    assert moved.describe() == "1 client absent (2)"
    assert moved.restore_clients().schedule.name == "complete8"


def test_labels_stay_where_the_new_topology_has_none():
    moved = network("hospitals12").with_topology("ring")
    assert moved.drop_clients([build("hospitals12").labels[3]]).absent == {3}


def test_a_network_by_name_grows_by_its_name():
    grown = network("ring8:mixing=lazy").drop_links(["0-1", "7-0"]).add_clients(2)
    assert grown.base.name == "ring10:mixing=lazy"
    assert grown.cut == {(0, 1), (1, 0)}  # 7 and 0 are no neighbors any more


NETS = """
import networkx as nx

def still(clients=8):
    return nx.cycle_graph(clients)

def moving(round, clients=8):
    return nx.circulant_graph(clients, [1 + round % 2])

def fixed(round):
    return nx.cycle_graph(8)
"""


@pytest.mark.parametrize("name", ["still", "moving"])
@pytest.mark.parametrize("given", ["name", "function"])
def test_a_network_of_a_function_that_is_told_how_many_grows(tmp_path, name, given):
    (tmp_path / "nets.py").write_text(NETS)
    named = topology = f"{tmp_path}/nets.py:{name}"
    if given == "function":
        space = {}
        exec(NETS, space)
        topology = space[name]
    expected = [1, 9] if name == "still" else [2, 8]
    base = build(topology, 10)
    if given == "function" and name == "still":  # which is a graph, and no function any more
        with pytest.raises(TopologyError, match="does not say whom new clients talk to"):
            Network(base).add_clients()
        return
    grown = Network(base).drop_links(["4-6" if name == "moving" else "4-5"]).add_clients(1)
    assert (base.num_clients, grown.num_clients) == (10, 11)
    W = grown.base.mixing(1).dense()
    assert np.flatnonzero(W[0]).tolist() == [0, expected[0], expected[1] + 1]
    data, arrays = grown.to_data()
    again = Network.from_data(data, arrays, Network(build(topology, 10)))
    assert_allclose(again.schedule.mixing(3).dense(), grown.schedule.mixing(3).dense())
    if given == "name":
        assert_allclose(build(named, 11).mixing(1).dense(), W)


def test_a_function_that_makes_one_network_only_does_not_grow(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    with pytest.raises(TopologyError, match="does not say whom new clients talk to"):
        Network(build(f"{tmp_path}/nets.py:fixed")).add_clients()


def test_new_clients_may_have_links_of_their_own():
    grown = network("social32").add_clients(2, links=[["new-32", 0], [33, "new-32"]])
    graph = build("social32").graph()
    graph.add_edges_from([(32, 0), (32, 33)])
    expected = RULES["metropolis_hastings"].build(graph).dense()
    assert_allclose(grown.schedule.mixing(0).dense(), expected, atol=1e-15)
    assert grown.base.labels[32:] == ("new-32", "new-33")


def test_new_links_are_not_lost_where_clients_come_to_a_network_by_its_name(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    for topology in ("ring8", f"{tmp_path}/nets.py:still"):
        linked = Network(build(topology, 8)).add_links([[0, 4]])
        with pytest.raises(TopologyError, match="does not say whom new clients talk to"):
            linked.add_clients()


def test_a_new_link_of_one_way_is_that_in_rounds_whose_other_links_go_both_ways():
    base = build("onepeer-exponential8")  # from client i to i + 1, to i + 2, to i + 4
    W = Network(base).add_links([[0, 3]]).schedule.mixing(2).dense()
    assert_allclose(W[3, [0, 3, 7]], 1 / 3)
    assert_allclose(W[0, [0, 3, 4]], [1 / 2, 0, 1 / 2])


def test_new_clients_may_come_with_a_topology():
    assert network("office-wan8").add_clients(1, topology="ring").base.name == "ring9"


# Messages that do not arrive.

KEPT = [{"loss": 0.3}, {"loss": 0.3, "burst": 6}, {"delay": [0, 3]}, {"loss": 0.2, "delay": 1}]


@pytest.mark.parametrize("settings", KEPT)
@pytest.mark.parametrize("on_loss", ["keep", "renormalise"])
def test_rows_sum_to_1_whatever_is_lost(settings, on_loss):
    schedule = impaired(on_loss=on_loss, **settings).schedule
    assert schedule.period is None
    for t in ROUNDS:
        W = schedule.mixing(t)
        assert_allclose(W.row_sums(), 1, atol=1e-14)
        assert (W.weights > 0).all()


@pytest.mark.parametrize("settings", [*KEPT, {"delay": 1, "participation": 0.7}])
def test_by_link_an_undirected_network_stays_doubly_stochastic(settings):
    schedule = impaired(by="link", **settings).schedule
    assert all(schedule.mixing(t).is_symmetric() for t in ROUNDS)
    assert all(is_doubly_stochastic(schedule.mixing(t)) for t in ROUNDS)
    apart = impaired(by="message", **settings).schedule
    assert not all(apart.mixing(t).is_symmetric() for t in ROUNDS)


@pytest.mark.parametrize("topology", ["random-peer16:k=3", "exponential16", "torus16"])
@pytest.mark.parametrize("settings", [*KEPT, {"participation": 0.7}])
def test_columns_sum_to_1_for_push_sum_whatever_is_lost(topology, settings):
    schedule = impaired(topology, by_columns=True, **settings).schedule
    assert all(np.abs(schedule.mixing(t).column_sums() - 1).max() < 1e-14 for t in ROUNDS)


def test_columns_are_kept_without_being_told_where_only_they_sum_to_1():
    assert network("random-peer8").by_columns
    assert not network("ring8").by_columns


def test_the_weights_of_what_arrives_stay_or_grow_in_proportion():
    base = build("social32").mixing(0).dense()
    for on_loss in ("keep", "renormalise"):
        W = impaired(loss=0.4, on_loss=on_loss).schedule.mixing(3).dense()
        others = (W > 0) & ~np.eye(32, dtype=bool)
        ratio = np.where(others, W, 0) / np.where(base > 0, base, 1)
        own = np.diag(W) / np.diag(base)
        for client in range(32):
            grown = own[client] if on_loss == "renormalise" else 1
            assert_allclose(ratio[client][others[client]], grown)


def test_all_messages_are_sent_whether_they_arrive_or_not():
    base = build("social32").mixing(0)
    W = impaired(loss=0.4).schedule.mixing(3)
    assert_array_equal(W.out_degrees(), base.out_degrees())
    assert len(W.weights) < len(base.weights)


def test_loss_1_leaves_everyone_alone():
    assert_array_equal(impaired(loss=1).schedule.mixing(0).dense(), np.eye(32))


def test_delayed_messages_have_their_age_and_own_models_are_fresh():
    schedule = impaired("ring8", delay=2).schedule
    assert schedule.memory == 2
    assert_array_equal(schedule.mixing(1).dense(), np.eye(8))  # nothing is there yet
    W = schedule.mixing(2)
    assert_array_equal(W.dense(), build("ring8").mixing(0).dense())
    assert_array_equal(W.ages, np.where(W.senders == W.receivers, 0, 2))


def test_a_delay_set_later_waits_for_messages_sent_since():
    late = network().with_impairments(loss=0.5).with_impairments(since=10, delay=2, loss=0)
    assert_array_equal(late.schedule.mixing(11).dense(), np.eye(8))
    assert late.schedule.mixing(12).dense()[0, 1] == pytest.approx(1 / 3)
    assert late.with_impairments(since=20, noise=0.1).since == 10


def test_who_sits_out_stands_still_and_the_rule_applies_to_the_others():
    schedule = impaired("torus16", participation=0.6).schedule
    for t in ROUNDS:
        W = schedule.mixing(t)
        assert_array_equal(W.dense()[~W.active], np.eye(16)[~W.active])
        there = np.flatnonzero(W.active)
        graph = nx.convert_node_labels_to_integers(build("torus16").graph().subgraph(there))
        expected = RULES["metropolis_hastings"].build(graph).dense()
        assert_allclose(W.dense()[np.ix_(there, there)], expected, atol=1e-15)
        assert W.present is None
    shares = [schedule.mixing(t).active.mean() for t in range(200)]
    assert abs(np.mean(shares) - 0.6) < 4 * np.sqrt(0.24 / 3200)


def test_who_left_does_not_take_part_by_chance():
    whole = impaired("torus16", participation=0.6)
    for t in ROUNDS:
        W, by_chance = (one.schedule.mixing(t) for one in (whole.drop_clients([2]), whole))
        assert_array_equal(W.active, by_chance.active & (np.arange(16) != 2))
        assert_array_equal(np.flatnonzero(~W.present), [2])


def test_two_networks_meet_the_same_misfortune_where_they_have_links_in_common():
    wrong = {"loss": 0.4, "participation": 0.7}
    senders, receivers = np.array(build("ring8").graph().to_directed().edges()).T
    for t in ROUNDS:
        one, other = (
            impaired(name, seed=5, **wrong).schedule.mixing(t) for name in ("ring8", "complete8")
        )
        assert_array_equal(one.active, Impairments(**wrong).takes_part(5, t, np.arange(8)))
        assert_array_equal(one.active, other.active)
        lost = Impairments(**wrong).lost(5, t, senders, receivers)
        there = one.active[senders] & one.active[receivers] & ~lost
        for W in (one, other):
            assert_array_equal(W.dense()[receivers, senders] > 0, there)


def test_noise_alone_changes_no_weight_and_keeps_the_period():
    noisy = impaired("onepeer-exponential8", noise=0.25).schedule
    assert noisy.period == 3
    assert noisy.mixing(1).noise == 0.25
    assert same(noisy, build("onepeer-exponential8"))


class Slow:
    """A clock on which messages to client 3 take two seconds, all others none."""

    def arrivals(self, W, round, message_bytes, phase, gradients):
        return np.where(W.receivers == 3, 2.0, 0.0)


def test_what_is_late_counts_as_lost():
    W = network(timing=Slow(), deadline=1.0).schedule.mixing(0).dense()
    expected = build("ring8").mixing(0).dense()
    expected[3] = np.eye(8)[3]
    assert_allclose(W, expected)


def test_what_comes_with_the_deadline_is_in_time_though_a_sum_is_rounded():
    """0.1 s of computing and 0.2 s on the way are 0.30000000000000004 s."""
    clock = Timing.of(ClockParams(links={"latency": 0.2}, compute=0.1, deadline=0.3), 8)
    one = network(timing=clock, deadline=0.3, message_bytes=8.0)
    assert_array_equal(one.schedule.mixing(0).dense(), one.base.mixing(0).dense())


def test_what_is_lost_takes_no_downlink_of_what_may_be_late():
    """A message takes 1 s of its receiver's line alone, and 2 s beside another one."""
    clock = Timing.of(ClockParams(downlink="8 bit/s", compute=0, deadline=1.5), 8)
    late = network(timing=clock, deadline=1.5, message_bytes=1.0, seed=1)
    late, lossy, seen = late.with_impairments(loss=0.5), impaired("ring8", loss=0.5), set()
    for round in range(6):
        W, left = (one.schedule.mixing(round).dense() > 0 for one in (late, lossy))
        heard = left.sum(1) - 1
        assert_array_equal(W.sum(1) - 1, np.where(heard == 2, 0, heard))
        assert not (W & ~left).any()
        seen |= set(heard.tolist())
    assert seen == {0, 1, 2}


def test_what_is_late_is_so_by_the_clock_of_that_very_round():
    said = ClockParams(links={"latency": 1, "jitter": 1}, compute=0.5, deadline=2.0)
    clock = Timing.of(said, 8, seed=1)
    one = network(timing=clock, deadline=2.0, message_bytes=8.0)
    W, seen = one.base.mixing(0), set()
    for round in range(4):
        late = clock.arrivals(W, round, 8.0) > 2.0
        mixed = one.schedule.mixing(round)
        assert_array_equal(mixed.dense()[W.receivers, W.senders] == 0, late)
        assert clock.seconds(mixed, round, 8.0) == 2.0
        seen.add(tuple(late))
    assert len(seen) == 4


def test_by_link_what_is_late_one_way_is_lost_both_ways():
    W = network(timing=Slow(), deadline=1.0).with_impairments(by="link").schedule.mixing(0)
    assert W.is_symmetric()
    assert_array_equal(W.dense()[3], np.eye(8)[3])
    assert_array_equal(W.out_degrees(), 2)


# The same everywhere.


def everything() -> Network:
    wrong = {"loss": 0.2, "burst": 4, "delay": [0, 2], "participation": 0.8, "noise": 0.1}
    return impaired(**wrong).drop_links([[0, 18]]).drop_clients([7])


def fields(schedule: Schedule, t: int) -> list:
    W = schedule.mixing(t)
    arrays = (W.receivers, W.senders, W.weights, W.sent, W.ages, W.active, W.present)
    return [W.noise, *(None if a is None else a.tolist() for a in arrays)]


def test_every_process_sees_the_same_whatever_it_asks_first():
    here = everything().schedule
    forward = [fields(here, t) for t in range(40)]
    there = pickle.loads(pickle.dumps(here))
    backward = [fields(there, t) for t in reversed(range(40))][::-1]
    assert forward == backward
    assert fields(everything().schedule, 39) == forward[39]


def test_a_pickled_network_is_small_and_the_same():
    start = everything()
    start.schedule.mixing(3)
    data = pickle.dumps(start)
    assert fields(pickle.loads(data).schedule, 3) == fields(start.schedule, 3)
    assert len(pickle.dumps(start.schedule)) < 20_000


def test_two_networks_lose_the_same_messages():
    """Common random numbers: what differs between two futures is what was changed."""
    one, other = (impaired(name, loss=0.3).schedule for name in ("ring8", "complete8"))
    for t in ROUNDS:
        ring, complete = one.mixing(t).dense() > 0, other.mixing(t).dense() > 0
        links = build("ring8").mixing(0).dense() > 0
        assert_array_equal(ring[links], complete[links])


# As plain data.

PIECES = np.array([[[0.5, 0.5], [0.5, 0.5]], [[1.0, 0], [0, 1.0]]])


NAMES = ["ring8", "onepeer-exponential8", "random-matching8:seed=3", "hospitals12", "base9:k=2"]
GRAPHS = [PIECES, nx.path_graph(5), nx.cycle_graph(5, create_using=nx.DiGraph)]


@pytest.mark.parametrize("topology", [*NAMES, *GRAPHS], ids=[*NAMES, "arrays", "graph", "digraph"])
def test_what_is_stored_comes_back(topology):
    start = network(topology, seed=5).drop_clients([1])
    start = start.with_impairments(loss=0.2, burst=4, delay=[0, 1], since=4, participation=0.8)
    about, arrays = start.to_data()
    back = Network.from_data(json.loads(json.dumps(about)), arrays)
    assert [fields(back.schedule, t) for t in ROUNDS] == [fields(start.schedule, t) for t in ROUNDS]
    assert back.base.labels == start.base.labels
    assert back.describe() == start.describe()
    assert back.to_data()[0] == about


def test_a_stored_W_still_promises_no_more_than_it_did():
    """Columns that sum to 1 and rows that do not: for push-sum only."""
    W = np.array([[0.5, 0.25, 0], [0.5, 0.5, 0.5], [0, 0.25, 0.5]])
    start = Network(build(W, needs=("column-stochastic",)))
    about, arrays = start.to_data()
    back = Network.from_data(json.loads(json.dumps(about)), arrays)
    assert_array_equal(back.schedule.mixing(0).dense(), W)
    assert back.base.keeps == Promise(rows=False)
    del about["topology"]["promise"]  # as an older version wrote it
    older = Network.from_data(json.loads(json.dumps(about)), arrays)
    assert_array_equal(older.schedule.mixing(0).dense(), W)


def test_a_file_is_stored_as_its_w(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text("source,target\na,b\nb,c\n")
    about, arrays = network(str(path)).drop_clients(["b"]).to_data()
    path.unlink()
    back = Network.from_data(about, arrays)
    assert back.describe() == "1 client absent (b)"
    assert_allclose(back.restore_clients().schedule.mixing(0).dense()[1], 1 / 3)


def test_a_name_is_stored_as_a_name():
    assert network("complete64").to_data()[1] == {}


@pytest.mark.parametrize(
    ("recipe", "later", "change"),
    [
        ("exponential2", "ring2", lambda net: net.drop_links(["0-1"])),  # directed, or not
        ("complete4:mixing=uniform", "complete4", lambda net: net.add_clients(1, [[4, 0]])),
    ],
)
def test_a_network_is_stored_as_the_one_it_is_though_that_of_the_recipe_has_the_same_w(
    recipe, later, change
):
    start = Network(build(recipe))
    now = start.with_topology(later)
    back = Network.from_data(*now.to_data(), start)
    assert (back.base.name, back.base.directed) == (later, False)
    one, other = (change(each).schedule.mixing(0).dense() for each in (back, now))
    assert_array_equal(one, other)
    assert Network.from_data(*start.to_data(), start).base is start.base


@pytest.mark.parametrize("now", ["", "def f(round): oh no", "edited"])
def test_a_network_whose_file_is_read_from_a_copy_is_that_of_the_copy(tmp_path, now):
    text = "import networkx as nx\ndef f(round):\n    return nx.cycle_graph(4)\n"
    file, copy = tmp_path / "net.py", tmp_path / "copies" / "net.py"
    copy.parent.mkdir()
    for path in (file, copy):
        path.write_text(text)
    stored = network(f"{file}:f").to_data()
    if now == "edited":  # in rounds that no fingerprint covers
        now = text.replace("cycle_graph(4)", "cycle_graph(4) if round < 16 else nx.star_graph(3)")
    file.unlink()
    if now:
        file.write_text(now)
    kept = network(f"{copy}:f")
    back = Network.from_data(*stored, kept)
    assert back.base is kept.base


def test_a_name_that_means_another_network_now_is_refused():
    about, arrays = network("ring8").to_data()
    about["topology"]["fingerprint"] = "0" * 16
    with pytest.raises(TopologyError, match="'ring8' is not the network that was stored"):
        Network.from_data(about, arrays)


def test_a_function_is_recognised_when_it_is_given_again():
    W = build("ring4").mixing(0).dense()
    start = network(lambda round: W)
    about, arrays = start.drop_clients([2]).to_data()
    again = Network(build(lambda round: W))
    assert Network.from_data(about, arrays, again).absent == {2}
    with pytest.raises(TopologyError, match="Pass topology again"):
        Network.from_data(about, arrays)


def test_the_clock_comes_from_the_recipe():
    start = network(timing=Slow(), deadline=1.0, message_bytes=8.0)
    back = Network.from_data(*start.to_data(), start)
    assert back.timing is start.timing
    assert (back.deadline, back.message_bytes) == (1, 8)


# What is said, and what is refused.


def test_it_says_what_is_wrong_on_one_line():
    assert network().describe() == ""
    assert network("exponential8").drop_links([[0, 1]]).describe() == "1 link down (0->1)"
    broken = network("ring16").drop_links([[i, i + 1] for i in range(0, 12, 2)])
    assert broken.describe() == "6 links down (0-1, 2-3, 4-5, 6-7, ...)"
    assert network(timing=Slow(), deadline=1.0).describe() == "deadline 1 s"


RING = network().drop_links(["0-1"]).drop_clients([4])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: RING.drop_links([[2, 9]]), "drop_links: no client is called 9; clients are"),
        (lambda: RING.drop_links([[2, 7]]), "there is no link 2-7; client 2 talks to 1, 3"),
        (lambda: RING.drop_links(["1-0"]), "drop_links: link 0-1 is down already"),
        (lambda: RING.drop_links([[2, 2]]), "links a client to itself"),
        (lambda: RING.drop_links([[2]]), r'a link is \[3, 4\] or "3-4", got \[2\]'),
        (lambda: RING.drop_links({"2-3": 1}), "must be a list of links, got {'2-3': 1}"),
        (lambda: RING.restore_links([[2, 3]]), "restore_links: link 2-3 is not down"),
        (lambda: RING.drop_clients([4]), "drop_clients: client 4 left already"),
        (lambda: RING.drop_clients([8]), "no client is called 8"),
        (lambda: RING.drop_clients([0, 1, 2, 3, 5, 6, 7]), "nobody would be left"),
        (
            lambda: RING.attack([0, 1], "sign-flip").drop_clients([2, 3, 5, 6, 7]),
            "drop_clients: nobody honest would be left; stop_attack first, or keep one",
        ),
        (lambda: RING.restore_clients([3]), "restore_clients: client 3 did not leave"),
        (lambda: RING.with_topology("torus9"), "set_topology: 'torus9' has 9 clients"),
        (lambda: RING.with_topology(np.eye(3)), "set_topology: 'given W'"),
        (lambda: RING.with_topology(build("ring9")), "'ring9' must have 8 clients, got 9"),
        (lambda: RING.with_topology("rign"), "set_topology: unknown topology 'rign'; did you"),
        (lambda: RING.add_clients(0), "count must be an integer >= 1, got 0"),
        (lambda: network("social32").add_clients(), "does not say whom new clients talk to"),
        (lambda: network("mix8").add_clients(1, [[8, 0]]), "cannot take new links"),
        (lambda: RING.with_impairments(los=0.1), "unknown key impairments.los"),
        (lambda: network("office-wan8").drop_clients(["berlin-5"]), "did you mean berlin-"),
        (lambda: impaired("random-peer8", on_loss="renormalise"), "on_loss must be keep with push"),
        (
            lambda: impaired("star8:mixing=best_constant", on_loss="renormalise"),
            "on_loss must be keep with 'star8:mixing=best_constant'",
        ),
        (lambda: network(timing=Slow(), deadline=1.0).with_impairments(delay=1), "set one"),
    ],
)
def test_what_cannot_be_done_is_said(act, message):
    with pytest.raises(ConfigError, match=message):
        act()


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ConfigError, match="(?s)2 problems.*no link 0-2.*no link 3-7"):
        RING.drop_links([[0, 2], [3, 7], [5, 6]])


@pytest.mark.parametrize(
    ("settings", "needs", "message"),
    [
        ({"loss": 0.1, "by": "link"}, ("tree",), "the same network in every round, which loss"),
        ({"participation": 0.5}, ("static",), "which participation would change"),
        ({"loss": 0.1}, ("symmetric",), "Use impairments.by: link and on_loss: keep"),
        ({"delay": 1, "by": "link", "on_loss": "renormalise"}, ("doubly-stochastic",), "Use imp"),
    ],
)
def test_impairments_that_an_algorithm_cannot_bear_are_refused(settings, needs, message):
    with pytest.raises(ConfigError, match=message):
        impaired("chain8", **settings).check_needs(needs, "some")


def test_a_network_that_does_not_suit_is_refused_however_few_take_part_in_its_first_rounds():
    lonely = impaired("random-peer3", participation=0.01)
    assert all((lonely.schedule.mixing(round).dense() == np.eye(3)).all() for round in range(4))
    for some in (lonely, impaired("random-peer3", participation=0.7)):
        with pytest.raises(TopologyError, match="Use algorithm sgp"):
            some.check_needs((), "dsgd")


def test_impairments_that_an_algorithm_can_bear_are_allowed():
    assert impaired("chain8", noise=0.1).check_needs(("tree",), "some") == []
    evenly = impaired("ring8", loss=0.2, by="link", participation=0.7)
    assert evenly.check_needs(("symmetric", "doubly-stochastic"), "some") == []
    drifting = impaired("ring8", loss=0.3).check_needs((), "some")
    assert any("drifts to a weighted mean" in line for line in drifting)
    push_sum = impaired("random-peer8", loss=0.3)
    assert push_sum.check_needs(("column-stochastic",), "sgp") == []


def test_a_tree_without_a_branch_is_refused_by_algorithms_for_trees():
    with pytest.raises(TopologyError, match="needs an undirected tree"):
        network("chain8").drop_links(["3-4"]).check_needs(("tree",), "relay-sgd")


WAN, SLOW = {"class": "wan"}, {"latency": 2}
BOTH_WAYS = {"1->2": WAN | SLOW, "2->1": WAN | SLOW}


@pytest.mark.parametrize(
    ("begin", "change", "then"),
    [
        ("wan", SLOW, WAN | SLOW),
        (WAN, {"0-1": "lan"}, {"default": WAN, "0-1": "lan"}),
        ({"default": "wan", "0-1": "lan"}, SLOW, {"default": WAN | SLOW, "0-1": "lan"}),
        ({"0-1": SLOW}, {"0-1": {"bandwidth": 1e6}}, {"0-1": SLOW | {"bandwidth": 1e6}}),
        ("links.csv", SLOW, {"file": "links.csv", "default": SLOW}),
        ({"default": WAN, "0-1": "lan"}, "perfect", "perfect"),
        ({"0-1": WAN}, {"0->1": SLOW}, {"0->1": WAN | SLOW, "1->0": WAN}),
        ({"0->1": WAN}, {"1-0": SLOW}, {"0->1": WAN | SLOW, "1->0": SLOW}),
        ({"0-1": WAN, "1-2": WAN}, {"2-1": SLOW}, {"0-1": WAN} | BOTH_WAYS),
    ],
)
def test_links_that_are_not_named_stay_as_they_are(begin, change, then):
    """As if the recipe had said all of it at once."""
    changed = network("ring4", clock=ClockParams(links=begin)).with_network(links=change)
    assert changed.clock.links == then


def test_a_link_that_is_given_twice_at_once_is_still_refused():
    live = network("ring4", clock=ClockParams(links={"0-1": WAN}))
    twice = live.with_network(links={"0-1": SLOW, "0->1": WAN})
    with pytest.raises(ConfigError, match="link 0->1 is given twice"):
        Timing.of(twice.clock, 4)


def test_the_speed_of_one_client_leaves_that_of_another():
    slow = {"seconds": 1, "speeds": {"3": 0.1}}
    clock = network("ring4", clock=ClockParams(compute=slow)).with_network(
        compute={"speeds": {2: 0.5, 3: 0.2}}
    )
    assert clock.clock.compute == {"seconds": 1, "speeds": {"3": 0.2, 2: 0.5}}
