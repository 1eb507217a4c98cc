"""What users call a topology: names, arrays, functions, graphs; and what is refused."""

import pickle
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

import p2pqg.topology
from p2pqg.base.errors import ConfigError, TopologyError
from p2pqg.theory.trajectories import trajectory
from p2pqg.topology import RULES, Mixing, build, check, mixing_matrix, shipped
from p2pqg.topology._registry import TOPOLOGIES
from p2pqg.topology.build import asked_of, of_size
from p2pqg.topology.checks import Promise
from p2pqg.topology.keeping import copy_of

RING4 = build("ring4").mixing(0).dense()
PAIRS = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]) / 2
ACROSS = PAIRS[[0, 2, 1, 3]][:, [0, 2, 1, 3]]


@pytest.mark.parametrize(
    ("name", "clients", "full"),
    [
        ("ring16", None, "ring16"),
        ("ring", 16, "ring16"),
        ("ring16", 16, "ring16"),
        ("ring:mixing=lazy", 8, "ring8:mixing=lazy"),
        ("Ring8", None, "ring8"),
        ("karate", None, "karate34"),
        ("davis", 32, "social32"),
        ("erdos-renyi32:p=0.2,seed=1", None, "erdos-renyi32:p=0.2,seed=1"),
    ],
)
def test_names_may_leave_the_number_to_clients(name, clients, full):
    schedule = build(name, clients)
    assert schedule.name == full
    assert str(schedule.num_clients) in full


@pytest.mark.parametrize(
    ("name", "clients", "message"),
    [
        ("rign16", None, r"unknown topology 'rign16'; did you mean ring16\?$"),
        ("socal32", None, r"unknown topology 'socal32'; did you mean social32\?$"),
        ("socal", None, r"did you mean social32\?$"),
        ("ring-16:mixing=lazy", None, r"did you mean ring16:mixing=lazy\?$"),
        ("torus4x4", None, r"did you mean torus16\?$"),
        ("torus2x8", None, r"did you mean torus16:rows=2\?$"),
        ("torus4x0", None, r"did you mean torus\?$"),
        ("hospitls12", None, "did you mean hospitals12"),
        ("ring", None, "does not say how many clients. Use ring16"),
        ("ring0", None, "clients must be >= 1, got 0"),
        ("ring16", 8, "has 16 clients, but clients is 8"),
        ("karate33", None, "karate has exactly 34 clients, got 33. Use karate34"),
        ("social", 16, "social has exactly 32 clients, got 16"),
        ("ring16:p=2", None, "unknown key p"),
        ("ring16:mixing=lasy", None, "unknown mixing rule 'lasy'; did you mean lazy"),
        ("ring16:lazy", None, "'lazy' must read key=value"),
        ("base25:k=two", None, "k must be an integer, got 'two'"),
        ("base25:k=0", None, "k must be >= 1, got 0"),
        ("base25:k=1,k=2", None, "k is set twice"),
        ("erdos-renyi9:sed=1", None, "unknown key sed; did you mean seed"),
        ("erdos-renyi9:seed=-1,p=2", None, "2 problems"),
        ("erdos-renyi9:p=5e-324", None, "Use p > 0.24"),
        ("geometric9:radius=1e308", None, "radius must be 1.701e\\+38 at most, got 1e\\+308"),
        ("equidyn9:directed=maybe", None, "directed must be true or false"),
        ("exponential8:mixing=lazy", None, "'exponential8:mixing=lazy': mixing rule"),
        ("random-matching8:mixing=best_constant", None, "needs a connected network"),
        ("/", None, "a folder, and no file"),
        ("nets/none.yaml", None, "no such file"),
        ("nets/none.doc", None, "no such file"),
        (
            object(),
            None,
            "a topology is a name, a file, a graph, an array or a function, got object",
        ),
        ("ring", 0, "clients must be an integer >= 1"),
    ],
)
def test_a_wrong_name_says_what_to_write(name, clients, message):
    with pytest.raises(TopologyError, match=message) as caught:
        build(name, clients)
    assert len(str(caught.value).splitlines()) <= 3


def test_periodic_networks_return_the_very_same_W():
    schedule = build("onepeer-exponential8")
    assert schedule.mixing(1) is schedule.mixing(4)
    assert build(RING4).mixing(0) is not build(RING4).mixing(0)


