"""Several gradient steps between two exchanges: against plain loops, where every batch differs."""

import numpy as np
import pytest

import p2pqg
from p2pqg.algorithms import ALGORITHMS
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.errors import ConfigError
from p2pqg.engine.rule import Rule
from p2pqg.testing import (
    Quadratics,
    assert_same,
    check_is,
    check_one_local_step_is,
    check_sums_to_zero,
    dense,
    run,
    starts,
)

PROBLEM, X0, ROUNDS, H = Quadratics.random(), starts(), 7, 3
METHODS = ("dsgd", "dsgdm", "dsgdm-n", "qg-dsgdm", "qg-dsgdm-n", "dadam", "qg-dadam")
W = dense("ring8")


def lr(t):
    return 0.08 if t < 4 else 0.03


def batch(t, k):
    """[clients, dim]: what batch k of round t adds to the gradient."""
    return np.random.default_rng((t, k)).standard_normal(X0.shape)


def gradient(x, round, step):
    return PROBLEM.gradient(x, round) + batch(round, step)


def path(name, **more):
    settings = {"topology": "ring8", "rounds": ROUNDS, "lr": lr, "local_steps": H, **more}
    return p2pqg.trajectory(name, gradient, X0, **settings)


def momentum(beta=0.9, nesterov=False):
    m = np.zeros_like(X0)
    x = X0
    for t in range(ROUNDS):
        for k in range(H):
            g = gradient(x, t, k)
            m = beta * m + g
            x = x - lr(t) * (g + beta * m if nesterov else m)
        x = W @ x
        yield x


def quasi_global(beta=0.9, mu=0.9, nesterov=False):
    """The momentum follows the mean of the local steps, of those that the network took."""
    m, x = np.zeros_like(X0), X0
    for t in range(ROUNDS):
        half = x
        for k in range(H):
            g = gradient(half, t, k)
            b = beta * m + g
            half = half - lr(t) * (g + beta * b if nesterov else b)
        new = W @ half
        m, x = mu * m + (1 - mu) * (x - new) / (lr(t) * H), new
        yield x


def dadam(beta1=0.9, beta2=0.99, eps=1e-8):
    m = v = steps = 0
    x = X0
    for t in range(ROUNDS):
        for k in range(H):
            g, steps = gradient(x, t, k), steps + 1
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
            x = x - lr(t) * m / (1 - beta1**steps) / (np.sqrt(v / (1 - beta2**steps)) + eps)
        x = W @ x
        yield x


def qg_dadam(beta1=0.9, beta2=0.99, eps=1e-8, v2=False):
    """Moments that follow the network stand still meanwhile; Adam's own m of v2 goes on."""
    m = v = np.zeros_like(X0)
    x, c1, c2 = X0, 1, 1
    for t in range(ROUNDS):
        half, own = x, m
        for k in range(H):
            g = gradient(half, t, k)
            own = beta1 * (own if v2 else m) + (1 - beta1) * g
            second = beta2 * v + (1 - beta2) * g**2
            if v2:
                c1, c2 = 1 - beta1 ** (H * t + k + 1), 1 - beta2 ** (t + 1)
            half = half - lr(t) / c1 * own / (np.sqrt(second / c2) + eps)
        new = W @ half
        d = x - new
        d = d / (np.linalg.norm(d, axis=1, keepdims=True) + v2 * 1e-8)
        m = own if v2 else beta1 * m + (1 - beta1) * d
        v, x = beta2 * v + (1 - beta2) * d**2, new
        yield x


@pytest.mark.parametrize(
    ("name", "reference", "how"),
    [
        ("dsgd", momentum, {"beta": 0.0}),
        ("dsgdm", momentum, {}),
        ("dsgdm-n", momentum, {"nesterov": True}),
        ("qg-dsgdm", quasi_global, {}),
        ("qg-dsgdm-n", quasi_global, {"nesterov": True}),
        ("dadam", dadam, {}),
        ("qg-dadam", qg_dadam, {}),
    ],
)
@pytest.mark.parametrize("blocks", [None, [3, 5]], ids=["one", "two"])
def test_local_steps_are_the_loop_over_the_batches_of_a_round(name, reference, how, blocks):
    assert_same(path(name, blocks=blocks), np.stack([X0, *reference(**how)]))


@pytest.mark.parametrize("name", METHODS)
def test_one_local_step_is_the_plain_method(name):
    check_one_local_step_is(name)
    assert (
        path(name, local_steps=1)
        == p2pqg.trajectory(name, gradient, X0, topology="ring8", rounds=ROUNDS, lr=lr)
    ).all()


def test_the_own_momentum_of_v2_goes_on_through_local_steps():
    expected = np.stack([X0, *qg_dadam(v2=True)])
    assert_same(path("qg-dadam", variant="official-v2"), expected)


