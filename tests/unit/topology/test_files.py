"""Networks in files: YAML, GraphML, CSV; good ones and broken ones."""

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from p2pqg.base.errors import TopologyError
from p2pqg.topology import build, check_needs


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function of (name, text): writes a file into an empty folder and builds its network."""
    monkeypatch.chdir(tmp_path)

    def load(name: str, text: str, options: str = "", **keywords):
        (tmp_path / name).write_text(text)
        return build(f"{name}{options}", **keywords)

    return load


RING4 = build("ring4").mixing(0).dense()
EDGES = "edges: [[0, 1], [1, 2], [2, 3], [3, 0]]\n"


def test_yaml_edges_give_a_graph(load):
    schedule = load("net.yaml", EDGES + "source: me\n")
    assert_array_equal(schedule.mixing(0).dense(), RING4)
    assert (schedule.name, schedule.source) == ("net.yaml", "me")


def test_yaml_names_a_graph_and_a_rule(load):
    schedule = load("net.yml", "graph: ring4\nmixing: lazy\n")
    assert_allclose(schedule.mixing(0).dense(), (RING4 + np.eye(4)) / 2)
    assert load("net.yaml", "graph: ring\n", clients=4).num_clients == 4


def test_a_suffix_overrides_the_rule_of_a_file(load):
    assert_array_equal(
        load("net.yaml", EDGES + "mixing: lazy", ":mixing=uniform").mixing(0).dense(), RING4
    )


def test_yaml_graphs_are_used_in_turn(load):
    schedule = load("net.yaml", "graphs: [ring4, [[0, 1], [2, 3]]]\nclients: 4\n")
    assert schedule.period == 2
    assert sorted(schedule.graph(3).edges()) == [(0, 1), (2, 3)]


def test_yaml_matrices_are_W(load):
    assert_array_equal(load("net.yaml", f"matrix: {RING4.tolist()}\n").mixing(0).dense(), RING4)
    assert load("net.yaml", f"matrix: {[RING4.tolist()] * 3}\n").period == 3


def test_yaml_weights_count_when_the_rule_is_given(load):
    schedule = load("net.yaml", "edges: [[a, b, 0.25], [b, c, 0.5]]\nmixing: given\n")
    assert schedule.labels == ("a", "b", "c")
    assert_allclose(schedule.mixing(0).dense()[1], [0.25, 0.25, 0.5])


def test_yaml_directed_edges_run_from_sender_to_receiver(load):
    schedule = load("net.yaml", "edges: [[0, 1], [1, 2], [2, 0]]\ndirected: true\n")
    assert schedule.directed
    assert schedule.rule == "uniform"
    assert schedule.mixing(0).dense()[1, 0] == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("edges: [[0, 1]\n", "net.yaml: line 2: is not YAML"),
        ("- 1\n", "must have keys"),
        ("", "must have keys"),
        ("edgs: [[0, 1]]\n", "unknown key edgs; did you mean edges"),
        ("graph: ring4\nedges: [[0, 1]]\n", "exactly one of .* got graph and edges"),
        ("mixing: lazy\n", "exactly one of .* got none"),
        ("graph: rign4\n", "net.yaml: graph: unknown topology 'rign4'; did you mean ring"),
        ("graph: 4\n", "graph must be a name"),
        ("graph: ring4\nmixing: lasy\n", "unknown mixing rule 'lasy'; did you mean lazy"),
        ("graph: ring4\nmixing: 3\n", "mixing must be text, got 3"),
        ("graph: ring4\nclients: 5\n", "has 4 clients, but clients is 5"),
        ("edges: []\n", "edges must be a list"),
        ("edges: [[0, 1], [1]]\n", r"edges\[1\] must be \[client, client\]"),
        ("edges: [[0, 1], [1, 2.5]]\n", r"edges\[1\]: clients must be numbers or names"),
        ("edges: [[0, 1, 0.5]]\n", "has a weight, but the file does not say what for"),
        ("edges: [[0, 1, x]]\nmixing: given\n", "weight must be a number, got 'x'"),
        ("edges: [[0, 1, 0.7], [1, 2, 0.7]]\nmixing: given\n", r"W\[1, 1\] is -0.4"),
        ("edges: [[0, 1], [1, 2]]\nmixing: given\n", "edge 0, 1 has no weight"),
        ("edges: [[0, 1, 0.5], [1, 0, 0.4]]\nmixing: given\n", r"edges\[1\].*but 0.5 before"),
        ("edges: [[0, 0], [0, 1]]\n", r"edges\[0\]: client 0 is joined to itself"),
        ("edges: [[0, 1], [2, 4]]\n", "client 3 has no edge"),
        ("edges: [[0, 1], [2, 3]]\n", "the network is in 2 pieces"),
        ("edges: [[0, 1], [1, 7]]\nclients: 3\n", "numbered 0 to 2 .or from 1., got 0 to 7"),
        ("edges: [[a, b]]\nclients: 3\n", "clients must be 2"),
        ("edges: [[0, 1]]\nclients: true\n", "clients must be an integer"),
        ("edges: [[0, 1]]\ndirected: maybe\n", "directed must be true or false"),
        ("graphs: [ring4, ring5]\n", "must all have the same clients"),
        ("graphs: [random-ring4]\n", r"graphs\[0\] must not change itself"),
        ("graphs: [[[0, 1]]]\n", "need clients"),
        ("matrix: [[1, 0], [1]]\n", "matrix must be rows of numbers"),
        ("matrix: [[0.5, 0.5], [0.5, 0.4]]\n", "row 1 of W sums to 0.900"),
        ("matrix: [[1, 0, 0]]\n", "must be .clients, clients."),
        ("matrix: [[1]]\nmixing: lazy\n", "mixing must be given"),
    ],
)
def test_a_broken_yaml_file_says_where_and_what_to_do(load, text, message):
    with pytest.raises(TopologyError, match=message) as caught:
        load("net.yaml", text)
    assert "net.yaml" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_csv_edges_give_a_graph_with_or_without_both_directions(load):
    schedule = load("net.csv", "source,target\na,b\nb,c\n\nc,a\na,c\n")
    assert schedule.labels == ("a", "b", "c")
    assert_allclose(schedule.mixing(0).dense(), 1 / 3)


def test_csv_numbers_may_start_at_one_and_keep_their_order(load):
    schedule = load("net.csv", "source,target\n3,2\n2,1\n")
    assert schedule.labels == ("1", "2", "3")
    assert sorted(schedule.graph().edges()) == [(0, 1), (1, 2)]


def test_csv_numbers_of_badges_may_have_gaps(load):
    schedule = load("net.csv", "source,target\n1148,1644\n1644,1613\n")
    assert schedule.labels == ("1148", "1613", "1644")
    assert sorted(schedule.graph().edges()) == [(0, 2), (1, 2)]


def test_csv_clients_without_a_line_are_there_when_clients_says_so(load):
    with pytest.raises(TopologyError, match="2 pieces: clients 0 and 3"):
        load("net.csv", "source,target\n0,1\n1,2\n", clients=4)


def test_csv_weights_are_used_with_the_rule_given_only(load):
    text = "source,target,weight\n0,1,0.25\n1,2,0.5\n"
    plain = load("net.csv", text)
    assert_allclose(plain.mixing(0).dense()[0], [2 / 3, 1 / 3, 0])
    (warning,) = check_needs(plain, (), "dsgd")
    assert "edge weights are not used" in warning
    mixed = load("net.csv", text, ":mixing=given")
    assert_allclose(mixed.mixing(0).dense()[1], [0.25, 0.25, 0.5])
    assert check_needs(mixed, (), "dsgd") == []


def test_csv_rounds_are_a_network_each_and_idle_where_there_is_no_line(load):
    schedule = load("net.csv", "source,target,round\n0,1,0\n2,3,0\n1,2,2\n")
    assert schedule.period == 3
    assert sorted(schedule.graph(0).edges()) == [(0, 1), (2, 3)]
    assert_array_equal(schedule.mixing(1).dense(), np.eye(4))
    assert_allclose(np.diag(schedule.mixing(5).dense()), [1, 0.5, 0.5, 1])


def test_csv_times_are_sorted_and_used_in_turn(load):
    schedule = load("net.csv", "source,target,time\n1,2,9.5\n0,1,1e3\n0,1,-2\n")
    assert schedule.period == 3
    assert [list(schedule.graph(round).edges()) for round in range(3)] == [
        [(0, 1)],
        [(1, 2)],
        [(0, 1)],
    ]


def test_csv_may_be_directed(load):
    text = "source,target\n0,1\n1,2\n2,0\n0,2\n"
    schedule = load("net.csv", text, ":directed=true")
    assert schedule.rule == "columns"
    assert_allclose(schedule.mixing(0).dense()[:, 0], 1 / 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("0,1\n1,2\n2,0\n", "line 1 must name the columns source,target"),
        ("0,1\n1,2\n", "if each line is an edge, begin with a line source,target"),
        ("source,target,wieght\n0,1,2\n", "unknown column 'wieght'; did you mean weight"),
        ("source,target,round,time\n0,1,0,0\n", "both round and time"),
        ("source,target\n", "has no edge"),
        ("source,target\n0,1\n1\n", "line 3 must have 2 cells"),
        ("source,target\n0,\n", "line 2: target must not be empty"),
        ("source,target,weight\n0,1,heavy\n", "line 2: weight must be a number, got 'heavy'"),
        ("source,target,round\n0,1,0.5\n", "line 2: round must be an integer"),
        ("source,target,round\n0,1,0\n2,3,1\n", "2 pieces.*in any round"),
        ("source,target\n0,1\n1,1\n", "line 3: client 1 is joined to itself"),
    ],
)
def test_a_broken_csv_file_says_where_and_what_to_do(load, text, message):
    with pytest.raises(TopologyError, match=message) as caught:
        load("net.csv", text)
    assert "net.csv" in str(caught.value)


def test_graphml_is_read_without_its_weights(load, tmp_path):
    graph = nx.karate_club_graph()
    nx.write_graphml(graph, tmp_path / "karate.graphml")
    schedule = build("karate.graphml", 34)
    assert_array_equal(schedule.mixing(0).dense(), build("karate").mixing(0).dense())
    assert "edge weights are not used" in schedule.notes[0]


def test_graphml_keeps_directions_and_weights_where_asked(load, tmp_path):
    graph = nx.DiGraph()
    graph.add_weighted_edges_from([("a", "b", 0.25), ("b", "c", 0.25), ("c", "a", 0.25)])
    nx.write_graphml(graph, tmp_path / "net.graphml")
    W = build("net.graphml:mixing=given").mixing(0).dense()
    assert_allclose(W, [[0.75, 0, 0.25], [0.25, 0.75, 0], [0, 0.25, 0.75]])


@pytest.mark.parametrize("text", ["", "<graphml>", "not xml"])
def test_a_broken_graphml_file_is_said_to_be_one(load, text):
    with pytest.raises(TopologyError, match="net.graphml: is not GraphML"):
        load("net.graphml", text)


def test_a_missing_file_names_its_neighbors(load):
    load("hospital.csv", "source,target\n0,1\n")
    with pytest.raises(TopologyError, match="hospitl.csv: no such file; did you mean hospital.csv"):
        build("hospitl.csv")


def test_a_file_knows_its_number_of_clients(load):
    with pytest.raises(TopologyError, match="has 4 clients, but clients is 5"):
        load("net.yaml", "graph: ring4", clients=5)
    with pytest.raises(TopologyError, match="unknown key k"):
        load("net.csv", "source,target\n0,1\n", ":k=2")