@pytest.mark.parametrize(
    ("name", "kept"), [("random-matching4", 1024), ("random-matching1000", 250)]
)
def test_of_networks_that_do_not_repeat_few_rounds_stay_and_of_small_ones_more(name, kept):
    schedule = build(name)
    for round in range(1100 if kept > 1000 else 300):
        schedule.mixing(round)
    assert len(schedule._known) == kept


def test_of_large_networks_that_do_not_repeat_sixteen_rounds_stay():
    draws = []
    schedule = build("complete250")
    schedule.period, W = None, schedule.mixing(0)
    schedule.draw = lambda round: draws.append(round) or replace(W)
    for round in range(30):
        schedule.mixing(round)
        schedule.mixing(max(0, round - 15))
    assert draws == list(range(1, 30))
    assert len(schedule._known) == 16


def test_an_array_is_used_as_it_is():
    schedule = build(RING4)
    assert (schedule.num_clients, schedule.period, schedule.directed) == (4, 1, False)
    assert_array_equal(schedule.mixing(9).dense(), RING4)


def test_arrays_are_used_in_turn_and_need_to_connect_together_only():
    schedule = build(np.array([PAIRS, ACROSS]))
    assert schedule.period == 2
    assert_array_equal(schedule.mixing(3).dense(), ACROSS)
    assert_allclose(schedule.product(2), 1 / 4)


def test_a_function_is_asked_round_by_round_and_checked():
    schedule = build(lambda round: [PAIRS, ACROSS, RING4 * 0.9][round])
    assert schedule.period is None
    assert_array_equal(schedule.mixing(1).dense(), ACROSS)
    with pytest.raises(TopologyError, match="'given function, round 2': row 0 of W sums to 0.900"):
        schedule.mixing(2)


def test_a_function_is_directed_where_any_round_is_though_nobody_talks_in_the_first_one():
    one_way = (np.eye(4) + np.roll(np.eye(4), 1, 0)) / 2
    assert build(lambda round: one_way if round % 8 == 7 else np.eye(4)).directed
    assert build(lambda round: one_way if round == 3 else RING4).directed
    assert not build(lambda round: RING4 if round % 8 == 7 else np.eye(4)).directed


def test_a_function_may_return_a_graph_which_has_the_weights_of_that_graph():
    drawn = [nx.cycle_graph(4), nx.path_graph(4)]
    schedule = build(lambda round: drawn[round % 2])
    assert schedule.num_clients == 4
    for round in range(3):
        alone = build(drawn[round % 2]).mixing(0)
        assert_array_equal(schedule.mixing(round).dense(), alone.dense())


def test_a_function_that_takes_nothing_says_what_the_network_is():
    def net():
        return nx.cycle_graph(4)

    schedule = build(net)
    assert schedule.period == 1
    np.testing.assert_array_equal(schedule.mixing(0).dense(), mixing_matrix("ring4"))


def test_a_function_is_told_how_many_clients_there_are_by_a_parameter_of_that_name():
    def cycle(clients):
        return nx.cycle_graph(clients)

    def shift(round, num_clients=6):
        return nx.circulant_graph(num_clients, [1 + round])

    with pytest.raises(TopologyError, match="does not say how many clients there are. Use clien"):
        build(cycle)
    np.testing.assert_array_equal(build(cycle, 5).mixing(0).dense(), mixing_matrix("ring5"))
    assert build(shift).num_clients == 6
    assert build(shift, 9).mixing(1).graph().has_edge(0, 7)


def test_a_function_of_a_number_by_another_name_is_told_that_it_is_asked_for_a_round():
    with pytest.raises(TopologyError, match="topology cycle_graph .* call that clients"):
        build(nx.cycle_graph)
    with pytest.raises(TopologyError, match="returns a graph of no clients for round 0; where its"):
        build(lambda n: nx.cycle_graph(n))


def test_a_graph_in_a_file_is_told_to_be_returned_by_a_function(tmp_path):
    (tmp_path / "nets.py").write_text("import networkx as nx\nring = nx.cycle_graph(4)\n")
    with pytest.raises(ConfigError, match="ring is of type Graph, no function; write a function t"):
        build(f"{tmp_path}/nets.py:ring")


