"""Definitions of the networks: who talks to whom, and what rounds do together."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import p2pqg
from p2pqg.base.errors import TopologyError
from p2pqg.base.seeding import rng
from p2pqg.topology import TOPOLOGIES, Schedule, build, check
from p2pqg.topology._registry import connected_draw
from p2pqg.topology.checks import Promise

SIZES = {
    "expander": 13,
    "random-regular": 8,
    **{name: 16 for name in ("margulis", "torus", "grid")},
}


def default_size(name: str) -> int:
    return TOPOLOGIES[name].traits["size"] or SIZES.get(name, 8)


def built(name: str, clients: int) -> Schedule:
    """The network; of those that look at labels, for clients that see one of four classes each."""
    return build(name, clients, label_counts=10 * np.eye(4)[np.arange(clients) % 4])


def W_of(name: str, round: int = 0) -> np.ndarray:
    return build(name).mixing(round).dense()


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_every_network_has_a_good_W_in_every_round(name):
    schedule = built(name, default_size(name))
    for round in range(schedule.period or 6):
        W = schedule.mixing(round)
        rule = schedule.rule
        check(W, name, Promise(rows=rule != "columns", columns=rule != "teleportation"))
        assert W.weights.dtype == np.float64
        assert W.receivers.dtype == W.senders.dtype == np.int64
        if not schedule.directed:
            assert W.is_symmetric()


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_every_network_is_the_same_after_pickling_and_small(name):
    schedule = built(name, default_size(name))
    data = pickle.dumps(schedule)
    again = pickle.loads(data)
    for round in (0, 1, 7):
        assert_array_equal(again.mixing(round).dense(), schedule.mixing(round).dense())
    assert len(data) < 20_000


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_every_network_says_what_it_is_and_where_it_is_from(name):
    assert len(TOPOLOGIES[name].summary) > 20
    assert TOPOLOGIES[name].source


PICKY = {
    "torus": {1, 2, 3},
    "grid": {1, 2, 3},
    "teleportation": {1},
    "hypercube": {3},
    "onepeer-hypercube": {3},
    "bipartite-exponential": {1, 3},
    "ring-skips": {1, 2, 3},
    "margulis": {2, 3},
    "expander": {1},
    "random-regular": {1, 2, 3},
    "small-world": {1, 2, 3},
}
FREE = sorted(name for name in TOPOLOGIES if not TOPOLOGIES[name].traits["size"])


@pytest.mark.parametrize("name", FREE)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_networks_work_or_say_what_to_use(name, n):
    if n in PICKY.get(name, ()):
        with pytest.raises(TopologyError, match=f"'{name}{n}': .* Use "):
            build(name, n)
    else:
        W = built(name, n).mixing(0).dense()
        assert W.shape == (n, n)
        assert n > 1 or W.tolist() == [[1.0]]


def test_the_ring_of_one_is_alone_and_that_of_two_halves():
    assert W_of("ring1").tolist() == [[1]]
    assert W_of("ring2").tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_the_ring_weighs_both_neighbors_and_oneself_alike():
    assert_allclose(W_of("ring5")[0], [1 / 3, 1 / 3, 0, 0, 1 / 3])


def test_the_star_weighs_every_link_by_its_size():
    W = W_of("star8")
    assert_allclose(W[0], 1 / 8)
    assert_allclose(np.diag(W)[1:], 7 / 8)


def test_the_torus_wraps_around_and_is_as_square_as_it_can_be():
    graph = build("torus12").graph()
    assert nx.is_isomorphic(graph, nx.grid_2d_graph(3, 4, periodic=True))
    assert sorted(graph[0]) == [1, 3, 4, 8]
    assert nx.is_isomorphic(build("torus12:rows=2").graph(), nx.circular_ladder_graph(6))
    assert nx.is_isomorphic(build("grid12").graph(), nx.grid_2d_graph(3, 4))


def test_a_torus_of_a_prime_number_suggests_its_neighbors():
    with pytest.raises(TopologyError, match="'torus13'.*Use torus14 or ring13"):
        build("torus13")
    for rows in (5, 12):
        with pytest.raises(TopologyError, match="rows must divide 12 with at least 2 columns"):
            build(f"torus12:rows={rows}")
    for rows in (1, -2):
        with pytest.raises(TopologyError, match=f"rows must be >= 2, or 0 .*, got {rows}"):
            build(f"torus12:rows={rows}")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        *(("expander1", "expander2"), ("expander4", "expander5"), ("expander25", "expander29")),
        *(("ring-skips2", "ring-skips4"), ("ring-skips3", "ring-skips4"), ("torus5", "torus6")),
        *(("ring-skips9", "ring-skips10"), ("margulis10", "margulis9"), ("grid3", "grid4")),
    ],
)
def test_a_number_that_a_network_cannot_have_is_told_with_the_next_one_that_it_can(name, other):
    with pytest.raises(TopologyError, match=f"Use {other} or "):
        build(name)
    assert build(other).name == other


def test_the_hypercube_links_numbers_that_differ_in_one_bit():
    assert nx.is_isomorphic(build("hypercube16").graph(), nx.hypercube_graph(4))
    with pytest.raises(TopologyError, match="Use hypercube8 or hypercube16"):
        build("hypercube12")


def test_the_exponential_graph_sends_ahead_by_powers_of_two():
    W = W_of("exponential6")
    assert_allclose(W[:, 0], [1 / 4, 1 / 4, 1 / 4, 0, 1 / 4, 0])  # client 0 sends to 1, 2, 4
    assert build("exponential6").directed


@pytest.mark.parametrize("tau", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("start", [0, 1, 3])
def test_onepeer_exponential_averages_exactly_when_n_is_a_power_of_two(tau, start):
    n = 2**tau
    schedule = build(f"onepeer-exponential{n}:start={start}")
    assert schedule.period == tau
    assert_allclose(schedule.product(tau, start=2), 1 / n, atol=1e-15)


@pytest.mark.parametrize(("n", "rest"), [(5, 0.2023), (6, 0.2165), (12, 0.2091), (31, 0.03125)])
def test_onepeer_exponential_leaves_a_rest_for_other_numbers(n, rest):
    schedule = build(f"onepeer-exponential{n}")
    product = schedule.product(schedule.period)
    assert_allclose(np.linalg.norm(product - 1 / n, ord=2), rest, atol=5e-5)


def test_onepeer_exponential_begins_where_it_is_told():
    assert W_of("onepeer-exponential8")[1, 0] == 0.5
    assert W_of("onepeer-exponential8:start=1")[2, 0] == 0.5


def test_a_directed_network_is_so_in_rounds_in_which_all_who_send_hear_back():
    ways = [build("onepeer-exponential4").graph(round).is_directed() for round in (0, 1)]
    assert ways == [True, True]  # one ahead, and two ahead, which is two back
    once = np.stack([p2pqg.mixing_matrix("onepeer-exponential4", round=k) for k in (1, 0)])
    assert build(once).directed


def test_onepeer_hypercube_averages_exactly():
    assert_allclose(build("onepeer-hypercube16").product(4), 1 / 16)


@pytest.mark.parametrize(
    ("n", "hops"),
    [(2, [1]), (6, [1, 3]), (8, [1, 3]), (10, [1, 3, 7]), (16, [1, 3, 7]), (32, [1, 3, 7, 15])],
)
def test_bipartite_exponential_pairs_odd_clients_with_even_ones(n, hops):
    """The hops of the paper's code, 2^j - 1 for j = 1 .. int(log2(n - 1))."""
    schedule = build(f"bipartite-exponential{n}")
    assert schedule.period == len(hops)
    for round, offset in enumerate(hops):
        partner = {i: next(iter(schedule.graph(round)[i])) for i in range(n)}
        assert all(partner[i] == (i + offset) % n for i in range(1, n, 2))


