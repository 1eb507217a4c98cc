"""Networks in the formats of other programs: read where it is certain what they say, or refused."""

import json

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from p2pqg.base.errors import TopologyError
from p2pqg.network.clients import Clients
from p2pqg.network.link_spec import links_of, read_links
from p2pqg.topology import build, mixing_matrix
from p2pqg.topology.files import CONVERT

HOUSE = nx.Graph([("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "c")])
W_OF_HOUSE = mixing_matrix(HOUSE)


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function of (name, content): writes a file into an empty folder and builds its network."""
    monkeypatch.chdir(tmp_path)

    def load(name: str, content: str | bytes, options: str = "", **keywords):
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
        return build(f"{name}{options}", **keywords)

    return load


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("net.graphml", nx.write_graphml),
        ("net.gexf", nx.write_gexf),
        ("net.gml", nx.write_gml),
        ("net.net", nx.write_pajek),
        ("net.edgelist", nx.write_edgelist),
        ("net.txt", lambda graph, path: nx.write_edgelist(graph, path, data=False)),
    ],
)
@pytest.mark.parametrize("directed", [False, True])
def test_what_networkx_writes_is_the_same_network(name, write, directed, tmp_path):
    graph = nx.DiGraph(nx.cycle_graph(["a", "b", "c", "d"], nx.DiGraph)) if directed else HOUSE
    write(graph, tmp_path / name)
    options = ":directed=true" if directed and name in ("net.edgelist", "net.txt") else ""
    network = build(f"{tmp_path / name}{options}")
    number = [network.labels.index(node) for node in "abcd"]
    assert_array_equal(network.mixing(0).dense()[np.ix_(number, number)], mixing_matrix(graph))
    assert network.directed == directed


@pytest.mark.parametrize("name", ["net.gexf", "net.gml"])
def test_people_keep_their_names(name, tmp_path):
    graph = nx.path_graph(3)
    nx.set_node_attributes(graph, {0: "Zoë", 1: "Łucja", 2: "Eve"}, "label")
    if name == "net.gml":
        (tmp_path / name).write_text(GML, encoding="utf-8")
    else:
        nx.write_gexf(graph, tmp_path / name)
    assert build(str(tmp_path / name)).labels == ("Zoë", "Łucja", "Eve")


GML = """graph [
  node [ id 0 label "Zoë" ]
  node [ id 1 label "&#321;ucja" ]
  node [ id 2 label "Eve" ]
  edge [ source 0 target 1 ]
  edge [ source 1 target 2 ]
]
"""


def test_a_gml_without_labels_has_ids(load):
    network = load("net.gml", "graph [ node [ id 5 ] node [ id 3 ] edge [ source 5 target 3 ] ]")
    assert network.labels == ("3", "5")


def test_a_metis_file_lists_neighbors(load):
    network = load("net.graph", "% house\n4 5\n2 3 4\n1 3\n1 2 4\n1 3\n")
    assert_array_equal(network.mixing(0).dense(), W_OF_HOUSE)
    assert network.labels == ("1", "2", "3", "4")


SNAP = "# Directed graph (each unordered pair of nodes is saved once)\n# FromNodeId\tToNodeId\n"


def test_a_list_of_edges_of_snap_says_itself_whether_it_is_directed(load):
    edges = "30\t3\n3\t28\n28\t30\n"
    assert load("wiki.txt", SNAP + edges).directed
    assert load("wiki.txt", SNAP.replace("Directed", "Undirected") + edges).directed is False
    assert load("wiki.txt", SNAP + edges, ":directed=false").directed is False
    assert load("wiki.txt", edges).directed is False
    assert load("wiki.txt", edges).labels == ("3", "28", "30")


@pytest.mark.parametrize("name", ["net.npy", "net.csv"])
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_zeros_and_ones_say_who_is_joined_to_whom(name, dtype, tmp_path):
    matrix = nx.to_numpy_array(HOUSE, dtype=dtype)
    save(tmp_path / name, matrix)
    assert_array_equal(build(str(tmp_path / name)).mixing(0).dense(), W_OF_HOUSE)
    save(tmp_path / name, matrix + np.eye(4, dtype=dtype))  # everyone hears itself anyway
    assert_array_equal(build(str(tmp_path / name)).mixing(0).dense(), W_OF_HOUSE)
    weighed = build(f"{tmp_path / name}:mixing=lazy").mixing(0).dense()
    assert_allclose(weighed, (W_OF_HOUSE + np.eye(4)) / 2)


@pytest.mark.parametrize("name", ["net.npy", "net.csv"])
def test_rows_that_sum_to_1_are_W(name, tmp_path):
    save(tmp_path / name, W_OF_HOUSE)
    assert_array_equal(build(str(tmp_path / name)).mixing(0).dense(), W_OF_HOUSE)
    columns = mixing_matrix("star4:mixing=uniform").T
    save(tmp_path / name, columns)
    network = build(str(tmp_path / name), needs=("column-stochastic",))
    assert_array_equal(network.mixing(0).dense(), columns)


def save(path, matrix):
    if path.suffix == ".npy":
        np.save(path, matrix)
    else:
        np.savetxt(path, matrix, delimiter=",", fmt="%.17g")


def test_an_adjacency_matrix_runs_from_row_to_column(tmp_path):
    np.save(tmp_path / "net.npy", np.array([[0, 1, 1], [0, 0, 1], [1, 0, 0]]))
    network = build(str(tmp_path / "net.npy"))
    assert sorted(network.graph().edges()) == [(0, 1), (0, 2), (1, 2), (2, 0)]
    undirected = build(f"{tmp_path / 'net.npy'}:directed=false")
    assert sorted(undirected.graph().edges()) == [(0, 1), (0, 2), (1, 2)]


def test_matrices_of_several_rounds_are_used_in_turn(tmp_path):
    rounds = np.array([[[0, 1, 0], [1, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1], [0, 1, 0]]])
    np.save(tmp_path / "net.npy", rounds)
    network = build(str(tmp_path / "net.npy"))
    assert [sorted(network.graph(t).edges()) for t in range(3)] == [[(0, 1)], [(1, 2)], [(0, 1)]]


@pytest.mark.parametrize(
    "text",
    ["a,b,c\n0,1,1\n1,0,1\n1,1,0\n", ",a,b,c\na,0,1,1\nb,1,0,1\nc,1,1,0\n"],
    ids=["names above", "names above and in front, as pandas writes them"],
)
def test_a_matrix_in_csv_may_name_its_clients(load, text):
    network = load("net.csv", text)
    assert network.labels == ("a", "b", "c")
    assert_allclose(network.mixing(0).dense(), 1 / 3)


@pytest.mark.parametrize("options", [":mixing=given", ":mixing=metropolis_hastings"])
def test_a_matrix_that_may_be_either_is_what_the_user_says(load, options):
    pairs = "0,1,0,0\n1,0,0,0\n0,0,0,1\n0,0,1,0\n"
    with pytest.raises(TopologyError, match="Say :mixing=given if they are weights"):
        load("net.csv", pairs, allow_disconnected=True)
    own = load("net.csv", pairs, options, allow_disconnected=True).mixing(0).dense()[0, 0]
    assert own == (0 if options == ":mixing=given" else 0.5)


@pytest.mark.parametrize("text", ["1\n", "0\n", ",a\na,1\n"])
def test_one_client_alone_is_the_same_however_it_is_read(load, text):
    assert_array_equal(load("net.csv", text).mixing(0).dense(), mixing_matrix([[1]]))


PAJEK = '*Vertices 2\n1 "a"\n2 "b"\n'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.gexf", "<gexf>", "is not GEXF that networkx can read"),
        ("net.gml", "graph", "is not GML that networkx can read"),
        ("net.gml", b"\xff\xfe", "is not UTF-8 text"),
        ("net.gml", "graph [ ]", "has no node"),
        ("net.net", "hello", "is not Pajek .*it must have"),
        ("net.net", PAJEK + "*Edges\n1 2\n*Arcs\n2 1\n", "one of .Edges, .Arcs, .Matrix, got"),
        ("net.net", PAJEK + "*Edgeslist\n1 2\n", "one of .Edges, .Arcs, .Matrix, got"),
        ("net.net", '*Vertices 2\n1 "a"\n2 "a"\n*Edges\n1 2\n', "says 2 vertices, but names 1"),
        ("net.net", PAJEK + "*Edges\n1 3\n", "says 2 vertices, but names 3"),
        ("net.graph", "2 1 011\n2 5\n1 5\n", "METIS .*its edges or nodes have weights"),
        ("net.graph", "3 1\n2\n1\n", "says 3 nodes, but has 2 lines"),
        ("net.graph", "2 5\n2\n1\n", "says 5 edges, but has 1"),
        ("net.graph", "", "is not METIS"),
        ("net.txt", "", "has no edge"),
        ("net.txt", "0\n", "line 1 must name two clients, got '0'"),
        ("net.txt", "0 1 1353303380\n", "line 1 has more than two clients, and it is not said"),
        ("net.txt", "0 1 {'weight': 1}\n1 1 {}\n", "line 2: client 1 is joined to itself"),
        ("net.npy", "hello", "is not an array that numpy can read"),
        ("net.csv", "1,2,3\n4,5,6\n7,8,9\n", "neither zeros and ones nor weights"),
        ("net.csv", "1,1\n1,nan\n", "has entries that are no finite numbers"),
        ("net.csv", "a,a\n0,1\n1,1\n", "two clients of one name"),
    ],
)
def test_what_is_not_certain_is_refused(load, name, content, message):
    with pytest.raises(TopologyError, match=message) as refused:
        load(name, content)
    assert name in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 3


def test_arrays_that_are_no_networks_are_refused(tmp_path):
    for array, message in [
        (np.ones(3), "must be .clients, clients. or"),
        (np.ones((2, 3)), "got shape .2, 3."),
        (np.array([["a", "b"], ["c", "d"]]), "must hold real numbers"),
        (np.full((2, 2), np.inf), "no finite numbers"),
        (np.array([[{}, 1], [1, 1]], dtype=object), "is not an array that numpy can read"),
    ]:
        np.save(tmp_path / "net.npy", array)
        with pytest.raises(TopologyError, match=message):
            build(str(tmp_path / "net.npy"))


def test_a_gexf_with_times_is_refused(tmp_path):
    graph = nx.path_graph(3)
    graph.graph["mode"] = "dynamic"
    nx.write_gexf(graph, tmp_path / "net.gexf")
    with pytest.raises(TopologyError, match="its edges have times, which networkx leaves out"):
        build(str(tmp_path / "net.gexf"))


@pytest.mark.parametrize("name", ["net.json", "net.mtx", "net.npz", "net.tsv", "net.dat", "net"])
def test_another_format_is_refused_with_the_two_lines_that_convert_it(load, name):
    with pytest.raises(TopologyError, match="not in a format that is read") as refused:
        load(name, "0 1\n1 2\n")
    first, *lines = str(refused.value).splitlines()
    assert first.startswith(name)
    assert len(lines) == 2
    for line in lines:
        compile(line, "the message", "exec")


@pytest.mark.filterwarnings("ignore::FutureWarning")  # networkx 3.4 of its own default
def test_the_lines_that_convert_do_convert(load, tmp_path):
    """Those that need nothing beyond what p2pqg needs."""
    (tmp_path / "net.json").write_text(json.dumps(nx.node_link_data(HOUSE)))
    (tmp_path / "net.tsv").write_text("source\ttarget\na\tb\nb\tc\n")
    (tmp_path / "net.dat").write_text("a b\nb c\n")
    for name, made in [
        ("net.json", "net.graphml"),
        ("net.tsv", "net.csv"),
        ("net.dat", "net.graphml"),
    ]:
        with pytest.raises(TopologyError) as refused:
            build(name)
        exec("\n".join(str(refused.value).splitlines()[1:]), {})
        assert build(made).labels[:3] == ("a", "b", "c")
    assert set(CONVERT) >= {".json", ".tsv", ""}


def test_the_lines_that_convert_a_list_with_times_do(load):
    with pytest.raises(TopologyError) as refused:
        load("net.txt", "# of a phone\n0 1 1353303380\n1 2 1353303400\n")
    exec("\n".join(str(refused.value).splitlines()[1:]), {})
    assert build("net.csv").period == 2


# Files of strangers


ENTITIES = "".join(f'<!ENTITY e{k} "{f"&e{k - 1};" * 10}">' for k in range(1, 10))
BOMB = f'<!DOCTYPE x [<!ENTITY e0 "ha">{ENTITIES}]>'
XXE = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
PARAMETER = "<!DOCTYPE x [<!ENTITY % e SYSTEM 'http://localhost:1/x.dtd'> %e;]>"


@pytest.mark.parametrize("declared", [BOMB, XXE, PARAMETER], ids=["bomb", "file", "parameter"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    ("name", "body"),
    [
        (
            "net.graphml",
            '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph>'
            '<node id="&e9;&e;"/><node id="b"/><edge source="b" target="b"/></graph></graphml>',
        ),
        (
            "net.gexf",
            '<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2"><graph><nodes>'
            '<node id="0" label="&e9;&e;"/></nodes></graph></gexf>',
        ),
    ],
)
def test_xml_entities_are_refused(load, name, body, declared, encoding):
    text = f'<?xml version="1.0" encoding="{encoding}"?>{declared}{body}'
    with pytest.raises(TopologyError, match="declares an XML entity"):
        load(name, text.encode(encoding))


def test_links_of_a_network_with_xml_entities_are_refused(tmp_path):
    path = tmp_path / "links.graphml"
    path.write_text(f'<?xml version="1.0"?>{BOMB}<graphml>&e9;</graphml>')
    with pytest.raises(TopologyError, match="declares an XML entity"):
        links_of(read_links(str(path)), Clients(2))


YAML_BOMB = "source: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("edges: !!python/object/apply:os.system ['touch harm']", "could not determine"),
        ("matrix: &a [*a]", "an alias stands for what it is in"),
        (YAML_BOMB, "its aliases stand for"),
    ],
)
def test_yaml_that_would_do_harm_is_refused(load, tmp_path, text, message):
    with pytest.raises(TopologyError, match=message):
        load("net.yaml", text)
    assert not (tmp_path / "harm").exists()
