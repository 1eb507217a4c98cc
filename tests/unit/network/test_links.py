"""Links by class, name, file and graph; units; and every way to get them wrong."""

import math

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from p2pqg.base.errors import ConfigError
from p2pqg.network.clients import Clients
from p2pqg.network.link_spec import links_of, links_of_graph, read_line, read_links
from p2pqg.network.links import CLASSES, Link, Links, read_link
from p2pqg.network.units import bits_per_second, number, seconds

FOUR = Clients(4)
WOMEN = Clients(3, ("Eve", "Ann-Marie", "Zoe"))


def links(value, clients=FOUR) -> Links:
    return links_of(read_links(value), clients)


def link(found: Links, sender: int, receiver: int) -> Link:
    return Link(*found.look_up(np.array([sender]), np.array([receiver]))[:, 0].tolist())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50 ms", 0.05), ("50ms", 0.05), (0.05, 0.05), ("5e-2", 0.05), ("2 min", 120), ("3 us", 3e-6)],
)
def test_times_are_seconds_or_have_a_unit(text, expected):
    assert seconds(text, "key") == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10 Mbit/s", 1e7), ("10Mbps", 1e7), ("1 MB/s", 8e6), ("1e7", 1e7), (64, 64), ("inf", np.inf)],
)
def test_rates_are_bits_per_second_or_have_a_unit(text, expected):
    assert bits_per_second(text, "key") == expected


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (seconds, "fast", r"key must be a time such as 0.05 \(seconds\) or 50 ms, got 'fast'"),
        (seconds, "5 mss", "key: unknown unit 'mss' in '5 mss'; did you mean ms"),
        (seconds, -1, "key must be >= 0 and finite, got -1"),
        (seconds, math.inf, "key must be >= 0 and finite"),
        (seconds, math.nan, "key must be a time"),
        (seconds, True, "key must be a time"),
        (seconds, [1], "key must be a time"),
        (bits_per_second, "10 mbit/s", "unknown unit 'mbit/s'.*did you mean .*Mbit/s"),
        (bits_per_second, "10 ms", "unknown unit 'ms'"),
        (bits_per_second, 0, "key must be > 0, got 0"),
        (number, "1 s", "unknown unit 's'"),
    ],
)
def test_bad_quantities_are_refused(read, value, message):
    with pytest.raises(ConfigError, match=message):
        read(value, "key")


def test_one_class_or_one_mapping_is_for_all_links():
    assert link(links("4g"), 0, 3) == Link(0.17, 9e6, 0)
    said = {"latency": "20 ms", "bandwidth": "10 Mbit/s", "jitter": "5 ms"}
    assert link(links(said), 2, 1) == Link(0.02, 1e7, 0.005)
    assert link(links({"class": "wan", "bandwidth": 1e7}), 2, 1) == Link(0.075, 1e7, 0)
    assert link(links({"latency": 1}), 2, 1) == Link(1, math.inf, 0)


def test_between_two_clients_of_a_class_the_narrower_direction_of_its_lines_counts():
    for line in CLASSES.values():
        assert line.link.bandwidth == min(line.uplink, line.downlink)
    assert read_link("dsl", "links").bandwidth == 384e3


def test_links_by_name_beat_the_default_both_ways_or_one_way():
    found = links({"default": "lan", "0-1": "wan", "2->3": {"class": "wan", "latency": 1}})
    assert link(found, 0, 1) == link(found, 1, 0) == CLASSES["wan"].link
    assert link(found, 2, 3).latency == 1
    assert link(found, 3, 2) == link(found, 0, 2) == CLASSES["lan"].link
    assert link(links({"0-1": "wan"}), 2, 3) == Link()


def test_many_links_are_looked_up_at_once():
    special = {(s, r): Link(s + r / 10, 1 + s, r) for s in range(4) for r in range(4) if s > r}
    found = Links.of(Link(9, 9, 9), special)
    senders, receivers = np.indices((4, 4)).reshape(2, -1)
    latency, bandwidth, jitter = found.look_up(senders, receivers)
    known = senders > receivers
    assert_array_equal(latency, np.where(known, senders + receivers / 10, 9))
    assert_array_equal(bandwidth, np.where(known, 1 + senders, 9))
    assert_array_equal(jitter, np.where(known, receivers, 9))


def test_clients_may_be_named_by_label_and_by_number():
    found = links({"Eve->Ann-Marie": "wan", "2->0": "lan"}, WOMEN)
    assert link(found, 0, 1) == CLASSES["wan"].link
    assert link(found, 2, 0) == CLASSES["lan"].link
    assert WOMEN.link("Ann-Marie-Zoe", "key") == [(1, 2), (2, 1)]


def test_labels_that_are_numbers_are_meant_as_such():
    from_one = Clients(3, ("1", "2", "3"))
    assert from_one.link("1->3", "key") == [(0, 2)]
    with pytest.raises(ConfigError, match="no client is called '0'; known: 1, 2, 3"):
        from_one.link("0-1", "key")


