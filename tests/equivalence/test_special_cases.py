"""The special cases that the algorithms' docstrings name, and identities of their equations."""

import numpy as np
import pytest
import torch

from p2pqg.base.errors import ConfigError
from p2pqg.testing import Quadratics, assert_same, dense, run, starts
from p2pqg.theory.trajectories import at_start, trajectory

X0 = starts()[0]


def shift(hop, n=8):
    return np.roll(np.eye(n), hop, axis=0)


DIRECTED = 0.5 * np.eye(8) + 0.3 * shift(1) + 0.2 * shift(3)  # doubly stochastic, not symmetric


def still(x, round):
    return np.zeros_like(x)


def noise(x, round):
    """Gradients that do not depend on the model."""
    return starts(*x.shape, seed=100 + round)


# DSGD


@pytest.mark.parametrize("topology", ["ring8", DIRECTED], ids=["ring", "directed"])
def test_the_mean_of_dsgd_follows_the_mean_gradient(topology):
    problem = Quadratics.random()
    path = run("dsgd", problem, topology=topology, lr=0.1)
    for t in range(len(path) - 1):
        step = 0.1 * problem.gradient(path[t], t).mean(0)
        assert_same(path[t + 1].mean(0), path[t].mean(0) - step)


@pytest.mark.parametrize("topology", ["ring8", DIRECTED], ids=["ring", "directed"])
def test_without_gradients_dsgd_is_pure_gossip(topology):
    x0 = starts()
    path = trajectory("dsgd", still, x0, topology=topology, rounds=6, lr=0.1)
    assert_same(path[6], np.linalg.matrix_power(dense(topology), 6) @ x0)
    assert_same(path[6].mean(0), x0.mean(0))


# momentum


@pytest.mark.parametrize("nesterov", [False, True])
def test_centralized_momentum_is_torch_optim_sgd_on_the_mean_gradient(nesterov):
    problem = Quadratics.random()
    x = torch.nn.Parameter(torch.from_numpy(X0))
    optimizer = torch.optim.SGD([x], lr=0.05, momentum=0.9, nesterov=nesterov, weight_decay=1e-2)
    name = "sgdm-n" if nesterov else "sgdm"
    path = run(name, problem, X0, "complete8", lr=0.05, weight_decay=1e-2)
    for t in range(len(path) - 1):
        now = np.tile(x.detach().numpy(), (8, 1))
        assert_same(path[t], now)
        x.grad = torch.from_numpy(problem.gradient(now, t).mean(0))
        optimizer.step()


@pytest.mark.parametrize("name", ["adam", "dadam"])
def test_adam_of_one_client_is_torch_optim_adam(name):
    problem = Quadratics.random(1)
    x = torch.nn.Parameter(torch.from_numpy(X0))
    optimizer = torch.optim.Adam([x], lr=0.05, betas=(0.9, 0.99), eps=1e-8, weight_decay=1e-2)
    path = run(name, problem, X0, np.eye(1), lr=0.05, weight_decay=1e-2)
    for t in range(len(path) - 1):
        now = x.detach().numpy()[None]
        assert_same(path[t], now)
        x.grad = torch.from_numpy(problem.gradient(now, t)[0])
        optimizer.step()


@pytest.mark.parametrize(
    "name",
    ["qg-dsgdm", "qg-dsgdm-n", "dsgdm", "dsgdm-n", "dsgdm-sync", "decentlam"],
)
def test_beta_0_is_dsgd(name):
    assert_same(run(name, beta=0.0, topology=DIRECTED), run("dsgd", topology=DIRECTED))


# quasi-global momentum


def qhm(gradient, x, lr, beta_hat, nu, rounds):
    """Ma and Yarats' quasi-hyperbolic momentum, normalised form."""
    m, path = 0, [x]
    for t in range(rounds):
        g = gradient(x, t)
        m = beta_hat * m + (1 - beta_hat) * g
        x = x - lr * ((1 - nu) * g + nu * m)
        path.append(x)
    return np.stack(path)


@pytest.mark.parametrize(("beta", "mu"), [(0.9, 0.9), (0.5, 0.7), (0.8, 0.0)])
@pytest.mark.parametrize("name", ["qg-dsgdm", "qg-dsgdm-n"])
def test_quasi_global_momentum_of_one_client_is_qhm(name, beta, mu):
    problem, x0 = Quadratics.random(1), X0[None]
    weight = beta**2 if name == "qg-dsgdm-n" else beta
    beta_hat = mu + (1 - mu) * weight
    expected = qhm(problem.gradient, x0, 0.02 / (1 - beta), beta_hat, weight / beta_hat, 12)
    assert_same(run(name, problem, x0, np.eye(1), lr=0.02, beta=beta, mu=mu), expected)


