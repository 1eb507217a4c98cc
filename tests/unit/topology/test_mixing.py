"""Weight rules, sparse W, checks and spectra, against closed forms."""

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import p2pqg
from p2pqg.base.errors import TopologyError
from p2pqg.theory.trajectories import trajectory
from p2pqg.topology import (
    RULES,
    Mixing,
    build,
    check,
    check_needs,
    check_round,
    is_doubly_stochastic,
    lambda_min,
    spectral_gap,
)
from p2pqg.topology import checks as checks_module
from p2pqg.topology.checks import Promise, all_reach_all
from p2pqg.topology.mixing_rules import Arcs

STAR = nx.star_graph(3)


def W_of(name: str) -> np.ndarray:
    return build(name).mixing(0).dense()


def test_metropolis_hastings_weighs_an_edge_by_the_larger_degree():
    W = RULES["metropolis_hastings"].build(nx.path_graph(4)).dense()
    expected = np.array([[2, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 2]]) / 3
    assert_allclose(W, expected, atol=1e-15)


def test_lazy_is_half_way_to_the_identity():
    W = W_of("social32")
    assert_allclose(W_of("social32:mixing=lazy"), (W + np.eye(32)) / 2, atol=1e-15)
    assert lambda_min(W_of("social32:mixing=lazy")) > 0
    others = np.array([[0, 1, 0], [0.25, 0, 0.75], [0.75, 0.25, 0]])  # nobody keeps anything
    assert_array_equal(Mixing.from_dense(others).lazy().dense(), (others + np.eye(3)) / 2)


def test_uniform_averages_the_inbox_and_columns_splits_the_outbox():
    rows, columns = (RULES[rule].build(STAR).dense() for rule in ("uniform", "columns"))
    assert_allclose(rows[0], [1 / 4] * 4)
    assert_allclose(rows[1], [1 / 2, 1 / 2, 0, 0])
    assert_allclose(columns, rows.T)


def test_columns_of_a_directed_network_go_from_sender_to_receiver():
    W = RULES["columns"].build(nx.DiGraph([(0, 1), (1, 2), (2, 0), (0, 2)])).dense()
    assert_allclose(W, [[1 / 3, 0, 1 / 2], [1 / 3, 1 / 2, 0], [1 / 3, 1 / 2, 1 / 2]])


def test_given_weights_leave_the_rest_with_the_client_unless_it_has_a_loop():
    graph = nx.Graph()
    graph.add_weighted_edges_from([(0, 1, 0.25), (1, 2, 0.75)])
    expected = np.array([[0.75, 0.25, 0], [0.25, 0, 0.75], [0, 0.75, 0.25]])
    assert_array_equal(RULES["given"].build(graph).dense(), expected)
    graph.add_edge(2, 2, weight=0.125)
    expected[2, 2] = 0.125
    tenths = nx.DiGraph()
    tenths.add_weighted_edges_from([(1, 0, 0.7), (2, 0, 0.2), (3, 0, 0.1)])  # 0.9999999999999999
    assert 0 not in RULES["given"].build(tenths).senders[:3]
    assert_array_equal(RULES["given"].build(graph).dense(), expected)


def test_given_without_a_weight_is_an_error():
    with pytest.raises(TopologyError, match="edge 0, 1 has no weight"):
        RULES["given"].build(nx.path_graph(3))


def test_edge_attributes_do_not_leak_into_other_rules():
    graph = nx.Graph()
    graph.add_edge(0, 1, weight=7)
    assert_allclose(RULES["metropolis_hastings"].build(graph).dense(), 1 / 2)


def test_undirected_rules_refuse_directed_networks():
    with pytest.raises(TopologyError, match="is for undirected networks"):
        RULES["metropolis_hastings"].build(nx.DiGraph([(0, 1), (1, 0)]))


@pytest.mark.parametrize("rule", ["uniform", "given"])
def test_nodes_must_be_numbers_from_zero(rule):
    with pytest.raises(TopologyError, match="integers 0 .. 1"):
        RULES[rule].build(nx.Graph([("a", "b", {"weight": 0.5})]))


@pytest.mark.parametrize(
    ("name", "gap"), [("ring16", 0.0733), ("social32", 0.1084), ("star16", 2 / 17)]
)
def test_best_constant_beats_metropolis_hastings(name, gap):
    assert_allclose(spectral_gap(W_of(f"{name}:mixing=best_constant")), gap, atol=5e-5)
    assert gap > spectral_gap(W_of(name))


def test_best_constant_of_the_complete_graph_is_the_mean():
    assert_allclose(W_of("complete6:mixing=best-constant"), 1 / 6)
    assert_array_equal(W_of("complete1:mixing=best-constant"), 1)