def test_bipartite_exponential_of_four_clients_would_fall_into_pairs():
    with pytest.raises(TopologyError, match="two pairs that never meet. Use onepeer-hypercube4"):
        build("bipartite-exponential4", allow_disconnected=True)


@pytest.mark.parametrize("n", [7, 8])
def test_random_matching_pairs_everyone_but_an_odd_one(n):
    schedule = build(f"random-matching{n}")
    for round in range(5):
        W = schedule.mixing(round).dense()
        own = np.sort(np.diag(W))
        assert_allclose(own, [0.5] * (n - n % 2) + [1] * (n % 2))
        assert_allclose(W @ W, W)  # the mean of pairs is a projection


def test_random_matching_pairs_everyone_with_everyone_in_the_mean():
    n, rounds = 6, 2000
    schedule = build(f"random-matching{n}")
    mean = sum(schedule.mixing(round).dense() for round in range(rounds)) / rounds
    expected = np.eye(n) / 2 + (1 - np.eye(n)) / (2 * (n - 1))
    assert_allclose(mean, expected, atol=5 * np.sqrt(0.25 * 0.2 * 0.8 / rounds))  # 5 sigma


def test_drawn_networks_depend_on_their_seed_and_round_only():
    for name in ("random-matching16", "random-ring16", "random-peer16", "equidyn16"):
        one, other = build(name), build(f"{name}:seed=1")
        late = one.mixing(40).dense()
        assert_array_equal(build(name).mixing(40).dense(), late)
        assert not np.array_equal(one.mixing(41).dense(), late)
        assert not np.array_equal(other.mixing(40).dense(), late)


