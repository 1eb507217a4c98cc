"""Networks that look at the clients' labels: D-Cliques, STL-FW and heterogeneity-aware weights."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import p2pqg
from p2pqg.base.errors import ConfigError, P2pqgError, TopologyError
from p2pqg.base.seeding import rng
from p2pqg.topology import build

DRAW = np.random.default_rng(0)
SOME = DRAW.integers(0, 30, (24, 4))
ONE_EACH = 10 * np.eye(4)[np.arange(24) % 4]


def W_of(name, counts):
    return build(name, label_counts=counts).mixing(0).dense()


def objective(W, counts, lam):
    """Eq. (8) of the paper on STL-FW."""
    P, J = counts / counts.sum(1, keepdims=True), np.full(W.shape, 1 / len(W))
    distance = np.linalg.norm(W @ P - J @ P) ** 2 + lam * np.linalg.norm(W - J) ** 2
    return distance / len(W)


# D-Cliques


def cliques_by_loops(counts, size, steps, seed=0):
    """As the authors' code does it, pair by pair, with our draws."""
    draw, n = rng(seed, "d-cliques"), len(counts)
    order = list(draw.permutation(n))
    cliques = [order[k : k + size] for k in range(0, n, size)]

    def skew(clients):
        mine, everybody = sum(counts[i] for i in clients), counts.sum(0)
        return np.abs(mine / mine.sum() - everybody / everybody.sum()).sum()

    for _ in range(steps):
        a, b = (cliques[k] for k in draw.choice(len(cliques), 2, replace=False))
        now, better = skew(a) + skew(b), []
        for i in range(len(a)):
            for j in range(len(b)):
                one, other = [*a], [*b]
                one[i], other[j] = b[j], a[i]
                if skew(one) + skew(other) - now < -1e-12:
                    better.append((i, j))
        if better:
            i, j = better[draw.integers(len(better))]
            a[i], b[j] = b[j], a[i]
    return [sorted(map(int, clique)) for clique in cliques]


def inside(graph, clique):
    return sum(graph.has_edge(i, j) for i in clique for j in clique if i < j)


@pytest.mark.parametrize(("counts", "size"), [(SOME, 2), (SOME, 4), (SOME, 5), (ONE_EACH, 4)])
def test_cliques_are_those_of_a_plain_loop_and_few_links_join_them(counts, size):
    cliques = cliques_by_loops(counts, size, 60)
    home, n = {i: k for k, clique in enumerate(cliques) for i in clique}, len(cliques)
    for joined in ("ring", "small-world", "full"):
        name = f"d-cliques24:size={size},steps=60,joined={joined}"
        graph = build(name, label_counts=counts).graph()
        assert all(inside(graph, some) == len(some) * (len(some) - 1) / 2 for some in cliques)
        between = [(home[i], home[j]) for i, j in graph.edges if home[i] != home[j]]
        linked = {frozenset(pair) for pair in between}
        hops = {
            "ring": [1],
            "small-world": [2**k + more for k in range(n) if 2**k < n for more in (0, 1)],
            "full": range(n),
        }[joined]
        pairs = {frozenset((k, (k + hop) % n)) for k in range(n) for hop in hops}
        assert linked == {pair for pair in pairs if len(pair) == 2}
        if joined != "small-world":
            assert len(between) == len(linked)


def test_swaps_make_cliques_that_see_all_classes_evenly():
    cliques = cliques_by_loops(ONE_EACH, 4, 300)
    assert all(sorted(i % 4 for i in clique) == [0, 1, 2, 3] for clique in cliques)


def test_links_between_cliques_are_shared_by_their_members():
    graph = build("d-cliques24:joined=full", label_counts=ONE_EACH).graph()
    assert {degree for _, degree in graph.degree} <= {4, 5}  # 3 inside; 5 links for 4 members


# STL-FW