def test_zeros_and_ones_are_no_weights_and_a_mapping_is_no_name():
    ones = nx.to_numpy_array(nx.cycle_graph(5))
    with pytest.raises(TopologyError, match=r"sums to 2.000.* give the graph, nx.from_numpy_array"):
        build(ones)
    with pytest.raises(TopologyError, match="a topology has no keys: settings are part of its na"):
        build({"name": "nets.py:still", "radius": 2})


def test_a_function_that_returns_no_matrix_is_refused():
    with pytest.raises(TopologyError, match="W must be square"):
        build(lambda round: round)


@pytest.mark.parametrize("round", [-1, 1.5, "0", None])
def test_a_round_is_a_whole_number_from_zero_on(round):
    for name in ("ring4", "onepeer-exponential4", "random-matching4"):
        with pytest.raises(TopologyError, match="round must be an integer >= 0, got"):
            mixing_matrix(name, round=round)


def test_a_graph_of_networkx_gets_metropolis_hastings():
    assert_array_equal(build(nx.cycle_graph(4)).mixing(0).dense(), RING4)


def test_a_schedule_passes_through():
    schedule = build("ring4")
    assert build(schedule, 4) is schedule
    with pytest.raises(TopologyError, match="has 4 clients, but clients is 5"):
        build(schedule, 5)


def test_a_given_W_must_be_doubly_stochastic_unless_push_sum_uses_it():
    W = build("star4:mixing=columns").mixing(0).dense()
    with pytest.raises(TopologyError, match="row 0 of W sums to"):
        build(W)
    assert_array_equal(build(W, needs=("column-stochastic",)).mixing(0).dense(), W)
    with pytest.raises(TopologyError, match="column 0 of W sums to"):
        build(W.T, needs=("column-stochastic",))


@pytest.mark.parametrize("W", [np.ones(3), np.ones((2, 3)), np.ones((0, 0)), [[1], [1, 2]]])
def test_an_array_of_another_shape_is_refused(W):
    with pytest.raises(TopologyError):
        build(W)


def test_a_network_in_pieces_is_refused_unless_that_is_meant():
    with pytest.raises(TopologyError, match="2 pieces: clients 0 and 2 cannot both reach"):
        build(PAIRS)
    assert build(PAIRS, allow_disconnected=True).num_clients == 4
    assert build(np.eye(3), allow_disconnected=True).mixing(0).out_degrees().tolist() == [0, 0, 0]


def test_a_directed_network_must_reach_everyone_and_back():
    one_way = nx.DiGraph([(0, 1), (1, 2), (0, 2)])
    with pytest.raises(TopologyError, match="3 pieces"):
        build(one_way)


def test_directed_graphs_run_from_sender_to_receiver():
    graph = build("onepeer-exponential5").graph(1)
    assert graph.is_directed()
    assert sorted(graph.edges()) == [(i, (i + 2) % 5) for i in range(5)]


def test_irregular_directed_networks_are_for_push_sum():
    schedule = build(nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 2)]))
    assert schedule.rule == "columns"
    assert_allclose(schedule.mixing(0).column_sums(), 1)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_network_is_known_by_its_name(name):
    schedule = build(name)
    assert schedule.name == name
    assert schedule.source


def test_hospitals_have_one_bridge_and_offices_their_own_weights():
    assert list(nx.bridges(build("hospitals12").graph())) == [(0, 6)]
    offices = build("office-wan8")
    W = offices.mixing(0).dense()
    number = {label: i for i, label in enumerate(offices.labels)}
    assert W[number["berlin-1"], number["lisbon-1"]] == 0.1
    assert_allclose(np.diag(W).max(), 0.4)
    assert build("hospitals12:mixing=lazy").rule == "lazy"


