"""Methods whose messages are not plain models: relayed sums, push-sum, compressed differences."""

import math

import networkx as nx
import numpy as np
import pytest
import torch

from p2pqg.algorithms.choco_sgd import Params
from p2pqg.algorithms.compressors import COMPRESSORS
from p2pqg.base.errors import TopologyError
from p2pqg.base.seeding import rng
from p2pqg.testing import Quadratics, assert_same, bytes_sent, dense, run, starts
from p2pqg.theory.trajectories import at_start, trajectory
from p2pqg.topology import build

# RelaySGD

TREES = [("chain8", 7), ("star8", 2), ("binary-tree15", 6)]


def forest(topology):
    graph = build(topology).graph()
    return graph.number_of_nodes(), nx.diameter(graph)


@pytest.mark.parametrize(("topology", "diameter"), TREES)
def test_everybody_is_counted_once_after_as_many_rounds_as_the_tree_is_wide(topology, diameter):
    n, width = forest(topology)
    assert width == diameter
    problem = Quadratics.random(n)
    (block,) = at_start("relay-sgd", problem.gradient, starts(n), topology=topology, lr=0.1)
    for done in range(1, diameter + 3):
        assert list(block.rounds(done)) == []
        heard = block.state.counts.sum(1)[:, 0]
        assert torch.equal(block.state.n, torch.full((n, 1), n))
        assert bool((heard == n - 1).all()) == (done >= diameter)


@pytest.mark.parametrize(("topology", "diameter"), TREES)
@pytest.mark.parametrize("fill", ["initial", "own", "count"])
def test_constant_steps_are_averaged_exactly_once_all_are_heard(topology, diameter, fill):
    n, _ = forest(topology)
    g = starts(n)
    path = trajectory(
        "relay-sgd",
        lambda x, round: g,
        starts(n, seed=2),
        topology=topology,
        rounds=diameter + 3,
        lr=0.1,
        beta=0.0,
        relay="update",
        fill=fill,
    )
    step = path[1:] - path[:-1]
    mean = np.broadcast_to(-0.1 * g.mean(0), step.shape)
    assert_same(step[diameter - 1 :], mean[diameter - 1 :])
    assert np.abs(step[diameter - 2] - mean[0]).max() > 1e-4


def test_relayed_models_come_to_consensus_though_not_on_the_first_mean():
    x0 = starts()
    path = trajectory(
        "relay-sgd", lambda x, t: 0 * x, x0, topology="chain8", rounds=400, lr=0.1, beta=0.0
    )
    assert np.ptp(path[-1], axis=0).max() < 1e-9
    assert np.abs(path[-1].mean(0) - x0.mean(0)).max() > 1e-3


@pytest.mark.parametrize("relay", ["model", "update"])
def test_relay_sgd_of_one_client_is_sgd_with_momentum(relay):
    one = {"problem": Quadratics.random(1), "x0": starts()[0], "topology": np.eye(1)}
    assert_same(run("relay-sgd", relay=relay, **one), run("dsgdm-n", **one))


def test_relay_sgd_of_two_clients_is_synchronous_sgd():
    """Everybody is heard at once."""
    two = {"problem": Quadratics.random(2), "x0": starts()[0], "topology": "chain2"}
    assert_same(run("relay-sgd", **two), run("sgdm-n", **two))


def test_relay_sgd_refuses_a_network_that_is_not_a_tree():
    with pytest.raises(TopologyError, match="relay-sgd needs an undirected tree.*Use binary-tree"):
        run("relay-sgd", topology="ring8")


# SGP

SPLIT = np.eye(8) + np.roll(np.eye(8), 1, axis=0)
SPLIT[[3, 5, 6], [0, 0, 2]] = 1
PUSH = build(SPLIT / SPLIT.sum(0), needs=("column-stochastic",))


def test_push_sum_keeps_the_sum_of_weights_and_follows_the_mean_step():
    problem = Quadratics.random()
    (block,) = at_start("sgp", problem.gradient, starts(), topology=PUSH, lr=0.1, beta=0.0)
    for done in range(1, 9):
        x, z = block.x.numpy(), block.state.z.numpy()
        assert list(block.rounds(done)) == []
        assert_same(block.state.w.sum().numpy(), 8.0)
        step = 0.1 * problem.gradient(x, 0).sum(0)
        assert_same(block.state.z.numpy().sum(0), z.sum(0) - step)
    assert np.ptp(block.state.w.numpy()) > 0.1


def test_push_sum_without_gradients_finds_the_mean_where_plain_gossip_does_not():
    x0 = starts()
    path = trajectory("sgp", lambda x, t: 0 * x, x0, topology=PUSH, rounds=150, lr=0.1)
    assert_same(path[-1], np.broadcast_to(x0.mean(0), x0.shape))


@pytest.mark.parametrize("topology", ["ring8", "exponential8", "onepeer-exponential8"])
def test_on_doubly_stochastic_networks_push_sum_changes_nothing(topology):
    assert_same(run("sgp", topology=topology), run("dsgdm-n", topology=topology))
    assert_same(run("sgp", topology=topology, beta=0.0), run("dsgd", topology=topology))


# CHOCO-SGD

WHOLE = {"compressor": "identity", "gamma": 1.0}
DIRECTED = 0.7 * np.eye(8) + 0.3 * np.roll(np.eye(8), 3, axis=0)


def test_choco_that_loses_nothing_is_dsgd_if_it_sends_first():
    path = run("choco-sgd", topology=DIRECTED, order="paper", **WHOLE)
    assert_same(path, run("dsgd", topology=DIRECTED))