@pytest.mark.parametrize(
    "topology", ["complete8", "ring8", DIRECTED], ids=["J", "ring", "directed"]
)
def test_the_mean_of_quasi_global_momentum_is_qhm_on_the_mean_gradient(topology):
    problem = Quadratics.random()
    path = run("qg-dsgdm", problem, topology=topology, lr=0.02)
    expected = qhm(
        lambda x, t: problem.gradient(path[t], t).mean(0),
        path[0].mean(0),
        0.02 / (1 - 0.9),
        beta_hat=0.99,
        nu=0.9 / 0.99,
        rounds=len(path) - 1,
    )
    assert_same(path.mean(1), expected)


def test_quasi_global_momentum_without_memory_mixes_a_polyak_term():
    """With mu = 0, X_new = W (X - lr G + beta (X - X_prev)); DecentLaM leaves that term unmixed."""
    problem = Quadratics.random()
    quasi = run("qg-dsgdm", problem, topology=DIRECTED, lr=0.05, beta=0.8, mu=0.0)
    lam = run("decentlam", problem, topology=DIRECTED, lr=0.05, beta=0.8)
    for t in range(1, len(quasi) - 1):
        x, last = quasi[t], quasi[t - 1]
        mixed = DIRECTED @ (x - 0.05 * problem.gradient(x, t) + 0.8 * (x - last))
        assert_same(quasi[t + 1], mixed)
        x, last = lam[t], lam[t - 1]
        mixed = DIRECTED @ (x - 0.05 * problem.gradient(x, t)) + 0.8 * (x - last)
        assert_same(lam[t + 1], mixed)


@pytest.mark.parametrize("momentum", [0.5, 0.9])
def test_consensus_under_quasi_global_momentum_contracts_by_the_root_of_its_quadratic(momentum):
    """r^2 - (lam + mu + (1 - mu) lam beta) r + lam (mu + (1 - mu) beta) = 0 for each lam of W."""
    values, vectors = np.linalg.eigh(dense("ring16"))
    lam, v = values[0], vectors[:, [0]]
    memory = momentum + (1 - momentum) * momentum
    path = trajectory(
        "qg-dsgdm", still, v, topology="ring16", rounds=30, lr=0.1, beta=momentum, mu=momentum
    )
    e = (path[:, :, 0] @ v)[:, 0]
    assert_same(e[1], lam)
    sums = lam + momentum + (1 - momentum) * lam * momentum
    assert_same(e[2:], sums * e[1:-1] - lam * memory * e[:-2])


def test_on_ring16_quasi_global_momentum_is_faster_than_gossip_at_one_half_but_not_at_0_9():
    """In the end, that is: early on it is faster at 0.9, too."""
    lam = np.linalg.eigvalsh(dense("ring16"))[-2]

    def rate(momentum):
        memory = momentum + (1 - momentum) * momentum
        sums = lam + momentum + (1 - momentum) * lam * momentum
        return max(abs(np.roots([1, -sums, lam * memory])))

    assert rate(0.5) < lam < rate(0.9)


@pytest.mark.parametrize("name", ["qg-dsgdm", "qg-dsgdm-n"])
def test_momentum_that_is_refreshed_every_tau_rounds_rests_until_then(name):
    """Until then the momentum is 0: DSGD, in Nesterov form with 1 + beta times the step."""
    path = run(name, tau=5, beta=0.5, lr=0.02)
    longer = 1.5 if name == "qg-dsgdm-n" else 1
    plain = run("dsgd", lr=0.02 * longer)
    assert_same(path[:6], plain[:6])
    assert np.abs(path[6] - plain[6]).max() > 1e-4


def test_the_second_moment_of_quasi_global_adam_sums_to_what_its_memory_holds():
    """Directions have length 1, so the entries of v sum to 1 - beta2^t in every client."""
    gradient = Quadratics.random().gradient
    (block,) = at_start("qg-dadam", gradient, starts(), topology="ring8", lr=0.05)
    for t, _ in enumerate(block.rounds(4)):
        raise AssertionError(f"one block waits for nobody, round {t}")
    assert_same(block.state.v.sum(1).numpy(), np.full(8, 1 - 0.99**4))


# synchronised buffers


def test_mixing_momenta_leaves_the_mean_alone():
    """For the same gradients, the mean model goes where that of DSGDm-N goes."""
    plain = trajectory("dsgdm-n", noise, starts(), topology=DIRECTED, rounds=9, lr=0.1)
    for over in ("gossip", "allreduce"):
        for what in ("momentum", "gradient"):
            path = trajectory(
                "dsgdm-sync",
                noise,
                starts(),
                topology=DIRECTED,
                rounds=9,
                lr=0.1,
                what=what,
                over=over,
            )
            assert_same(path.mean(1), plain.mean(1))


def test_all_reduced_momenta_are_equal():
    gradient = Quadratics.random().gradient
    (block,) = at_start(
        "dsgdm-sync", gradient, starts(), topology="ring8", lr=0.1, over="allreduce"
    )
    assert list(block.rounds(3)) == []
    assert torch.equal(block.state.m, block.state.m[:1].expand(8, -1))


# SlowMo