def test_dense_sparse_and_transposed_agree():
    W = W_of("erdos-renyi12")
    W[0, 1] = 0.9
    sparse = Mixing.from_dense(W)
    assert_array_equal(sparse.dense(), W)
    assert_array_equal(sparse.transposed().dense(), W.T)
    assert_allclose(sparse.row_sums(), W.sum(1))
    assert_allclose(sparse.column_sums(), W.sum(0))
    assert_allclose(sparse.apply(np.arange(12.0)), W @ np.arange(12.0))
    assert np.all(np.diff(sparse.receivers * 12 + sparse.senders) > 0)


def test_out_degrees_count_receivers_without_oneself():
    assert build("star5").mixing(0).out_degrees().tolist() == [4, 1, 1, 1, 1]
    assert build("exponential9").mixing(0).out_degrees().tolist() == [4] * 9
    assert build("ring1").mixing(0).out_degrees().tolist() == [0]


@pytest.mark.parametrize("n", [4, 5, 8, 16, 32, 64])
def test_spectrum_of_the_ring(n):
    W = W_of(f"ring{n}")
    assert_allclose(spectral_gap(W), 2 / 3 * (1 - np.cos(2 * np.pi / n)), atol=1e-12)
    assert_allclose(lambda_min(W), 1 / 3 + 2 / 3 * np.cos(2 * np.pi * (n // 2) / n), atol=1e-12)


def test_spectrum_of_the_chain_and_the_star():
    assert_allclose(spectral_gap(W_of("chain16")), 2 / 3 * (1 - np.cos(np.pi / 16)), atol=1e-12)
    assert_allclose(spectral_gap(W_of("star16")), 1 / 16, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "gap"),
    [
        ("torus9", 0.6),
        ("torus16", 0.4),
        ("torus32", 2 / 5 * (1 - np.cos(2 * np.pi / 8))),
        ("torus64", 2 / 5 * (1 - np.cos(2 * np.pi / 8))),
        ("torus15", 2 / 5 * (1 - np.cos(2 * np.pi / 5))),
    ],
)
def test_spectrum_of_the_torus(name, gap):
    assert_allclose(spectral_gap(W_of(name)), gap, atol=1e-12)


def test_smallest_eigenvalue_of_the_torus():
    assert_allclose(lambda_min(W_of("torus16")), -3 / 5)


def test_the_smallest_eigenvalue_of_a_network_in_pieces_is_that_of_one_of_them():
    pieces = np.zeros((7, 7))
    pieces[0, 0], pieces[1:3, 1:3], pieces[3:, 3:] = 0.25, 0.5, W_of("ring4")
    assert_allclose(lambda_min(pieces), -1 / 3)  # of the ring; of the pair 0
    assert lambda_min(pieces[:3, :3]) == pytest.approx(0, abs=1e-15)
    assert lambda_min(pieces[:1, :1]) == 0.25
    assert lambda_min(np.eye(1)) == 1


@pytest.mark.parametrize("d", [2, 3, 4, 5])
def test_spectrum_of_the_hypercube(d):
    assert_allclose(spectral_gap(W_of(f"hypercube{2**d}")), 2 / (d + 1), atol=1e-12)


@pytest.mark.parametrize(("n", "tau"), [(4, 2), (8, 3), (16, 4), (32, 5), (6, 3), (12, 4), (24, 5)])
def test_spectrum_of_the_exponential_graph_for_even_numbers(n, tau):
    assert_allclose(spectral_gap(W_of(f"exponential{n}")), 2 / (1 + tau), atol=1e-12)


@pytest.mark.parametrize(
    ("n", "gap"),
    [(5, 0.75), (7, 0.6464), (9, 0.5582), (15, 0.5101), (17, 0.4524), (25, 0.4891), (33, 0.3922)],
)
def test_spectrum_of_the_exponential_graph_for_odd_numbers(n, gap):
    assert_allclose(spectral_gap(W_of(f"exponential{n}")), gap, atol=5e-5)


def test_spectrum_of_the_social_network():
    W = W_of("social32")
    assert_allclose(spectral_gap(W), 0.082098, atol=5e-7)
    assert_allclose(lambda_min(W), -0.4343, atol=5e-5)
    assert_allclose(np.diag(W).min(), 1 / 15)


def test_the_gap_of_complete_is_one_and_that_of_the_null_model_is_rho():
    assert_allclose(spectral_gap(W_of("complete7")), 1)
    assert spectral_gap(W_of("complete1")) == 1
    assert_allclose(spectral_gap(W_of("mix9:rho=0.3")), 0.3)


@pytest.mark.parametrize("rule", ["uniform", "columns"])
def test_the_gap_of_a_w_that_moves_the_mean_is_that_of_its_second_eigenvalue(rule, monkeypatch):
    """Of a star they are 1, 1/2 for every leaf but one, and what is left of the trace: -3/10."""
    W = W_of(f"star5:mixing={rule}")
    assert_allclose(spectral_gap(W), 1 / 2)
    monkeypatch.setattr(checks_module, "DENSE_LIMIT", 4)
    assert np.isnan(spectral_gap(W))


def test_all_reach_all_where_those_who_count_are_strongly_connected(monkeypatch):
    draws, found = np.random.default_rng(0), []
    for _ in range(60):
        graph = nx.gnp_random_graph(6, 0.3, seed=int(draws.integers(2**31)), directed=True)
        here = np.arange(6) != draws.integers(6)
        graph.remove_nodes_from(np.flatnonzero(~here).tolist())
        ends = np.array(graph.edges(), dtype=np.int64).reshape(-1, 2).T
        found.append(all_reach_all(here, *ends))
        assert found[-1] == nx.is_strongly_connected(graph)
    assert {*found} == {True, False}
    ring = np.arange(8), (np.arange(8) + 1) % 8
    monkeypatch.setattr(checks_module, "MOST_HOPS", 7)  # one less than to see that it is all
    assert all_reach_all(np.ones(8, dtype=bool), *ring) is None


def test_lanczos_finds_the_same_ends_as_the_dense_solver(monkeypatch):
    names = ["torus16", "social32", "exponential25", "star16", "chain2", "complete5"]
    dense = [spectral_gap(W_of(name)) for name in names]
    low = lambda_min(W_of("social32"))
    monkeypatch.setattr(checks_module, "DENSE_LIMIT", 1)
    assert_allclose([spectral_gap(W_of(name)) for name in names], dense, atol=1e-7)
    assert_allclose(lambda_min(W_of("social32")), low, atol=1e-10)


@pytest.mark.parametrize(
    ("W", "message"),
    [
        ([[0.5, 0.5, 0]], "must be square"),
        ([[np.nan, 1], [1, 0]], "is nan, must be a finite number"),
        ([[1.5, -0.5], [-0.5, 1.5]], r"W\[0, 1\] is -0.5, must be >= 0"),
        ([[0.5, 0.5], [0.5, 0.43]], "row 1 of W sums to 0.930, must be 1 .tolerance 1e-9"),
        ([[0.5, 0.5], [1, 0]], "column 0 of W sums to 1.500"),
        ([[0.5, 0.5 - 1e-7], [0.5, 0.5]], r"row 0 of W sums to 1-1.0e-07"),
    ],
)
def test_a_wrong_matrix_says_where(W, message):
    with pytest.raises(TopologyError, match=f"'mine': .*{message}"):
        check(np.array(W), "mine")


def test_sums_may_differ_from_one_where_that_is_allowed():
    check(np.array([[0.5, 0.5], [1, 0]]), "mine", Promise(columns=False))
    check(np.array([[0.5, 1], [0.5, 0]]), "mine", Promise(rows=False))
    check(np.eye(3) + 1e-10, "mine")


# What algorithms need


@pytest.mark.parametrize(
    ("name", "need", "message"),
    [
        ("exponential8", "symmetric", "needs a symmetric W"),
        ("ring8", "tree", "needs an undirected tree, this network has 8 clients and 8 edges"),
        ("double-binary-trees8", "tree", "same network in every round.* Use binary-tree or chain"),
        ("random-ring8", "static", "'random-ring8' changes. Use ring or torus"),
        ("star8:mixing=uniform", "column-stochastic", "column 0 of W sums to"),
        ("star8:mixing=uniform", "doubly-stochastic", "needs a doubly stochastic W"),
        ("torus16", "lambda-min", "smallest eigenvalue of W is -0.6000.*algorithm.lazy=true"),
        ("torus16", "lambda-min:-0.5", "smallest eigenvalue of W is -0.6000, this needs > -0.5000"),
        ("random-peer8", "symmetric", "row . of W sums to .* Use algorithm sgp"),
        # One more, who keeps all, hides from nobody that two change places.
        ([[0, 1, 0], [1, 0, 0], [0, 0, 1]], "lambda-min", "smallest eigenvalue of W is -1.0000"),
        ([[1, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]], "tree", "has 3 clients and 2 edges"),
    ],
)
def test_a_need_that_is_not_met_is_an_error_with_a_repair(name, need, message):
    network = name if isinstance(name, str) else np.array(name, dtype=float)
    schedule = build(network, allow_disconnected=True, allow_row_stochastic=True)
    with pytest.raises(TopologyError, match=message):
        check_needs(schedule, (need,), "this")


@pytest.mark.parametrize(
    ("name", "need", "message"),
    [
        ("exponential8", "lambda-min:-0.4", "'mine, round 7': this needs a symmetric W"),
        ("star8:mixing=uniform", "doubly-stochastic", "'mine, round 7': this needs a doubly"),
        ("exponential8", "undirected", "'mine, round 7': this needs an undirected network"),
    ],
)
def test_a_round_that_nobody_saw_beforehand_is_looked_at_when_it_comes(name, need, message):
    check_round(build("torus16").mixing(0), 7, "mine", (need, "tree"), "this")  # what is cheap
    with pytest.raises(TopologyError, match=message):
        check_round(build(name).mixing(0), 7, "mine", (need,), "this")


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("chain8", ("tree", "symmetric", "doubly-stochastic")),
        ("social-tree", ("tree",)),
        ("star1", ("tree", "lambda-min")),
        ("onepeer-exponential8", ("doubly-stochastic",)),
        ("random-peer8", ("column-stochastic",)),
        ("torus16:mixing=lazy", ("lambda-min",)),
        ("torus16", ("lambda-min:-0.7",)),
        ("ring9", ("lambda-min", "static")),
    ],
)
def test_a_need_that_is_met_says_nothing(name, needs):
    assert check_needs(build(name), needs, "this") == []