def test_importing_networks_is_light():
    heavy = {"torch", "pandas", "yaml", "scipy", "matplotlib", "ray"}
    folder = str(Path(p2pqg.topology.__file__).parents[1])
    code = (  # a stand-in for p2pqg/__init__.py, which is free to import more
        "import sys, types; sys.modules['p2pqg'] = p = types.ModuleType('p2pqg');"
        f"p.__path__ = [{folder!r}]; import p2pqg.topology; print({heavy} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# Graphs of networkx, as people have them


def test_parallel_edges_count_once():
    edges = [(0, 1), (0, 1), (1, 2), (2, 0), (2, 3)]
    W = mixing_matrix(nx.MultiGraph(edges))
    assert_array_equal(W, mixing_matrix(nx.Graph(edges)))
    assert_allclose(W[0], [5 / 12, 1 / 3, 1 / 4, 0])
    ways = [(0, 1), (0, 1), (1, 2), (2, 0)]
    assert_array_equal(mixing_matrix(nx.MultiDiGraph(ways)), mixing_matrix(nx.DiGraph(ways)))


def test_without_a_gradient_the_mean_stays_on_a_graph_with_parallel_edges():
    graph = nx.MultiGraph([(0, 1), (0, 1), (1, 2), (2, 0), (2, 3)])
    x0 = np.arange(8.0).reshape(4, 2)
    path = trajectory("dsgd", lambda x, round: 0 * x, x0, topology=graph, rounds=30, lr=0.1)
    assert_allclose(path.mean(axis=1), np.tile(x0.mean(axis=0), (31, 1)))


def test_parallel_edges_of_a_pajek_file_count_once(tmp_path):
    (tmp_path / "pj.net").write_text(
        '*Vertices 3\n1 "a"\n2 "b"\n3 "c"\n*Edges\n1 2 1\n2 3 1\n2 3 1\n'
    )
    graph = nx.read_pajek(tmp_path / "pj.net")
    path = np.array([[2, 1, 0], [1, 1, 1], [0, 1, 2]]) / 3
    assert_allclose(mixing_matrix(graph), path)
    assert build(graph).labels == ("a", "b", "c")


@pytest.mark.parametrize("kind", [nx.MultiGraph, nx.MultiDiGraph])
def test_parallel_edges_that_differ_are_refused_where_their_weights_count(kind):
    graph = kind()
    graph.add_weighted_edges_from(
        [(0, 1, 0.5), (0, 1, 0.5), (1, 0, 0.5)][: 2 + graph.is_directed()]
    )
    assert_array_equal(RULES["given"].build(graph).dense(), [[0.5, 0.5], [0.5, 0.5]])
    graph.add_edge(0, 1, weight=0.25)
    with pytest.raises(TopologyError, match="edge 0, 1 is there twice, with weights 0.5 and 0.25"):
        RULES["given"].build(graph)
    assert mixing_matrix(graph).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_nodes_of_a_graph_may_have_names_or_other_numbers():
    assert build(nx.path_graph(["Ada", "Bob", "Cy"])).labels == ("Ada", "Bob", "Cy")
    from_one = build(nx.Graph([(3, 2), (2, 1)]))
    assert from_one.labels == ("1", "2", "3")
    assert sorted(from_one.graph().edges()) == [(0, 1), (1, 2)]
    assert build(nx.grid_2d_graph(2, 2)).labels == ("(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)")


def test_nodes_that_are_sets_are_called_the_same_in_every_process():
    """As those of a quotient graph; str() goes by how a set was filled, and by hashes."""
    one, other = frozenset([0, 8]), frozenset([8, 0])
    assert one == other
    assert str(one) != str(other)
    last = frozenset(["z", frozenset("b")])
    graphs = [nx.path_graph([first, last, ("a", (first,), 0.5)]) for first in (one, other)]
    names = ("frozenset({0, 8})", "frozenset({'z', frozenset({'b'})})")
    names += ("('a', (frozenset({0, 8}),), 0.5)",)
    assert [build(graph).labels for graph in graphs] == [names, names]


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.Graph(), "must have at least one node"),
        (nx.path_graph(["7", 7]), "two nodes of the graph are called 7"),
    ],
)
def test_a_graph_without_nodes_or_with_two_of_one_name_is_refused(graph, message):
    with pytest.raises(TopologyError, match=message):
        build(graph)


# W is checked whatever built it


def rule(name, build, **traits):
    """A mixing rule of the user's, by its name."""
    RULES.register(name, **traits)(build)
    return name


def test_W_of_a_users_rule_is_checked_as_soon_as_it_is_built():
    def shrinks(graph):
        W = RULES["metropolis_hastings"].build(graph)
        return replace(W, weights=0.9 * W.weights)

    rule("shrinks", shrinks)
    with pytest.raises(TopologyError, match="'ring4:mixing=shrinks': row 0 of W sums to 0.900"):
        build("ring4:mixing=shrinks")
    later = build("random-ring4:mixing=metropolis_hastings")
    later.draw = partial(_worse_and_worse, later.draw)
    later.mixing(1)
    with pytest.raises(TopologyError, match="round 2': row 0 of W sums to 0.9"):
        later.mixing(2)