def test_a_random_ring_is_a_ring():
    assert nx.is_isomorphic(build("random-ring9").graph(3), nx.cycle_graph(9))


def test_a_random_peer_sends_to_k_others():
    W = build("random-peer9:k=3").mixing(5)
    assert W.out_degrees().tolist() == [3] * 9
    assert_allclose(W.column_sums(), 1)
    assert_allclose(build("random-peer9:k=3,mixing=uniform").mixing(5).row_sums(), 1)


@pytest.mark.parametrize(("n", "k"), [(2, 1), (9, 3), (9, 8), (40, 7), (1000, 5), (12_001, 2)])
def test_random_peers_are_those_that_numpy_chooses_one_client_after_the_other(n, k):
    draws = rng(0, "random-peer", 3)
    chosen = [draws.choice(n - 1, k, replace=False, shuffle=False) for _ in range(n)]
    expected = {(i, (i + 1 + int(hop)) % n) for i in range(n) for hop in chosen[i]}
    W = build(f"random-peer{n}:k={k}").mixing(3)
    apart = W.senders != W.receivers
    found = zip(W.senders[apart].tolist(), W.receivers[apart].tolist(), strict=True)
    assert set(found) == expected


def test_equidyn_contracts_by_what_its_authors_say():
    n, eta = 7, 0.5
    z = np.arange(n) - 3.0
    offsets = [(1 - eta) * np.eye(n) + eta * Wa for Wa in equitopo_basis(n)]
    mean = np.mean([np.sum((W @ z) ** 2) for W in offsets])
    assert_allclose(mean, (1 / 2 - 1 / (2 * n)) * np.sum(z**2))
    seen = [build(f"equidyn{n}").mixing(round).dense() for round in range(40)]
    assert all(min(np.abs(W - one).max() for one in offsets) < 1e-15 for W in seen)
    assert all(min(np.abs(W - one).max() for W in seen) < 1e-15 for one in offsets)


def equitopo_basis(n: int) -> list[np.ndarray]:
    shifts = [np.roll(np.eye(n), offset, axis=0) for offset in range(1, n)]
    return [(n - 1) / n * shift + np.eye(n) / n for shift in shifts]


def test_undirected_equidyn_pairs_clients_of_one_offset():
    schedule = build("equidyn9:directed=false")
    for round in range(10):
        edges = list(schedule.graph(round).edges())
        assert len({min((i - j) % 9, (j - i) % 9) for i, j in edges}) == 1
        assert max(dict(schedule.graph(round).degree()).values()) == 1
        assert_allclose(schedule.mixing(round).dense()[edges[0]], 0.5 * 8 / 9)


@pytest.mark.parametrize(
    ("k", "lengths"),
    [
        (1, "2:1 3:3 4:2 5:5 6:4 7:5 8:3 9:7 10:6 11:7 12:5 13:7 14:6 15:7 16:4 17:9 24:6 100:11"),
        (2, "2:1 3:1 4:2 5:3 6:2 7:4 8:3 9:2 10:4 11:5 12:3 13:5 14:5 15:4 16:4 25:6 27:3 100:8"),
        (3, "2:1 3:1 4:1 5:3 6:2 7:3 8:2 9:2 10:4 11:4 12:2 13:4 14:4 15:4 16:2 25:5 32:3 100:6"),
        (4, "5:1 10:2 15:2 16:2 25:2 32:3 100:3"),
    ],
)
def test_base_graphs_are_as_long_as_the_published_ones(k, lengths):
    expected = dict(tuple(map(int, item.split(":"))) for item in lengths.split())
    assert {n: build(f"base{n}:k={k}").period for n in expected} == expected