def test_the_even_ring_is_just_at_the_edge_and_warned_about():
    (warning,) = check_needs(build("ring16"), ("lambda-min",), "d2")
    assert "just -1/3" in warning
    assert "algorithm.lazy=true" in warning


def test_plain_averaging_on_an_irregular_network_is_warned_about():
    (warning,) = check_needs(build("star8:mixing=uniform"), (), "dsgd")
    assert "weighted mean" in warning
    assert not is_doubly_stochastic(build("star8:mixing=uniform").mixing(0))


CHANGING = ["onepeer-exponential8", "onepeer-hypercube8", "base8", "random-matching8"]


@pytest.mark.parametrize("name", CHANGING)
def test_dmsgd_is_warned_of_networks_that_change(name):
    (warning,) = [w for w in check_needs(build(name), ("steady",), "dmsgd") if "W changes" in w]
    assert warning.startswith(f"{name!r}: W changes from round to round: dmsgd takes what that")
    assert check_needs(build("ring8"), ("steady",), "dmsgd") == []


def test_the_warning_is_true():
    """With beta = 0.9 dmsgd diverges where the network is another one in every round."""
    b, x0 = np.arange(8.0)[:, None], np.zeros((8, 1))

    def spread(topology: str, beta: float) -> float:
        x = trajectory(
            "dmsgd", lambda x, round: x - b, x0, topology=topology, rounds=300, lr=0.05, beta=beta
        )
        return float(np.abs(x[-1] - x[-1].mean()).max())

    assert spread("ring8", 0.9) < 1
    assert spread("onepeer-exponential8", 0.0) < 1
    assert spread("onepeer-exponential8", 0.9) > 1e3


