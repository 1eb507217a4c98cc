"""PowerGossip on matrices, against a plain loop over edges and against what can be derived."""

import numpy as np
import pytest
from scipy.special import ndtri

from p2pqg.base.errors import ConfigError, TopologyError
from p2pqg.base.seeding import rng
from p2pqg.engine.block import lockstep
from p2pqg.testing import Quadratics, assert_same, dense, run, starts
from p2pqg.theory.trajectories import at_start, trajectory
from p2pqg.topology import build

SHAPES = [[4, 3], [2], [2, 2, 2]]  # 12 numbers of a matrix, 2 of a bias, 8 of a convolution
DIM = 22
MATRICES = [(slice(0, 12), 4, 3), (slice(14, 22), 2, 4)]
BIAS = slice(12, 14)


def irregular():
    """Metropolis-Hastings on a graph of degrees 1 to 4."""
    W = np.zeros((8, 8))
    edges = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (3, 5), (5, 6), (6, 7), (4, 7)]
    degree = np.bincount(np.array(edges).ravel())
    for i, j in edges:
        W[i, j] = W[j, i] = 1 / (1 + max(degree[i], degree[j]))
    return W + np.diag(1 - W.sum(1))


def plain(x, gradient, W, lr, rounds, rank=1, iterations=1, beta=0.0):
    """Edge by edge, from its lower end to its higher one."""
    edges = [(i, j) for i in range(8) for j in range(i + 1, 8) if W[i, j]]
    ranks = [min(out, into, rank) for _, out, into in MATRICES]
    sizes = [into * r for (_, _, into), r in zip(MATRICES, ranks, strict=True)]
    drawn = {i: ndtri(rng(0, "powergossip", i, 0).random(sum(sizes))) for i in range(8)}
    v = {}
    for i, j in edges:
        parts = np.split(drawn[i], np.cumsum(sizes)[:-1])
        v[i, j] = [part.reshape(-1, r) for part, r in zip(parts, ranks, strict=True)]
    m, step = 0, 0
    for t in range(rounds):
        m = beta * m + gradient(x, t)
        new = x.copy()
        for k in range(iterations if t else 0):
            old = new.copy()
            for i, j in edges:
                for number, (columns, out, into) in enumerate(MATRICES):
                    D = (old[j, columns] - old[i, columns]).reshape(out, into)
                    known = np.linalg.qr(v[i, j][number])[0]
                    v[i, j][number] = D @ known if step % 2 == 0 else D.T @ known
                    best = v[i, j][number] @ known.T
                    move = W[i, j] * (best if step % 2 == 0 else best.T).ravel()
                    new[i, columns] += move
                    new[j, columns] -= move
            if k == 0:
                new[:, BIAS] = W @ old[:, BIAS]
            step += 1
        x = new - lr * m
        yield x


@pytest.mark.parametrize("network", ["ring8", "irregular"])
@pytest.mark.parametrize(
    "params",
    [{}, {"rank": 2, "beta": 0.7}, {"iterations": 3}, {"rank": 9, "iterations": 2}],
    ids=str,
)
def test_edges_do_what_the_paper_says(network, params):
    problem, x0 = Quadratics.random(8, DIM), starts(8, DIM)
    W = irregular() if network == "irregular" else dense(network)
    expected = np.stack([x0, *plain(x0, problem.gradient, W, 0.05, 9, **params)])
    for blocks in ([8], [3, 5]):
        got = run(
            *("powergossip", problem, x0, W, 9),
            lr=0.05,
            shapes=SHAPES,
            blocks=blocks,
            **params,
        )
        assert_same(got, expected, 1e-10)


def test_the_mean_of_the_models_changes_by_gradients_only():
    problem, x0 = Quadratics.random(8, DIM), starts(8, DIM)
    path = run("powergossip", problem, x0, "star8", 9, lr=0.05, shapes=SHAPES)
    for t in range(9):
        step = 0.05 * problem.gradient(path[t], t).mean(0)
        assert_same(path[t + 1].mean(0), path[t].mean(0) - step)


@pytest.mark.parametrize("rank", [3, 5])
def test_of_full_rank_nothing_of_a_square_matrix_is_lost(rank):
    problem, x0, W = Quadratics.random(8, 9), starts(8, 9), dense("ring8")
    path = run("powergossip", problem, x0, W, 9, lr=0.05, shapes=[[3, 3]], rank=rank)
    for t in range(1, 9):
        assert_same(path[t + 1], W @ path[t] - 0.05 * problem.gradient(path[t], t), 1e-11)


def test_vectors_that_are_kept_find_a_difference_of_rank_one():
    """Two clients whose matrices differ by a b': from the third exchange on, v is a and then b."""
    draw = np.random.default_rng(0)
    a, b, X = draw.standard_normal((4, 1)), draw.standard_normal((3, 1)), draw.random((4, 3))
    x0 = np.stack([X.ravel(), (X + a @ b.T).ravel()])
    half = np.full((2, 2), 0.5)
    path = trajectory(
        *("powergossip", lambda x, t: 0 * x, x0),
        topology=0.5 * np.eye(2) + 0.5 * half,
        rounds=4,
        lr=0.1,
        shapes=[[4, 3]],
    )
    assert_same(path[3] - path[3].mean(0), (path[2] - path[2].mean(0)) / 2)
    assert_same(path[4] - path[4].mean(0), (path[2] - path[2].mean(0)) / 4)
    assert (np.abs(path[2] - path[2].mean(0)) > 0.6 * np.abs(path[1] - path[1].mean(0))).any()


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("network", ["ring4", "chain2"])
def test_last_digits_stay_last_ones_where_differences_have_a_lower_rank(network, iterations):
    """Each client's gradients are of rank one: after a round models differ by rank two."""
    n = int(network[-1])
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal((9, n, 4, 1)), draw.standard_normal((9, n, 1, 3))
    x0 = np.tile(draw.standard_normal(12), (n, 1))

    def path(x0):
        return trajectory(
            *("powergossip", lambda x, t: 0.1 * x + (a[t] @ b[t]).reshape(n, 12), x0),
            topology=network,
            rounds=9,
            lr=0.1,
            shapes=[[4, 3]],
            rank=3,
            iterations=iterations,
        )

    other = x0 * (1 + 1e-15 * draw.standard_normal((n, 12)))
    assert np.abs(path(x0)[1:] - path(x0)[1:].mean(1, keepdims=True)).max() > 0.01
    assert_same(path(other), path(x0), 1e-11)


def test_bytes_are_those_of_the_vectors_and_of_what_is_no_matrix():
    (block,) = at_start(
        "powergossip",
        Quadratics.random(8, DIM).gradient,
        starts(8, DIM),
        topology=build("ring8"),
        lr=0.1,
        shapes=SHAPES,
        rank=2,
    )
    sent = [0.0]
    for done in range(1, 5):
        lockstep([block], done)
        sent.append(block.bytes_sent)
    first, from_left, from_right = 2 * (3 + 4), 2 * (3 + 4) + 2, 2 * (4 + 2) + 2
    messages, width = 16, 8
    expected = np.array([first, from_right, from_left, from_right]) * messages * width
    assert_same(np.diff(sent), expected)


def test_numbers_of_vectors_below_one_and_networks_that_change_are_refused():
    with pytest.raises(ConfigError, match="rank must be >= 1, got 0"):
        run("powergossip", topology="ring8", rank=0)
    with pytest.raises(TopologyError, match="powergossip needs"):
        run("powergossip", topology="onepeer-exponential8")