def frank_wolfe_by_loops(counts, lam, budget):
    """The authors' code in its own words: outer products, a trace, and the better one of two W."""
    n, P = len(counts), counts / counts.sum(1, keepdims=True)
    W, better = np.eye(n), np.eye(n)
    while (better - np.eye(n) > 1e-12).sum(1).max() <= budget:
        W = better
        off = W @ P - P.mean(0)
        gradient = 2 / n * sum(np.outer(off[:, k], P[:, k]) for k in range(P.shape[1]))
        gradient += 2 / n * lam * (W - 1 / n)
        permutation = np.zeros((n, n))
        permutation[linear_sum_assignment((n / 2 * gradient).round(10))] = 1
        way = (permutation - W) @ P
        number = -np.sum(off * way) - lam * np.trace((W - 1 / n).T @ (permutation - W))
        norm = np.linalg.norm(way) ** 2 + lam * np.linalg.norm(permutation - W) ** 2
        better = (1 - number / norm) * W + number / norm * permutation
    return W


@pytest.mark.parametrize(("lam", "budget"), [(0.1, 3), (1.0, 5), (0.01, 8)])
def test_frank_wolfe_steps_are_those_of_the_authors(lam, budget):
    W = W_of(f"stl-fw24:lam={lam},budget={budget}", SOME)
    np.testing.assert_allclose(W, frank_wolfe_by_loops(SOME, lam, budget), atol=1e-12)
    np.testing.assert_allclose([W.sum(0), W.sum(1)], 1, atol=1e-12)
    assert (W >= 0).all()
    assert ((W > 0).sum(1) - (W.diagonal() > 0)).max() <= budget
    assert objective(W, SOME, lam) < objective(np.eye(24), SOME, lam)


def test_by_default_as_many_are_heard_as_there_are_classes():
    np.testing.assert_array_equal(W_of("stl-fw24", SOME), W_of("stl-fw24:budget=4", SOME))


@pytest.mark.parametrize("budget", [3, 4, 9])
def test_where_all_clients_differ_a_step_adds_a_neighbor_of_even_weight(budget):
    """With P = I the gradient avoids who is heard already: W is the mean of disjoint ones."""
    W = W_of(f"stl-fw10:budget={budget}", np.eye(10))
    assert ((W > 0).sum(1) == budget + 1).all()
    np.testing.assert_allclose(W[W > 0], 1 / (budget + 1), atol=1e-12)
    assert objective(W, np.eye(10), 0.1) == pytest.approx(1.1 * (1 / (budget + 1) - 1 / 10))


# Heterogeneity-aware weights


def test_on_the_complete_graph_the_best_weights_are_the_mean():
    W = W_of("complete8:mixing=heterogeneity-aware", SOME[:8] + 1)
    np.testing.assert_allclose(W, 1 / 8, atol=1e-5)


def test_a_client_without_edges_keeps_its_own():
    np.testing.assert_array_equal(W_of("complete1:mixing=heterogeneity-aware", SOME[:1]), [[1.0]])


@pytest.mark.parametrize("name", ["ring24", "erdos-renyi24:p=0.2", "star24"])
def test_no_other_weights_on_the_edges_are_better(name):
    mixing = "mixing=heterogeneity-aware"
    W = W_of(f"{name}{',' if ':' in name else ':'}{mixing}", ONE_EACH)
    np.testing.assert_allclose([W.sum(0), W.sum(1)], 1, atol=1e-12)
    np.testing.assert_array_equal(W, W.T)
    assert (W >= 0).all()
    edges = build(name).graph().edges
    assert all((i, j) in edges for i, j in np.argwhere(W) if i != j)
    usual, here, tried = build(name).mixing(0).dense(), objective(W, ONE_EACH, 0.1), 0
    assert here < objective(usual, ONE_EACH, 0.1) + (1e-9 if name == "ring24" else -0.01)
    for i, j in edges:
        for step in (1e-3, -1e-3):
            other = W.copy()
            other[[i, j], [j, i]] += step
            other[[i, j], [i, j]] -= step
            if (other >= 0).all() and other[i, j] >= usual[i, j] / 10:
                tried += 1
                assert objective(other, ONE_EACH, 0.1) > here - 1e-8
    assert tried > len(edges) / 2