def _worse_and_worse(draw, round):
    W = draw(round)
    return replace(W, weights=0.9 * W.weights) if round > 1 else W


def test_a_rule_says_what_its_W_does_not_keep():
    columns = RULES["columns"].build
    rule("by_columns", columns, rows=False)
    assert build("star4:mixing=by_columns").keeps == Promise(rows=False)
    rule("as_if_by_rows", columns)
    with pytest.raises(TopologyError, match="row 0 of W sums to"):
        build("star4:mixing=as_if_by_rows")


def test_entries_of_W_that_are_there_twice_are_refused():
    twice = Mixing(
        2, np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), np.array([0.5, 0.25, 0.25, 1])
    )
    with pytest.raises(TopologyError, match="entries of W must be in order, each once"):
        check(twice, "mine")
    with pytest.raises(TopologyError, match="of clients 0 to 1"):
        check(Mixing(2, np.array([0, 1]), np.array([0, 2]), np.ones(2)), "mine")


def test_checking_W_takes_little_beside_building_it():
    """At 10,240 clients, on a network that is drawn anew every round."""
    network = build("random-ring10240")

    def best(work):
        took = []
        for round in range(5):
            start = perf_counter()
            work(round)
            took.append(perf_counter() - start)
        return min(took)

    building = best(network.draw)
    W = network.draw(0)
    assert best(lambda round: check(W, "mine", network.keeps)) < 0.2 * building


NETS = """
import networkx as nx
import numpy as np
import pandas as pd


def ring_of(clients: int, hops=1):
    return nx.circulant_graph(clients, range(1, hops + 1))


def turning(step, round, clients=6):
    return nx.circulant_graph(clients, [1 + step * round])


def lazy_ring(share, keep: bool = True):
    W = np.roll(np.eye(5), 1, 0)
    return share * np.eye(5) + (1 - share) * (W + W.T) / 2 if keep else np.eye(5)
"""


def test_what_a_function_of_a_file_takes_is_set_behind_its_name(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    mine = f"{tmp_path}/nets.py"
    wide = build(f"{mine}:ring_of:hops=2", 7)
    assert wide.name == f"{mine}:ring_of:hops=2"
    assert wide.mixing(0).graph().edges == nx.circulant_graph(7, [1, 2]).edges
    narrow = build(f"{mine}:ring_of", 7)
    assert narrow.mixing(0).graph().edges == nx.cycle_graph(7).edges
    assert of_size(wide, 9).mixing(0).graph().edges == nx.circulant_graph(9, [1, 2]).edges
    turning = build(f"{mine}:turning:step=2")
    assert turning.period is None
    for round in (0, 1):
        again = pickle.loads(pickle.dumps(turning)).mixing(round).graph()
        assert again.edges == nx.circulant_graph(6, [1 + 2 * round]).edges
    assert of_size(turning, 8).num_clients == 8
    assert asked_of(turning).build.__module__.startswith("nets_")  # by it it travels to actors
    assert build(f"{mine}:lazy_ring:share=0.25").mixing(0).dense()[0, 0] == 0.25
    identity = build(f"{mine}:lazy_ring:share=0.25,keep=no", allow_disconnected=True)
    assert_array_equal(identity.mixing(0).dense(), np.eye(5))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("hop=2", r"nets.py:ring_of:hop=2': unknown key hop; did you mean hops\?"),
        ("hops=two", "hops must be an integer, got 'two'"),
        ("clients=4", "unknown key clients"),
        ("hops", "'hops' must read key=value"),
        ("hops=1,hops=2", "hops is set twice; keep one"),
    ],
)
def test_what_it_does_not_take_is_told(tmp_path, monkeypatch, options, told):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)
    with pytest.raises(TopologyError, match=told):
        build(f"nets.py:ring_of:{options}", 7)


def test_registered_ones_of_a_file_take_their_options_there(tmp_path, monkeypatch):
    monkeypatch.setattr(TOPOLOGIES, "_entries", {**TOPOLOGIES._entries})
    (tmp_path / "more.py").write_text(
        "from dataclasses import dataclass\n"
        "import networkx as nx\n"
        "from p2pqg.topology._registry import topology\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Params:\n"
        "    hops: int = 1\n"
        "@topology('hopping', params=Params, source='mine')\n"
        "def hopping(num_clients, params):\n"
        "    return nx.circulant_graph(num_clients, range(1, params.hops + 1))\n"
    )
    found = build(f"{tmp_path}/more.py:hopping:hops=3", 9)
    assert found.mixing(0).graph().edges == nx.circulant_graph(9, [1, 2, 3]).edges