def test_choco_that_loses_nothing_combines_then_adapts_if_it_sends_last():
    problem = Quadratics.random()
    path = run("choco-sgd", problem, topology=DIRECTED, lr=0.1, **WHOLE)
    assert_same(path[1], path[0] - 0.1 * problem.gradient(path[0], 0))
    for t in range(1, len(path) - 1):
        assert_same(path[t + 1], DIRECTED @ path[t] - 0.1 * problem.gradient(path[t], t))


@pytest.mark.parametrize("order", ["code", "paper"])
@pytest.mark.parametrize("compressor", sorted(COMPRESSORS))
def test_compressed_gossip_keeps_the_mean_and_comes_to_consensus(compressor, order):
    x0 = starts()
    path = trajectory(
        "choco-sgd",
        lambda x, t: 0 * x,
        x0,
        topology="ring8",
        rounds=400,
        lr=0.1,
        compressor=compressor,
        ratio=0.4,
        gamma=0.2,
        order=order,
    )
    assert_same(path.mean(1), np.broadcast_to(x0.mean(0), path.mean(1).shape))
    assert np.ptp(path[-1], axis=0).max() < 1e-3 * np.ptp(x0, axis=0).max()


@pytest.mark.parametrize("compressor", ["top-k", "random-k"])
def test_sending_all_entries_loses_nothing(compressor):
    path = run("choco-sgd", topology="ring8", compressor=compressor, ratio=1.0)
    assert_same(path, run("choco-sgd", topology="ring8", compressor="identity"))


def test_a_seed_repeats_random_messages_and_another_does_not():
    def path(seed):
        return run("choco-sgd", compressor="random-k", ratio=0.4, seed=seed)

    assert np.array_equal(path(1), path(1))
    assert not np.array_equal(path(1), path(2))


def compress(name, v, **params):
    draw_rng = rng(0, "test")

    def draw(purpose, size):
        return torch.from_numpy(draw_rng.random((len(v), size)))

    q, size = COMPRESSORS[name](torch.from_numpy(v), Params(lr=1, **params), draw)
    return q.numpy(), size


def test_top_k_keeps_the_largest_entries():
    q, _ = compress("top-k", np.array([[3.0, -5.0, 1.0, 0.5], [0.0, 1.0, -2.0, 3.0]]), ratio=0.5)
    assert_same(q, [[3.0, -5.0, 0.0, 0.0], [0.0, 0.0, -2.0, 3.0]])


def test_random_k_keeps_as_many_entries_as_they_are():
    v = starts(20, 10)
    q, _ = compress("random-k", v, ratio=0.3)
    assert np.count_nonzero(q, axis=1).tolist() == [3] * 20
    assert np.array_equal(q[q != 0], v[q != 0])
    assert len({tuple(row) for row in (q != 0).tolist()}) > 10


def test_sign_keeps_the_signs_and_the_mean_length():
    q, _ = compress("sign", np.array([[3.0, -5.0, 1.0, -1.0]]))
    assert_same(q, [[2.5, -2.5, 2.5, -2.5]])


def test_a_sign_is_one_bit_so_that_0_counts_as_positive():
    """As in the code of CHOCO-SGD, which packs them: only a negative one sets its bit."""
    q, _ = compress("sign", np.array([[3.0, -5.0, 0.0, 0.0]]))
    assert_same(q, [[2.0, -2.0, 2.0, 2.0]])


def test_qsgd_rounds_to_levels_of_the_length_and_is_right_in_the_mean():
    v = np.tile([3.0, -4.0, 0.0, 1.0], (20_000, 1))
    q, _ = compress("qsgd", v, bits=2)
    length, shrink = math.sqrt(26), 1 + min(4 / 9, 2 / 3)
    levels = q * shrink / length * 3
    assert_same(levels, levels.round())
    # Rounding noise of one entry is below length / 3; the mean of 20,000 below 5 sigma.
    assert np.abs(q.mean(0) * shrink - v[0]).max() < 5 * length / 3 / math.sqrt(20_000)


@pytest.mark.parametrize("name", sorted(COMPRESSORS))
def test_nothing_is_compressed_to_nothing(name):
    assert_same(compress(name, np.zeros((2, 6)))[0], np.zeros((2, 6)))


@pytest.mark.parametrize("name", sorted(COMPRESSORS))
def test_compressors_are_contractions(name):
    v = starts(200, 20)
    q, _ = compress(name, v)
    assert ((v - q) ** 2).sum() < (v**2).sum()


@pytest.mark.parametrize(
    ("compressor", "message"),
    [
        ("identity", 20 * 8),
        ("top-k", 2 * (8 + 4)),  # values of 8 bytes, indices of 4
        ("random-k", 2 * 8 + 8),  # values and a seed
        ("sign", 3 + 8),  # 20 bits in 3 bytes, and a scale
        ("qsgd", 13 + 8),  # 20 signs and levels of 4 bits in 13 bytes, and a length
    ],
)
def test_compressed_messages_are_counted_as_they_are_sent(compressor, message):
    (block,) = at_start(
        "choco-sgd",
        Quadratics.random(8, 20).gradient,
        starts(8, 20),
        topology="ring8",
        lr=0.1,
        compressor=compressor,
    )
    assert list(block.rounds(3)) == []
    assert block.bytes_sent == 3 * 16 * message


def test_every_message_of_a_directed_network_is_counted_for_its_sender():
    edges = np.count_nonzero(dense(PUSH)) - 8
    assert bytes_sent("sgp", PUSH, 3) == 3 * edges * (5 + 1) * 8


def test_choco_refuses_a_network_that_changes():
    with pytest.raises(TopologyError, match="choco-sgd needs the same network in every round"):
        run("choco-sgd", topology="onepeer-exponential8")