# In a run


RUN = {"dataset": "synthetic", "algorithm": "dsgd", "alpha": 0.3, "rounds": 2, "engine": "local"}
NAMES = ["d-cliques10:size=5", "stl-fw10", "ring10:mixing=heterogeneity_aware"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_tells_the_network_what_its_clients_see(name, tmp_path):
    with p2pqg.Simulation(topology=name, out=str(tmp_path), **RUN) as sim:
        labels = [sim.shard(i)[1] for i in range(10)]
        counts = np.stack([np.bincount(one, minlength=10) for one in labels])
        np.testing.assert_array_equal(sim.W(0), W_of(name, counts))
        sim.advance(1)
        stored = sim.checkpoint(tmp_path / "stored")
        for change in (
            lambda: sim.set_topology("stl-fw10:budget=3"),
            lambda: sim.add_clients(1),
        ):
            with pytest.raises(P2pqgError) as refused:
                change()
            assert "\n" not in str(refused.value)
        sim.advance(1)
        ended = sim.parameters()
    with p2pqg.Simulation.restore(stored) as again:
        np.testing.assert_array_equal(again.W(1), W_of(name, counts))
        again.advance(1)
        np.testing.assert_array_equal(again.parameters(), ended)


@pytest.mark.parametrize("name", NAMES)
def test_elsewhere_nobody_knows_the_labels(name):
    with pytest.raises(TopologyError, match="looks at the clients' labels, which a run knows of"):
        p2pqg.mixing_matrix(name)
    for counts in (np.ones((9, 4)), np.ones(10), np.eye(10, 4) - 0.5, np.zeros((10, 4))):
        with pytest.raises(TopologyError, match=r"label_counts must be \[10, classes\]"):
            p2pqg.mixing_matrix(name, label_counts=counts)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("d-cliques10:size=0", "size must be >= 1, got 0"),
        ("d-cliques10:joined=tree", "joined must be one of ring, small-world, full, got 'tree'"),
        ("stl-fw10:lam=0", "lam must be > 0, got 0.0"),
        ("stl-fw10:budget=1", "fall into pieces that never meet. Use a larger budget"),
        ("exponential10:mixing=heterogeneity-aware", "is for undirected networks"),
        (
            "random-matching10:mixing=heterogeneity-aware",
            "for networks that stay, by name or as edges",
        ),
    ],
)
def test_bad_settings_are_one_line_before_a_run(name, told):
    with pytest.raises(ConfigError, match=told) as refused:
        p2pqg.run(topology=name, **RUN)
    assert "\n" not in str(refused.value)


# Users' own networks