def test_weights_of_a_graph_that_is_given_are_not_used_and_that_is_told():
    plain, same = nx.cycle_graph(4), nx.cycle_graph(4)
    weighted = nx.cycle_graph(4)
    nx.set_edge_attributes(same, 1, "weight")
    nx.set_edge_attributes(weighted, 0.3, "weight")
    assert build(plain).notes == build(same).notes == ()
    (note,) = build(weighted).notes
    assert note.startswith("given graph: edge weights are not used; to mix with them give W")
    assert_array_equal(build(weighted).mixing(0).dense(), RING4)


def test_a_function_that_fails_in_a_later_round_is_told_with_its_line():
    def net(round):
        return np.eye(3) if round < 2 else 1 / 0

    schedule = build(net, allow_disconnected=True)
    with pytest.raises(TopologyError, match=r"round 2 \(test_build.py line \d+\): ZeroDivisionErr"):
        schedule.mixing(2)


def test_clients_of_a_function_stay_who_they_are_by_the_names_of_its_nodes():
    paths = [nx.path_graph(list("abcd")), nx.path_graph(list("dbac"))]
    schedule = build(lambda round: paths[round % 2])
    assert schedule.labels == tuple("abcd")
    assert sorted(map(sorted, schedule.graph(1).edges())) == [[0, 1], [0, 2], [1, 3]]  # d-b-a-c
    same = build(nx.Graph([(3, 1), (1, 0), (0, 2)])).mixing(0)
    sent = pickle.loads(pickle.dumps(schedule.draw.labels))
    assert sent == tuple("abcd")  # to actors
    assert_array_equal(schedule.mixing(1).dense(), same.dense())


@pytest.mark.parametrize("first", [nx.path_graph(3), nx.path_graph(["0", "Bob", "Cy"])])
def test_a_node_that_round_0_did_not_have_is_told(first):
    schedule = build(lambda round: nx.path_graph([0, "Dia", 2]) if round else first)
    with pytest.raises(TopologyError, match="Dia is no client: the nodes of round 0 were 0, "):
        schedule.mixing(1)


def test_columns_of_a_frame_go_by_the_names_of_its_rows():
    W = build("erdos-renyi5:p=0.6,seed=1").mixing(0).dense()
    frame = pd.DataFrame(W, index=list("abcde"), columns=list("abcde"))
    mixed = frame[list("ecabd")]
    for given in (frame, mixed, lambda round: mixed, pd.DataFrame(W, columns=list("vwxyz"))):
        assert_array_equal(mixing_matrix(given), W)


def test_W_may_be_of_scipy_or_torch():
    tensor = torch.tensor(RING4, requires_grad=True)
    for given in (sparse.csr_matrix(RING4), sparse.coo_array(RING4), tensor, tensor.to_sparse()):
        assert_array_equal(mixing_matrix(given), RING4)
        assert_array_equal(mixing_matrix(lambda round, W=given: W), RING4)
        assert copy_of(given) == copy_of(RING4)
    turns = np.stack([RING4, RING4.T])
    for several in (torch.stack([tensor, tensor.mT]), [tensor, tensor.mT], ((*tensor,), tensor.mT)):
        assert copy_of(several) == copy_of(turns)
    assert_array_equal(mixing_matrix(torch.full((2, 2), 0.5, dtype=torch.bfloat16)), 0.5)


def test_what_is_no_W_says_what_to_give():
    with pytest.raises(TopologyError, match=r"lambda round: graphs\[round % 2\]"):
        build([nx.cycle_graph(4), nx.path_graph(4)])
    with pytest.raises(TopologyError, match="W must hold real numbers, got complex128"):
        build(RING4 + 0j)
    with pytest.raises(TopologyError, match="no values, being on torch's device meta"):
        build(torch.ones(4, 4, device="meta"))
    with pytest.raises(TopologyError, match=r"entries that are masked; fill them in"):
        build(np.ma.masked_equal(RING4, 0))
    with pytest.raises(TopologyError, match="or a function, got int"):
        build(10**400)
    with pytest.raises(TopologyError, match="as float32 is, compute it in float64"):
        build(RING4.astype(np.float32))
