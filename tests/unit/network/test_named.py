"""Clients and links as people name them: by number, by name, alone, in pairs, in arrays."""

import json

import networkx as nx
import numpy as np
import pytest

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.network.clients import Clients
from p2pqg.network.named import clients_in, links_in, more_labels
from p2pqg.network.network import Network
from p2pqg.network.verbs import VERBS
from p2pqg.topology import build
from p2pqg.topology.labels import key_of

RING = Clients(4)
PEOPLE = Clients(3, ("Alice", "Bob", "Ann-Marie"))
SITES = Clients(3, ("berlin-1", "berlin-2", "lisbon-1"))
BOTH = frozenset({(0, 1), (1, 0)})


@pytest.mark.parametrize(
    "who",
    [1, "1", 1.0, "1.0", "01", np.int64(1), np.array(1), [1], (1.0,), {1}, np.array([1]), ["001"]],
    ids=repr,
)
def test_a_client_may_be_called_by_a_number_of_any_kind(who):
    assert clients_in(who, RING, "key") == {1}


@pytest.mark.parametrize(
    "who",
    ["Bob", ["Bob"], 1, [np.int64(1)], ["1"], pytest.param(iter(["Bob"]), id="an iterator")],
    ids=repr,
)
def test_a_client_with_a_name_has_a_number_too(who):
    assert clients_in(who, PEOPLE, "key") == {1}


@pytest.mark.parametrize("labels", [("2", "0"), ("1", "hub"), ("007", "008"), ("2.5", "x")])
def test_where_a_name_looks_like_a_number_a_number_is_no_position(labels):
    known = Clients(2, labels)
    assert [known.number(label, "key") for label in labels] == [0, 1]
    for position in {"0", "1"} - set(labels):
        with pytest.raises(ConfigError, match=f"no client is called {position}"):
            known.number(int(position), "key")


def test_true_is_no_client():
    with pytest.raises(ConfigError, match="no client is called True"):
        RING.number(True, "key")


@pytest.mark.parametrize(
    ("known", "links"),
    [
        (RING, "0-1"),
        (RING, ["0-1"]),
        (RING, (0, 1)),
        (RING, [0, 1]),
        (RING, ["0", "1"]),
        (RING, np.array([0, 1])),
        (RING, np.array([[0, 1]])),
        (RING, (np.int64(0), np.int32(1))),
        (RING, [(np.int64(0), 1.0)]),
        (RING, {(0, 1)}),
        (RING, nx.path_graph(2).edges()),
        pytest.param(RING, iter([(0, 1)]), id="an iterator"),
        (PEOPLE, ("Alice", "Bob")),
        (PEOPLE, ["Alice", "Bob"]),
        (PEOPLE, [["Alice", "Bob"]]),
        (PEOPLE, ["Alice-Bob", "Bob-Alice"]),
        (PEOPLE, [("Alice", 1)]),
        pytest.param(PEOPLE, [{"Alice", "Bob"}], id="a set"),
        (SITES, ("berlin-1", "berlin-2")),
        (SITES, "berlin-1-berlin-2"),
    ],
    ids=str,
)
def test_a_link_may_be_written_in_many_ways(known, links):
    assert links_in(links, known, False, "key") == BOTH


def test_nodes_of_a_grid_are_named_by_their_places():
    grid = Clients(4, tuple(map(str, nx.grid_2d_graph(2, 2))))
    assert links_in(((0, 0), (0, 1)), grid, False, "key") == BOTH
    assert links_in([((0, 0), (0, 1))], grid, False, "key") == BOTH


@pytest.mark.parametrize(
    ("known", "links", "message"),
    [
        (PEOPLE, ("Alice", "Bobb"), "no client is called 'Bobb'; did you mean Bob"),
        (PEOPLE, ("Alice", "Ann-Mary"), "no client is called 'Ann-Mary'; did you mean Ann-Marie"),
        (RING, [np.int64(0), np.int64(9)], "no client is called 9; clients are numbered 0 to 3"),
        (RING, (1, 1), r"\[1, 1\] links a client to itself"),
        (RING, [(0, 1, 2)], r"a link is \[3, 4\] or"),
        (RING, 5, r"a link is \[3, 4\] or"),
        (RING, None, r"a link is \[3, 4\] or"),
        (Clients(4, ("a", "b", "a-b", "b-a")), ("a-b", "b-a"), "may be one link or two"),
    ],
    ids=str,
)
def test_what_is_no_link_is_refused(known, links, message):
    with pytest.raises(ConfigError, match=message):
        links_in(links, known, False, "drop_links")


def test_very_many_wrong_names_make_a_short_message():
    with pytest.raises(ConfigError) as refused:
        clients_in(range(4, 5000), RING, "drop_clients")
    assert len(refused.value.lines) == 10
    assert refused.value.lines[-1] == "and 4,987 more like these"
    crowd = Clients(5000, tuple(f"{k:04d}" for k in range(5000)))
    with pytest.raises(ConfigError, match="known: 0000, 0001, .* and 4,900 more"):
        crowd.number("nobody", "key")


