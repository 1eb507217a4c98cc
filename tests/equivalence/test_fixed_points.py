"""Where the methods come to rest when clients disagree: at the optimum, or at a known bias from it.

DSGD rests at x = W (x - lr grad(x)); local momentum acts there like a step 1 / (1 - beta) as long,
quasi-global momentum does not; tracking, D2 and relaying remove the bias.
"""

import numpy as np
import pytest

from p2pqg.base.errors import TopologyError
from p2pqg.testing import (
    Quadratics,
    assert_same,
    check_comes_to_rest_at,
    check_finds_optimum,
    dense,
    run,
    starts,
)
from p2pqg.theory.trajectories import trajectory


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("d2", {"lazy": True}),
        ("d2-plus", {"lazy": True}),
        ("d2", {"topology": "star8"}),
        ("edm", {"topology": "star8", "rounds": 450}),
        ("edm", {"lazy": True, "rounds": 450}),
        ("edm", {"lazy": True, "beta": 0.5}),
        ("dsgd-gt", {}),
        ("dsgd-gt", {"form": "atc"}),
        ("gt-hsgd", {}),
        ("dsgdm-gt", {"lr": 0.02, "rounds": 450}),
        ("dsgdm-gt", {"form": "atc", "lr": 0.02, "rounds": 450}),
        ("dsgdm-n-gt", {"lr": 0.02, "rounds": 450}),
        ("dsgdm-n-gt", {"form": "atc", "lr": 0.02, "rounds": 450}),
        ("momentum-tracking", {"lr": 0.02, "rounds": 450}),
        ("momentum-tracking", {"init": "allreduce", "lr": 0.02, "rounds": 450}),
        ("k-gt", {"lr": 0.02}),
        ("k-gt", {"lr": 0.02, "init": "allreduce", "outer_lr": 0.5, "rounds": 500}),
        ("led", {"lr": 0.02, "lazy": True}),
        ("led", {"lr": 0.02, "topology": "star8", "local_steps": 3, "rounds": 450}),
        ("beer", {"ratio": 0.4, "lr": 0.05, "rounds": 850}),
        ("beer", {"compressor": "sign", "lr": 0.02, "gamma": 0.2, "rounds": 1200}),
        ("extra", {}),
        ("nids", {}),
        ("nids", {"topology": "star8", "rounds": 400}),
        ("dsmt", {"beta": 0.5, "rounds": 550}),
        ("dsmt", {"beta": 0.5, "eta": 0.5}),
        ("relay-sgd", {}),
        ("relay-sgd", {"fill": "count", "topology": "chain8"}),
    ],
    ids=str,
)
def test_exact_methods_find_the_optimum_although_clients_disagree(name, params):
    check_finds_optimum(name, **{"rounds": 300} | params)  # a fifth more than it takes


@pytest.mark.parametrize("params", [{}, {"beta": 0.5, "compressor": "sign"}], ids=str)
def test_error_feedback_finds_the_optimum_from_a_common_start(params):
    problem = Quadratics.random()
    path = run("ef21", problem, starts()[0], lr=0.05, rounds=600, **params)
    assert_same(path[-1], np.broadcast_to(problem.optimum(), path[-1].shape), 1e-8)


def dsgd_point(problem, W, lr):
    return problem.gossip_fixed_point(W, lr)


@pytest.mark.parametrize("topology", ["ring8", "star8"])
@pytest.mark.parametrize("name", ["dsgd", "qg-dsgdm", "decentlam"])
def test_quasi_global_momentum_and_decentlam_rest_where_dsgd_does(name, topology):
    check_comes_to_rest_at(name, dsgd_point, topology, rounds=250 if name == "dsgd" else 500)