def test_simple_base_is_sometimes_longer():
    found = [build(f"simple-base{n}").period for n in (6, 12, 24, 100)]
    assert found == [5, 7, 9, 13]


@pytest.mark.parametrize(
    ("name", "round", "edges"),
    [
        ("simple-base3", 1, {(1, 2): 2 / 3}),
        ("simple-base5", 2, {(0, 1): 1 / 2, (3, 4): 4 / 5}),
        ("simple-base6", 2, {(0, 1): 1 / 2, (3, 4): 2 / 3, (2, 5): 2 / 3}),
        ("simple-base6", 1, {(0, 2): 1 / 2, (1, 3): 1 / 2, (4, 5): 1 / 2}),
        (
            "base7:k=2",
            2,
            {(2, 6): 3 / 7, (5, 6): 3 / 7, (0, 1): 1 / 3, (0, 3): 1 / 3, (1, 3): 1 / 3},
        ),
        ("base12:k=2", 0, {(i, i + 1): 1 / 2 for i in range(0, 12, 2)}),
        ("base6", 3, {(0, 3): 1 / 2, (1, 4): 1 / 2, (2, 5): 1 / 2}),
    ],
)
def test_base_graphs_have_the_edges_of_the_authors_code(name, round, edges):
    """Worked out by hand: partners from the end of each subgroup, who is free averages, too."""
    schedule = build(name)
    W, n = schedule.mixing(round).dense(), schedule.num_clients
    expected = np.zeros((n, n))
    for (i, j), weight in edges.items():
        expected[i, j] = expected[j, i] = weight
    assert_allclose(W, expected + np.diag(1 - expected.sum(1)), atol=1e-12)


@pytest.mark.parametrize("name", ["base8", "simple-base8"])
def test_with_as_many_neighbors_as_one_likes_all_meet_at_once(name):
    """Factors up to k + 1 were looked for one by one."""
    schedule = build(f"{name}:k={10**18}")
    assert schedule.period == 1
    np.testing.assert_array_equal(schedule.mixing(0).dense(), np.full((8, 8), 1 / 8))


@pytest.mark.parametrize("name", ["base", "simple-base"])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_base_graphs_average_exactly_with_k_neighbors(name, k):
    for n in [*range(1, 30), 31, 32, 33, 47, 64]:
        schedule = build(f"{name}{n}:k={k}")
        assert_allclose(schedule.product(schedule.period), 1 / n, atol=1e-12)
        for round in range(schedule.period):
            W = schedule.mixing(round)
            assert W.is_symmetric()
            assert W.out_degrees().max() <= k
            assert W.weights.min() > 0


@pytest.mark.parametrize("n", [1, 2, 3, 8, 15, 16, 33])
def test_binary_trees_are_trees_with_at_most_three_neighbors(n):
    for graph in (build(f"binary-tree{n}").graph(), build(f"double-binary-trees{n}").graph(1)):
        assert nx.is_tree(graph)
        assert max(dict(graph.degree()).values()) <= 3


def test_the_double_trees_are_mirror_images():
    schedule = build("double-binary-trees11")
    assert schedule.period == 2
    assert_array_equal(schedule.mixing(0).dense(), W_of("binary-tree11"))
    assert_array_equal(schedule.mixing(1).dense(), schedule.mixing(0).dense()[::-1, ::-1])


@pytest.mark.parametrize(("n", "both"), [(2, []), (10, []), (11, [5])])
def test_of_the_double_trees_only_the_middle_of_an_odd_number_is_inside_of_both(n, both):
    trees = [build(f"double-binary-trees{n}").graph(round) for round in (0, 1)]
    assert [i for i in range(n) if min(tree.degree(i) for tree in trees) > 1] == both


def test_ring_skips_reach_the_antipode():
    W = W_of("ring-skips8")
    assert sorted(np.nonzero(W[0])[0]) == [0, 1, 4, 7]
    assert_allclose(W[W > 0], 1 / 4)


@pytest.mark.parametrize("p", [2, 3, 5, 7, 11, 13, 17])
def test_the_expander_is_a_third_of_the_way_ahead_back_and_to_the_inverse(p):
    inverse = [0, *(pow(i, -1, p) for i in range(1, p))]
    ahead = np.roll(np.eye(p), 1, axis=1)
    assert_allclose(W_of(f"expander{p}"), (ahead + ahead.T + np.eye(p)[inverse]) / 3, atol=1e-15)


