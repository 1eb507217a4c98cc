"""What was done by hand is said as a recipe says it, and read again as it was given."""

import networkx as nx
import numpy as np
import pytest

from p2pqg.base.digest import bare
from p2pqg.base.errors import ConfigError
from p2pqg.network import Network
from p2pqg.network.verbs import VERBS, item_of
from p2pqg.topology import build

RING = Network(build("ring8"))
GIVEN = {
    "set_topology": {"topology": "torus16"},
    "drop_links": {"links": [[0, 1], "2->3"]},
    "add_links": {"links": [[0, 4]]},
    "restore_links": {},
    "drop_clients": {"clients": ["Ada", 3]},
    "restore_clients": {"clients": [3], "how": "neighbor"},
    "add_clients": {"count": 2, "links": [[8, 0], [9, 1]]},
    "set_algorithm_params": {"beta": 0.5},
    "set_lr": {"lr": 0.05},
    "set_rule": {"rule": None},
    "attack": {"who": [3], "how": {"name": "scale", "factor": 3.0}},
    "stop_attack": {},
    "set_network": {"compute": {"speeds": {"3": 0.1}}},
    "set_impairments": {"loss": 0.1, "burst": None},
}


def test_there_is_an_example_of_every_verb():
    assert GIVEN.keys() == VERBS.keys()


@pytest.mark.parametrize("verb", GIVEN)
def test_an_item_is_read_as_it_was_given(verb):
    ((name, value),) = item_of(verb, GIVEN[verb]).items()
    assert name == verb
    assert VERBS[verb].read(value, verb) == GIVEN[verb]


def test_arrays_become_lists_and_objects_of_python_their_names():
    assert item_of("drop_links", {"links": np.array([[0, 1]])}) == {"drop_links": [[0, 1]]}
    assert item_of("restore_links", {"links": None}) == {"restore_links": "all"}
    item = item_of("set_topology", {"topology": nx.cycle_graph(4)})
    assert bare(item["set_topology"]) == "given:Graph"


def told(verb, given):
    """What results and recipes call it."""
    return VERBS[verb].words(given, RING), str(item_of(verb, given))


def test_objects_of_python_are_told_from_others_and_the_same_ones_are_alike():
    def wheel(spokes):
        graph = nx.cycle_graph(8)
        list(graph.adj), graph.degree  # noqa: B018  graphs remember what they were asked
        graph.add_edge(0, spokes)
        return graph

    pairs = [
        ("set_rule", "rule", lambda k: lambda own, inbox, weights: own * k),
        ("set_topology", "topology", lambda k: lambda round: nx.cycle_graph(8 * k)),
        ("set_topology", "topology", wheel),
        ("set_topology", "topology", lambda k: np.eye(8) * k),
    ]
    for verb, key, make in pairs:
        one, same, other = (told(verb, {key: make(k)}) for k in (3, 3, 4))
        assert one == same
        assert one[0] != other[0]
        assert one[1] != other[1]
        assert " at 0x" not in one[0]
        assert "\n" not in one[0]


def test_a_new_link_is_mixed_over_by_the_rule_of_the_network():
    W = RING.add_links([[0, 4]]).schedule.mixing(0).dense()
    assert W[0, 4] == W[4, 0] == pytest.approx(1 / (1 + 3))
    assert W[0, 1] == pytest.approx(1 / 4)
    assert np.allclose(W.sum(0), 1)
    assert np.allclose(W.sum(1), 1)
    assert RING.num_clients == 8
    assert RING.add_links([[0, 4]]).base.name == "ring8"


def test_links_that_are_there_are_not_added():
    with pytest.raises(ConfigError, match="add_links: link 0-1 is there already; leave it out"):
        RING.add_links([[0, 1]])
    with pytest.raises(ConfigError, match="link 0-1 is there already; restore it"):
        RING.drop_links([[0, 1]]).add_links([[0, 1]])
    with pytest.raises(ConfigError, match="it is drawn in every round"):
        Network(build("random-matching8")).add_links([[0, 4]])