@pytest.mark.parametrize(
    ("name", "params", "other"),
    [
        ("dfedavgm", {}, "dsgd"),
        ("dfedsam", {"rho": 0.0}, "dsgd"),
        (
            "noloco",
            {"inner": "sgd", "outer_beta": 0.0, "outer_lr": 1.0, "gamma": 1.0},
            "dsgd",
        ),
    ],
)
def test_with_one_local_step_they_are_dsgd(name, params, other):
    check_one_local_step_is(name, other, **params)


def test_sharpness_awareness_at_no_distance_is_federated_averaging():
    check_is("dfedsam", "dfedavgm", of={"local_steps": 4}, rho=0.0, beta=0.9, local_steps=4)


def test_the_gradient_of_dfedsam_is_taken_where_the_loss_rises_most_on_the_same_batch():
    seen = path("dfedsam", rho=0.5, local_steps=1, rounds=1)
    g = gradient(X0, 0, 0)
    worst = X0 + 0.5 * g / np.linalg.norm(g, axis=1, keepdims=True)
    assert_same(seen[1], W @ (X0 - lr(0) * gradient(worst, 0, 0)))


def test_k_gt_of_one_step_is_gradient_tracking_while_lr_is_constant():
    constant = {"lr": 0.05, "topology": "ring8"}
    expected = run("dsgd-gt", form="atc", **constant)
    assert_same(run("k-gt", local_steps=1, **constant), expected)


def test_led_of_one_step_is_exact_diffusion_while_lr_is_constant():
    constant = {"lr": 0.05, "topology": "star8"}
    expected = run("d2", **constant)
    assert_same(run("led", local_steps=1, beta=1.0, **constant), expected)
    assert_same(run("led", local_steps=1, **constant), expected)


@pytest.mark.parametrize(
    ("name", "part", "params"),
    [
        ("k-gt", "c", {}),
        ("k-gt", "c", {"init": "allreduce", "outer_lr": 0.5}),
        ("led", "y", {"lazy": True}),
    ],
)
def test_corrections_sum_to_zero(name, part, params):
    check_sums_to_zero(name, part, **params)


def test_an_all_reduced_start_of_k_gt_makes_every_local_step_that_of_the_mean_gradient():
    """With gradients that do not depend on the model; the batch of the start is one more."""

    def constant(x, round, step):
        return batch(0, 0)

    seen = p2pqg.trajectory(
        "k-gt", constant, X0, topology="ring8", rounds=1, lr=0.1, init="allreduce", local_steps=4
    )
    assert_same(seen[1], W @ (X0 - 4 * 0.1 * batch(0, 0).mean(0)))


def test_all_clients_of_diloco_stay_equal():
    seen = run("diloco", x0=X0[0], topology="ring8", local_steps=4)
    assert_same(seen, np.broadcast_to(seen[:, :1], seen.shape))


def test_every_method_that_has_local_steps_refuses_none():
    for name, entry in ALGORITHMS.items():
        if hasattr(entry.params, "local_steps"):
            with pytest.raises(ConfigError, match="local_steps must be >= 1, got 0"):
                run(name, topology="star8", local_steps=0)


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("d2", {"local_steps": 2}, "unknown key local_steps"),
        ("dfedsam", {"rho": -1}, "rho must be >= 0"),
        ("dfedsam", {"gossips": 0}, "gossips must be >= 1"),
        ("k-gt", {"outer_lr": 0.0}, "outer_lr must be > 0"),
        ("led", {"beta": -0.1}, "beta must be > 0"),
        ("noloco", {"outer_beta": 1.0}, r"outer_beta must be in \[0, 1\)"),
        ("noloco", {"gamma": 0}, "gamma must be > 0"),
        ("diloco", {"inner": "lion"}, "inner must be adam or sgd"),
    ],
)
def test_parameters_out_of_range_are_refused_with_the_rule(name, params, told):
    with pytest.raises(ConfigError, match=told):
        run(name, topology="star8", **params)


def test_where_steps_are_counted_by_rounds_all_rounds_have_as_many():
    """Adam's own moment, of official-v2, is corrected for all steps that a client has made."""
    entry = ALGORITHMS["qg-dadam"]
    rule = Rule(entry, entry.params(lr=0.1, variant="official-v2"), LearningRate(0.1), seed=0)
    with pytest.raises(ConfigError, match="algorithm.local_steps of qg-dadam cannot change in a"):
        rule.with_params(local_steps=2)
    rule = Rule(entry, entry.params(lr=0.1), LearningRate(0.1), seed=0)
    assert rule.with_params(local_steps=2).params.local_steps == 2
    with pytest.raises(ConfigError, match="algorithm.variant of qg-dadam cannot change in a"):
        rule.with_params(variant="official")