def test_dmsgd_says_so_before_a_run_and_only_where_it_has_momentum():
    settings = {"topology": "base8", "dataset": "digits", "model": "logistic", "rounds": 1}
    settings |= {"engine": "local", "alpha": None}
    with p2pqg.Simulation(algorithm="dmsgd", **settings) as sim:
        assert any("W changes from round to round: dmsgd" in w for w in sim.experiment.warnings)
    without = {"name": "dmsgd", "beta": 0.0}
    with p2pqg.Simulation(algorithm=without, **settings) as sim:
        assert not any("W changes" in w for w in sim.experiment.warnings)


@pytest.mark.parametrize("directed", [True, False])
def test_given_weights_of_arcs_are_those_of_a_graph_with_the_same_loops(directed):
    graph = nx.DiGraph() if directed else nx.Graph()
    graph.add_nodes_from(range(5))
    graph.add_weighted_edges_from([(0, 1, 0.25), (1, 2, 0.5), (4, 0, 0.125), (3, 3, 1.0)])
    edges = np.array([[0, 1], [1, 2], [4, 0]] + ([] if directed else [[1, 0], [2, 1], [0, 4]]))
    ends = np.concatenate([edges, [[3, 3]]])
    weights = np.array([0.25, 0.5, 0.125] * (1 if directed else 2) + [1.0])
    W = RULES["given"].build(Arcs(5, *ends.T, directed, weights))
    assert_array_equal(W.dense(), RULES["given"].build(graph).dense())
    with pytest.raises(TopologyError, match="its edges have no weights, mixing: given needs them"):
        RULES["given"].build(Arcs(5, *ends[:-1].T, directed))