@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_in_nesterov_form_quasi_global_momentum_rests_where_dsgd_with_a_step_of_1_plus_beta(beta):
    """At rest the momentum is 0, and the step is g + beta (beta 0 + g)."""
    check_comes_to_rest_at(
        "qg-dsgdm-n",
        lambda problem, W, lr: problem.gossip_fixed_point(W, lr * (1 + beta)),
        beta=beta,
        rounds=250,
    )


@pytest.mark.parametrize(
    ("name", "params", "b"),
    [
        ("gut", {"mu": 0.8}, 1),
        ("qg-gutm", {"mu": 0.15, "beta": 0.8}, 1 + 0.8),
        ("qg-gutm", {"mu": 0.15, "beta": 0.8, "nesterov": True}, 1 + 0.8 + 0.8**2),
    ],
    ids=str,
)
def test_global_update_tracking_rests_where_dsgd_with_a_shorter_step_does(name, params, b):
    share = (1 - params["mu"]) / (1 - params["mu"] + params["mu"] * b)
    check_comes_to_rest_at(
        name,
        lambda problem, W, lr: problem.gossip_fixed_point(W, lr * share),
        lr=0.05,
        rounds=700,
        **params,
    )


@pytest.mark.parametrize(
    ("network", "mu"), [("ring8", 0.9), ("torus16", 0.3), ("torus16", 0.35), ("torus9", 0.9)]
)
def test_global_update_tracking_is_stable_just_where_eigenvalues_allow_it(network, mu):
    """Without gradients, along an eigenvector: z^2 - (1 + mu) lambda z + mu lambda = 0."""
    W = dense(network)
    radius = max(
        np.abs(np.roots([1, -(1 + mu) * low, mu * low])).max() for low in np.linalg.eigvalsh(W)[:-1]
    )
    n, rounds = len(W), 600

    def play():
        x0 = starts(n)
        return trajectory("gut", lambda x, t: 0 * x, x0, topology=W, rounds=rounds, lr=1.0, mu=mu)

    if radius > 1:
        with pytest.raises(TopologyError, match="smallest eigenvalue of W is -0.6000, gut needs"):
            play()
    else:
        x = play()
        assert_same(x[-1], np.broadcast_to(x[0].mean(0), x[0].shape), 1e-9)


@pytest.mark.parametrize("name", ["dsgdm", "dsgdm-n", "sgp"])
def test_local_momentum_acts_like_a_longer_step(name):
    check_comes_to_rest_at(
        name,
        lambda problem, W, lr: problem.gossip_fixed_point(W, lr / (1 - 0.8)),
        beta=0.8,
        rounds=200,
    )


def test_local_momentum_is_further_from_the_optimum_than_quasi_global_momentum():
    problem, W = Quadratics.random(), dense("ring8")

    def error(lr):
        return np.linalg.norm(problem.gossip_fixed_point(W, lr) - problem.optimum())

    assert error(0.1 / (1 - 0.9)) > 3 * error(0.1)


def cta_point(problem, W, lr):
    """Where x = W x - lr grad(x)."""
    n, dim = problem.b.shape
    A = np.zeros((n, dim, n, dim))
    A[np.arange(n), :, np.arange(n), :] = problem.A
    A = A.reshape(n * dim, n * dim)
    rest = np.eye(n * dim) - np.kron(W, np.eye(dim)) + lr * A
    return np.linalg.solve(rest, lr * A @ problem.b.ravel()).reshape(n, dim)


@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0])
def test_dmsgd_rests_where_combine_then_adapt_does(mu):
    check_comes_to_rest_at("dmsgd", cta_point, mu=mu, beta=0.5, rounds=120)


@pytest.mark.parametrize("compressor", ["identity", "top-k", "sign"])
def test_compression_does_not_move_the_point_of_rest(compressor):
    gamma = 0.3

    def point(problem, W, lr):
        return cta_point(problem, np.eye(8) + gamma * (W - np.eye(8)), lr)

    check_comes_to_rest_at(
        "choco-sgd", point, compressor=compressor, ratio=0.4, gamma=gamma, rounds=250
    )