# From files


@pytest.fixture
def network(tmp_path):
    """A function of the lines of a CSV file: the network in it."""

    def network(*lines: str) -> Network:
        path = tmp_path / "net.csv"
        path.write_text("\n".join(["source,target", *lines]))
        return Network(build(str(path)))

    return network


def test_floats_in_a_csv_are_the_numbers_that_pandas_made_of(network):
    net = network("2.0,0.0", "0.0,1.0", "1.0,2.0", "2.0,3.0")
    assert net.base.labels == ("0", "1", "2", "3")
    for who in ([1], [1.0], ["1.0"], "1"):
        assert net.drop_clients(who).absent == {1}
    assert sorted(net.base.graph().edges()) == [(0, 1), (0, 2), (1, 2), (2, 3)]


def test_numbers_with_zeros_in_front_keep_them_and_are_found_without(network):
    net = network("010,002", "002,001", "001,010")
    assert net.base.labels == ("001", "002", "010")
    assert net.drop_clients([10]).absent == net.drop_clients("010").absent == {2}
    with pytest.raises(ConfigError, match="no client is called 0; "):
        net.drop_clients(0)


def test_the_same_number_written_twice_is_one_client(network):
    net = network("01,2", "1,3.0", "3,2")
    assert net.num_clients == 3
    assert net.base.labels == ("01", "2", "3")


def test_names_and_numbers_mixed_are_all_names(network):
    net = network("1,hub", "2,hub", "hub,3")
    assert net.base.labels == ("1", "hub", "2", "3")
    assert net.drop_clients([1]).absent == {0}
    assert net.drop_links((2, "hub")).cut == {(2, 1), (1, 2)}
    with pytest.raises(ConfigError, match="no client is called 0"):
        net.drop_clients([0])


def test_new_clients_go_on_from_the_highest_number():
    path = nx.path_graph(["007", "011", "009"])
    assert build(path).labels == ("007", "009", "011")
    assert more_labels(build(path), 5) == ("007", "009", "011", "12", "13")
    assert more_labels(build(nx.path_graph(["a", "2"])), 3) == ("a", "2", "new-2")


def test_names_of_thousands_of_letters_are_refused(network):
    with pytest.raises(ConfigError, match="name must have at most 200 letters, got one of 5,000"):
        network("x" * 5000 + ",1")


@pytest.mark.parametrize(
    ("verb", "given", "words"),
    [
        ("drop_links", {"links": [(0, 1)]}, "Alice-Bob"),
        ("drop_links", {"links": ["Cy-1", ("Alice", "Bob")]}, "Alice-Bob, Bob-Cy"),
        ("restore_links", {}, "all"),
        ("drop_clients", {"clients": [np.int64(2), "Alice"]}, "Alice, Cy"),
        ("restore_clients", {"clients": "2", "how": "average"}, "Cy (average)"),
    ],
)
def test_what_was_done_is_told_by_names(verb, given, words):
    network = Network(build(nx.path_graph(["Alice", "Bob", "Cy"])))
    assert VERBS[verb].words(given, network) == words


@pytest.mark.parametrize("digits", ["9" * 150, "-" + "9" * 150])
def test_numbers_may_be_long(digits):
    assert key_of(digits + ".0") == digits


def test_new_clients_may_be_counted_and_linked_by_numpy():
    grown = Network(build("ring8")).add_clients(np.int64(1), [(np.int64(8), np.int32(0))])
    assert grown.num_clients == 9
    assert grown.neighbors(8) == [0]
    json.dumps(grown.to_data()[0])


def test_the_network_of_a_live_simulation_may_be_a_multigraph_and_its_clients_have_names():
    ring = nx.MultiGraph(nx.cycle_graph(["Ada", "Bob", "Cy", "Dan"]))
    settings = {"dataset": "digits", "model": "logistic", "engine": "local", "rounds": 4}
    with p2pqg.Simulation(topology=ring, **settings) as sim:
        sim.drop_links(("Ada", "Bob"))
        sim.drop_clients(np.array([1]))
        assert [event["what"] for event in sim.events] == ["drop_links Ada-Bob", "drop_clients Bob"]
        assert sim.network.describe() == "1 link down (Ada-Bob), 1 client absent (Bob)"
        sim.restore_clients("Bob", how="neighbor")
        sim.restore_links(iter([["Ada", "Bob"]]))
        twice = nx.MultiGraph([(0, 1), (0, 1), (1, 2), (2, 3)])
        sim.set_topology(twice)
        assert np.allclose(sim.network.base.mixing(0).dense()[0], [2 / 3, 1 / 3, 0, 0])
        assert sim.network.base.labels == ("Ada", "Bob", "Cy", "Dan")