OWN = """
import networkx as nx
import numpy as np
from p2pqg.topology._registry import topology


def star(label_counts):
    # Around whoever sees most classes.
    middle = int((label_counts > 0).sum(1).argmax())
    return nx.Graph([(middle, i) for i in range(len(label_counts)) if i != middle])


def turning(round, label_counts):
    n = len(label_counts)
    hop = 1 + int(label_counts[0, round % label_counts.shape[1]]) % (n - 1)
    return (np.eye(n) + np.roll(np.eye(n), hop, 1)) / 2


@topology("of-labels", source="a test", labels=True)
def registered(num_clients, params, label_counts):
    return star(label_counts)
"""
FILES = {
    "edges.csv": "source,target\n0,1\n1,2\n2,3\n3,4\n4,0\n0,2\n",
    "edges.yaml": "edges: [[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [0, 2]]\n"
    "mixing: heterogeneity_aware\n",
    "named.yaml": "graph: stl-fw5:budget=3\n",
    "turns.yaml": "clients: 5\ngraphs: ['d-cliques5:size=5', ring5]\n",
}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Where the files are."""
    monkeypatch.chdir(tmp_path)
    for name, text in {"mine.py": OWN, **FILES}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def hearing(label_counts):
    return np.where(label_counts.sum(1) > 0, 1 / len(label_counts), 0) * np.ones((5, 1))


OWN_NAMES = [
    "mine.py:star",
    "mine.py:turning",
    "mine.py:of-labels",
    "edges.csv:mixing=heterogeneity_aware",
    *("edges.yaml", "named.yaml", "turns.yaml"),
]


def hopping(round, label_counts):
    return (np.eye(5) + np.roll(np.eye(5), 1 + (round + int(label_counts[0].max())) % 4, 1)) / 2


@pytest.mark.parametrize("name", [*OWN_NAMES, hearing, hopping])
def test_a_run_tells_users_own_networks_what_clients_see(name, mine, tmp_path):
    with p2pqg.Simulation(topology=name, clients=5, out=str(tmp_path / "out"), **RUN) as sim:
        counts = np.stack([np.bincount(sim.shard(i)[1], minlength=10) for i in range(5)])
        schedule = build(name, 5, label_counts=counts)
        for round in range(3):
            np.testing.assert_array_equal(sim.W(round), schedule.mixing(round).dense())
        sim.advance(1)
        stored = sim.checkpoint(tmp_path / "stored")
        sim.advance(1)
        ended = sim.parameters()
    given = {"topology": name} if callable(name) else {}
    with p2pqg.Simulation.restore(stored, **given) as again:
        again.advance(1)
        np.testing.assert_array_equal(again.parameters(), ended)


def test_a_function_may_answer_with_the_name_of_a_network_that_looks_at_labels(tmp_path):
    def named(label_counts):
        return "stl-fw5:budget=3"

    with (
        p2pqg.Simulation(topology=named, clients=5, **RUN) as sim,
        p2pqg.Simulation(topology=named(None), **RUN) as same,
    ):
        np.testing.assert_array_equal(sim.W(0), same.W(0))


def test_whoever_changes_the_network_in_a_run_is_told_that_nobody_knows_the_labels():
    with p2pqg.Simulation(topology="ring5", **RUN) as sim:
        for network in (hearing, "stl-fw5:budget=3"):
            with pytest.raises(TopologyError, match="set_topology: .* looks at the clients' labe"):
                sim.set_topology(network)


@pytest.mark.parametrize("name", OWN_NAMES)
def test_own_networks_say_what_they_lack(name, mine):
    with pytest.raises(TopologyError, match="looks at the clients' labels, which a run knows of"):
        p2pqg.mixing_matrix(name, clients=5)
    with pytest.raises(TopologyError, match=r"label_counts must be \[5, classes\]"):
        p2pqg.mixing_matrix(name, clients=5, label_counts=np.ones((9, 4)))


@pytest.mark.parametrize("name", ["mine.py:star", hearing])
def test_a_network_of_labels_cannot_say_how_many_clients_there_are(name, mine):
    with pytest.raises(ConfigError, match="nothing says how many clients there are") as refused:
        p2pqg.run(topology=name, **RUN)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["mine.py:star", "edges.yaml", "d-cliques5"])
def test_where_there_are_no_labels_nobody_can_look_at_them(name, mine):
    lines = ["x,y,target", *(f"{i % 7},{i % 5},{i * 0.37}" for i in range(60))]
    (mine / "numbers.csv").write_text("\n".join(lines))
    data = {"dataset": {"name": "numbers.csv", "label": "target"}, "batch_size": 4}
    run = {k: v for k, v in RUN.items() if k not in ("dataset", "alpha")}
    with pytest.raises(ConfigError, match="looks at classes, and targets are numbers") as refused:
        p2pqg.run(topology=name, clients=5, **run, **data)
    assert "\n" not in str(refused.value)


def test_mistakes_in_samples_are_told_once(mine):
    with pytest.raises(ConfigError) as refused:
        p2pqg.run(
            topology="mine.py:star", clients=5, **(RUN | {"dataset": "digitz", "algorithm": "dsgx"})
        )
    assert len(refused.value.lines) == 2