def test_a_name_that_can_be_read_in_two_ways_is_refused():
    with pytest.raises(ConfigError, match="'a-b-c' can be read as several links"):
        Clients(4, ("a", "b-c", "a-b", "c")).link("a-b-c", "key")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("wam", "network.links: unknown link class 'wam'; did you mean wan"),
        (3, "network.links must be one of perfect, lan, .* got 3"),
        ({"latencie": 1}, "unknown key network.links.latencie; did you mean latency"),
        ({"latency": "1 Mbit/s"}, "network.links.latency: unknown unit"),
        ({"latency": 1, "0-1": "lan"}, "unknown key network.links.0-1"),
        ({"bandwidth": 0}, "network.links.bandwidth must be > 0, got 0"),
        ({"bandwidth": 5e-324}, "network.links.bandwidth must be 5.877e-39 at least, got 5e-324"),
        ({"latency": 1e300}, r"network.links.latency must be 1.701e\+38 at most, got 1e\+300"),
        ({"jitter": -1}, "network.links.jitter must be >= 0"),
        ({"class": "lam"}, "network.links.class: unknown link class 'lam'"),
        ({"0-1": {"latency": "x"}}, "network.links.0-1.latency must be a time"),
        ({"0-9": "lan"}, "link '0-9': no client is called '9'; clients are numbered 0 to 3"),
        ({"1-1": "lan"}, "'1-1' links a client to itself"),
        ({"0-1": "lan", "1->0": "wan"}, "link 1->0 is given twice"),
        ({"0-1-2": "lan"}, "'0-1-2' must name a link such as 0-1"),
        ({5: "lan"}, "unknown key network.links.5; a link is named as 0-1"),
        ({"defautl": "lan"}, "unknown key network.links.defautl; did you mean default"),
        ({"file": "links.txt"}, "network.links.file must end in .csv or .graphml"),
        ("nowhere.csv", "nowhere.csv: cannot be read: No such file"),
        ("nowhere.graphml", "nowhere.graphml: cannot be read: No such file"),
    ],
)
def test_bad_links_are_refused(value, message):
    with pytest.raises(ConfigError, match=message):
        links(value)


def test_a_csv_gives_links_both_ways_unless_it_has_the_way_back(tmp_path):
    path = tmp_path / "links.csv"
    path.write_text(
        "source,target,class,latency,bandwidth\n0,1,wan,,\n1,0,wan,10 ms,\n2,3,,0.5,2 Mbit/s\n\n"
    )
    found = links(str(path))
    assert link(found, 0, 1) == CLASSES["wan"].link
    assert link(found, 1, 0) == CLASSES["wan"].link._replace(latency=0.01)
    assert link(found, 2, 3) == link(found, 3, 2) == Link(0.5, 2e6)
    assert link(found, 0, 2) == Link()
    found = links({"file": str(path), "default": "lan", "0->1": "dsl"})
    assert link(found, 0, 1) == CLASSES["dsl"].link
    assert link(found, 1, 0).latency == 0.01
    assert link(found, 0, 2) == CLASSES["lan"].link


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty. Its first line must name the columns source,target"),
        ("source,latency\n", "line 1 must name the columns source,target"),
        ("source,target,latenzy\n", "line 1: unknown column 'latenzy'; did you mean latency"),
        ("source,target,class,class\n", "names the column class twice"),
        ("source,target,class\n0,1\n", r"line 2 must have 3 cells .source,target,class., got 2"),
        ("source,target,class\n0,,lan\n", "line 2: target must not be empty"),
        ("source,target,class\n0,7,lan\n", "line 2: no client is called '7'"),
        ("source,target,class\n0,1,lam\n", "line 2.class: unknown link class 'lam'"),
        ("source,target,latency\n0,1,soon\n", "line 2.latency must be a time"),
        ("source,target,class\n0,1,lan\n0,1,wan\n", "line 3: link 0, 1 is there already"),
        ("source,target,class\n1,1,lan\n", "line 2: links client 1 to itself"),
    ],
)
def test_a_bad_csv_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "links.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        links(str(path))


def test_a_graph_gives_links_by_its_edge_attributes(tmp_path):
    graph = nx.Graph([("Eve", "Zoe", {"class": "wan", "jitter": 0.5}), ("Zoe", "Ann-Marie")])
    found = links_of_graph(graph, WOMEN)
    wan = CLASSES["wan"].link._replace(jitter=0.5)
    assert found == {(0, 2): wan, (2, 0): wan}
    assert links_of_graph(graph.to_directed(), WOMEN) == found
    directed = nx.DiGraph([(0, 1, {"latency": "10 ms"})])
    assert links_of_graph(directed, FOUR) == {(0, 1): Link(0.01)}

    path = tmp_path / "links.graphml"
    nx.write_graphml(graph, path)
    assert link(links(str(path), WOMEN), 2, 0) == wan
    path.write_text("not a graph")
    with pytest.raises(ConfigError, match="is not GraphML"):
        links(str(path))


def test_lines_are_rates_classes_or_a_mapping_of_clients():
    assert read_line(None, "uplink") == (math.inf, {})
    assert read_line("5 Mbit/s", "uplink") == (5e6, {})
    assert read_line("dsl", "uplink") == (384e3, {})
    assert read_line("dsl", "downlink") == (1.5e6, {})
    said = {"default": "lan", 3: 1e6, "Eve": "3g"}
    assert read_line(said, "uplink") == (1e9, {"3": 1e6, "Eve": 768e3})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("dls", "network.uplink: unknown link class 'dls'; did you mean dsl"),
        ({"3": "5 Mbit"}, "network.uplink.3: unknown unit 'Mbit'"),
        (0, "network.uplink must be > 0"),
        ([1], "network.uplink must be a rate"),
    ],
)
def test_bad_lines_are_refused(value, message):
    with pytest.raises(ConfigError, match=message):
        read_line(value, "uplink")


def test_classes_are_ordered_as_one_would_think():
    latencies = [CLASSES[name].latency for name in ("perfect", "lan", "fiber", "dsl", "satellite")]
    assert latencies == sorted(latencies)
    assert all(line.source for line in CLASSES.values())