def test_slowmo_without_slow_momentum_averages_exactly_every_tau_rounds():
    base = run("dsgdm-n", topology="ring8", rounds=3)
    path = run("slowmo", topology="ring8", tau=4, slow_beta=0.0)
    assert_same(path[:4], base)
    for t in (4, 8, 12):
        assert_same(path[t], np.broadcast_to(path[t].mean(0), path[t].shape))
    assert np.ptp(path[5], axis=0).max() > 1e-3


def test_slowmo_that_averages_every_round_is_synchronous_sgd():
    path = run("slowmo", x0=X0, topology="ring8", tau=1, slow_beta=0.0, beta=0.0)
    assert_same(path, run("sgd", x0=X0, topology="ring8"))


def test_slowmo_of_one_round_is_not_quasi_global_momentum():
    slow = run("slowmo", x0=X0, topology="ring8", tau=1, slow_beta=0.9, beta=0.0)
    assert np.abs(slow - run("qg-dsgdm", x0=X0, topology="ring8")).max() > 1e-2


# DMSGD


def test_dmsgd_without_momentum_combines_then_adapts():
    problem = Quadratics.random()
    path = run("dmsgd", problem, topology="ring8", lr=0.1, beta=0.0)
    for t in range(len(path) - 1):
        step = 0.1 * problem.gradient(path[t], t)
        assert_same(path[t + 1], dense("ring8") @ path[t] - step)


def test_dmsgd_of_one_client_is_heavy_ball():
    one = {"problem": Quadratics.random(1), "x0": X0, "topology": np.eye(1), "lr": 0.05}
    assert_same(run("dmsgd", **one), run("dsgdm", **one))


def test_dmsgd_keeps_what_was_mixed_as_the_network_was_in_that_round():
    problem, W = Quadratics.random(), np.stack([dense("ring8"), np.eye(8)])
    path = run("dmsgd", problem, topology=W, lr=0.1, beta=0.5, mu=0.25)
    mixed = [W[t % 2] @ x for t, x in enumerate(path)]
    for t in range(1, len(path) - 1):
        d = 0.25 * (mixed[t] - mixed[t - 1]) + 0.75 * (path[t] - path[t - 1])
        assert_same(path[t + 1], mixed[t] - 0.1 * problem.gradient(path[t], t) + 0.5 * d)


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("dadam", {"beta2": 1.0}, r"beta2 must be in \[0, 1\), got 1"),
        ("qg-dadam", {"variant": "v1"}, "variant must be paper or official"),
        ("dsgdm-sync", {"over": "ring"}, "over must be gossip or allreduce"),
        ("slowmo", {"tau": 0}, "tau must be >= 1, got 0"),
        ("slowmo", {"slow_alpha": 0.0}, "slow_alpha must be > 0"),
        ("dmsgd", {"option": 2}, "option must be 1"),
        ("dmsgd", {"mu": 1.5}, r"mu must be in \[0, 1\]"),
        ("dsgd-gt", {"beta": 0.9}, "unknown key beta"),
        ("dsgdm-gt", {"form": "diging"}, "form must be cta or atc"),
        ("momentum-tracking", {"beta": -0.1}, r"beta must be in \[0, 1\)"),
        ("edm", {"beta": 1}, r"beta must be in \[0, 1\)"),
        ("relay-sgd", {"fill": "zero"}, "fill must be initial or own or count"),
        ("choco-sgd", {"gamma": 0.0}, r"gamma must be in \(0, 1\]"),
        ("choco-sgd", {"ratio": 2.0}, r"ratio must be in \(0, 1\]"),
        ("choco-sgd", {"compressor": "topk"}, "compressor must be top-k or"),
    ],
)
def test_parameters_out_of_range_are_refused_with_the_rule(name, params, told):
    with pytest.raises(ConfigError, match=told):
        run(name, topology="chain8", **params)


# Muffliato: several gossips after a step


def test_muffliato_with_one_gossip_is_dsgd():
    assert_same(run("muffliato", gossips=1), run("dsgd"))


def test_several_gossips_are_one_with_a_power_of_w():
    W = np.linalg.matrix_power(dense("ring8"), 3)
    found = run("muffliato", gossips=3, topology="ring8")
    assert_same(found, run("dsgd", topology=W))


def test_accelerated_gossip_is_its_recursion_and_keeps_the_mean():
    """Omega W x + (1 - omega) x_before, which begins with x_before = x; see `weight`."""
    W, gap = dense("ring16"), 0.05
    x0 = np.random.default_rng(0).standard_normal((16, 3))
    omega = 2 * (1 - np.sqrt(gap * (1 - gap / 4))) / (1 - gap / 2) ** 2
    before = x = x0
    for _ in range(8):
        before, x = x, omega * W @ x + (1 - omega) * before
    settings = {"topology": "ring16", "rounds": 1, "lr": 0.1, "gossips": 8}
    found = trajectory("muffliato", still, x0, gap=gap, **settings)[-1]
    assert_same(found, x)
    assert_same(found.mean(0), x0.mean(0))
    plain = trajectory("muffliato", still, x0, **settings)[-1]
    assert found.var(0).sum() < plain.var(0).sum() / 2