def test_margulis_has_degree_at_most_eight():
    assert build("margulis25").mixing(0).out_degrees().max() <= 8


def test_random_regular_is_regular_and_small_world_without_rewiring_is_a_lattice():
    assert build("random-regular20:degree=3").mixing(0).out_degrees().tolist() == [3] * 20
    lattice = build("small-world12:k=4,p=0").graph()
    assert nx.is_isomorphic(lattice, nx.circulant_graph(12, [1, 2]))


def test_erdos_renyi_ends_at_the_complete_graph():
    assert_allclose(W_of("erdos-renyi9:p=1"), 1 / 9)


def test_a_geometric_graph_ends_at_the_complete_graph():
    assert_allclose(W_of("geometric9:radius=1.5"), 1 / 9)


def test_a_graph_that_never_connects_is_an_error():
    with pytest.raises(TopologyError, match="none of 100 draws of x was connected. Use more"):
        connected_draw("x", lambda draws: nx.empty_graph(3), 0, "Use more.")


@pytest.mark.parametrize(
    ("name", "n", "edges"),
    [("social", 32, 89), ("florentine", 15, 20), ("karate", 34, 78), ("lesmis", 77, 254)],
)
def test_social_networks_have_their_size_and_no_weights(name, n, edges):
    schedule = build(name)
    graph = schedule.graph()
    assert (len(graph), graph.number_of_edges()) == (n, edges)
    degrees = np.array([graph.degree(i) for i in range(n)])
    for i, j in graph.edges():
        expected = 1 / (1 + max(degrees[i], degrees[j]))
        assert_allclose(schedule.mixing(0).dense()[i, j], expected)
    assert len(schedule.labels) == n


def test_the_social_network_keeps_the_order_of_networkx():
    women = nx.davis_southern_women_graph()
    assert build("davis32").labels == tuple(women)
    assert_array_equal(W_of("social") > 0, nx.to_numpy_array(women) + np.eye(32) > 0)


def test_the_social_tree_keeps_distances_to_its_root():
    whole, tree = build("social").graph(), build("social-tree:root=3").graph()
    assert nx.is_tree(tree)
    lengths = [nx.single_source_shortest_path_length(graph, 3) for graph in (whole, tree)]
    assert dict(lengths[0]) == dict(lengths[1])


@pytest.mark.parametrize("root", [0, 1, 3, 31])
def test_the_social_tree_takes_the_first_of_all_shortest_paths(root):
    whole, tree = build("social").graph(), build(f"social-tree:root={root}").graph()
    for client in tree:
        first = min(nx.all_shortest_paths(whole, root, client))
        assert nx.shortest_path(tree, root, client) == first


def test_base_graphs_average_exactly_for_every_number_of_clients():
    for n in range(1, 65):
        for k in range(1, min(4, max(n - 1, 1)) + 1):
            for name in ("base", "simple-base"):
                schedule = build(f"{name}{n}:k={k}")
                off = abs(schedule.product(schedule.period) - 1 / n).max()
                assert off <= 1e-12, (name, n, k)


def test_a_network_in_a_file_of_its_own_is_found_by_itself(tmp_path):
    """One file adds one: put into the folder, it is known by its name, and p2pqg list shows it."""
    shutil.copytree(Path(p2pqg.__file__).parent, tmp_path / "p2pqg", ignore=_only_python)
    (tmp_path / "p2pqg" / "topology" / "two_rings.py").write_text(
        '''
from p2pqg.base.registry import NoParams
from p2pqg.topology._registry import hops, topology


@topology("two-rings", source="a test")
def two_rings(num_clients: int, params: NoParams):
    """Everyone talks to the clients one and two places on."""
    return hops(num_clients, [1, 2])
'''
    )
    code = (
        "import p2pqg.topology as t; assert t.__file__.startswith('here'), t.__file__; "
        "print(t.build('two-rings7').mixing(0).out_degrees().tolist());"
        "from p2pqg.cli.listing import known;"
        "print(*(line for line in known('topologies') if 'two' in line[0]), sep='; ')"
    ).replace("here", str(tmp_path))
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == [
        "[4, 4, 4, 4, 4, 4, 4]",
        "('two-rings<clients>', 'Everyone talks to the clients one and two places on.', 'a test')",
    ]


def _only_python(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__" or name.endswith((".npz", ".csv"))]
