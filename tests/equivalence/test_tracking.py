"""Methods that cancel the difference between clients: D2, EDM, gradient and momentum tracking."""

import numpy as np
import pytest

from p2pqg.base.errors import ConfigError, TopologyError
from p2pqg.testing import (
    Quadratics,
    assert_same,
    check_finds_optimum,
    check_is,
    check_sums_to_zero,
    check_tracks_mean_gradient,
    dense,
    falling_lr,
    run,
    starts,
)
from p2pqg.theory.trajectories import at_start, trajectory

X0 = starts()[0]
DIRECTED = 0.7 * np.eye(8) + 0.3 * np.roll(np.eye(8), 3, axis=0)


def states(name, rounds=8, topology="ring8", **params):
    """The state of all clients after every round, from the first on."""
    gradient = Quadratics.random().gradient
    (block,) = at_start(name, gradient, starts(), topology=topology, lr=0.05, **params)
    for done in range(1, rounds + 1):
        assert list(block.rounds(done)) == []
        yield block.state


# D2


@pytest.mark.parametrize("name", ["d2", "d2-plus", "edm"])
def test_the_mean_of_d2_follows_the_mean_gradient(name):
    problem = Quadratics.random()
    more = {"beta": 0.0} if name == "edm" else {}
    path = run(name, problem, topology="ring8", lr=0.1, **more)
    for t in range(len(path) - 1):
        step = 0.1 * problem.gradient(path[t], t).mean(0)
        assert_same(path[t + 1].mean(0), path[t].mean(0) - step)


@pytest.mark.parametrize("lazy", [False, True])
def test_d2_plus_and_edm_without_momentum_are_d2_while_lr_is_constant(lazy):
    path = run("d2", topology="ring8", lr=0.1, lazy=lazy)
    assert_same(run("d2-plus", topology="ring8", lr=0.1, lazy=lazy), path)
    assert_same(run("edm", topology="ring8", lr=0.1, lazy=lazy, beta=0.0), path)


def test_on_the_complete_graph_d2_is_dsgd_while_lr_is_constant():
    assert_same(
        run("d2", x0=X0, topology="complete8", lr=0.1),
        run("dsgd", x0=X0, topology="complete8", lr=0.1),
    )


@pytest.mark.parametrize("name", ["d2", "d2-plus", "edm"])
def test_lazy_mixes_with_half_of_w_and_half_of_the_identity(name):
    halfway = (dense("ring8") + np.eye(8)) / 2
    assert_same(run(name, topology="ring8", lazy=True), run(name, topology=halfway))


def test_when_lr_falls_d2_keeps_a_part_of_the_old_step_for_ever_and_d2_plus_does_not():
    """D2: s_t = s_{t-1} + lr_t (g_t - g_{t-1}) for the mean step s and mean gradient g."""

    def lr(t):
        return 0.1 if t < 5 else 0.001

    problem = Quadratics.random()
    path = run("d2", problem, topology="ring8", lr=lr)
    step = (path[:-1] - path[1:]).mean(1)
    g = np.stack([problem.gradient(x, 0).mean(0) for x in path])
    for t in range(1, len(step)):
        assert_same(step[t], step[t - 1] + lr(t) * (g[t] - g[t - 1]))
    assert np.linalg.norm(step[-1]) > 20 * np.linalg.norm(lr(11) * g[-2])

    path = run("d2-plus", problem, topology="ring8", lr=lr)
    for t in range(len(path) - 1):
        step = lr(t) * problem.gradient(path[t], t).mean(0)
        assert_same(path[t].mean(0) - path[t + 1].mean(0), step)


@pytest.mark.parametrize("name", ["d2", "d2-plus", "edm"])
def test_d2_refuses_a_network_on_which_it_is_unstable_and_says_what_to_do(name):
    """Weights 1/4 on the hypercube of 8: smallest eigenvalue -1/2."""
    with pytest.raises(TopologyError, match=r"-0\.5000, .* needs > -1/3; .*lazy=true"):
        run(name, topology="hypercube8")
    check_finds_optimum(name, topology="hypercube8", lazy=True)


@pytest.mark.parametrize("lazy", [False, True])
def test_d2_refuses_directed_networks(lazy):
    with pytest.raises(TopologyError, match="d2 needs a symmetric W"):
        run("d2", topology=DIRECTED, lazy=lazy)


def test_edm_follows_its_three_term_recursion():
    """X_new = W (2 X - X_prev - lr M + lr M_prev), M = beta M + G."""
    problem, W = Quadratics.random(), dense("ring8")
    path = run("edm", problem, topology="ring8", lr=0.05, beta=0.7)
    M = problem.gradient(path[0], 0)
    for t in range(1, len(path) - 1):
        M_prev, M = M, 0.7 * M + problem.gradient(path[t], t)
        assert_same(path[t + 1], W @ (2 * path[t] - path[t - 1] - 0.05 * M + 0.05 * M_prev))


# gradient tracking


@pytest.mark.parametrize("form", ["cta", "atc"])
@pytest.mark.parametrize("topology", ["ring8", DIRECTED], ids=["ring", "directed"])
@pytest.mark.parametrize("name", ["dsgd-gt", "dsgdm-gt", "dsgdm-n-gt"])
def test_what_is_tracked_keeps_the_mean_of_what_it_tracks(name, topology, form):
    for state in states(name, topology=topology, form=form):
        assert_same(state.wy.mean(0).numpy(), state.last.mean(0).numpy())


@pytest.mark.parametrize("form", ["cta", "atc"])
@pytest.mark.parametrize(
    ("name", "plain"), [("dsgd-gt", "dsgd"), ("dsgdm-gt", "dsgdm"), ("dsgdm-n-gt", "dsgdm-n")]
)
def test_one_client_has_nothing_to_track(name, plain, form):
    one = {"problem": Quadratics.random(1), "x0": X0, "topology": np.eye(1), "lr": 0.05}
    assert_same(run(name, form=form, **one), run(plain, **one))


def test_adapt_then_combine_tracking_has_the_y_of_the_other_form_while_lr_is_constant():
    """X_new = W (X - lr Y), Y_new = W Y + G_new - G."""
    problem, W = Quadratics.random(), DIRECTED
    path = run("dsgd-gt", problem, topology=W, lr=0.05, form="atc")
    y = problem.gradient(path[0], 0)
    for t in range(len(path) - 1):
        assert_same(path[t + 1], W @ (path[t] - 0.05 * y))
        y = W @ y + problem.gradient(path[t + 1], 0) - problem.gradient(path[t], 0)


# momentum tracking


@pytest.mark.parametrize("form", ["cta", "atc"])
def test_momentum_tracking_without_momentum_is_gradient_tracking(form):
    path = run("dsgd-gt", topology=DIRECTED, lr=0.05, form=form)
    assert_same(run("momentum-tracking", topology=DIRECTED, lr=0.05, form=form, beta=0.0), path)


def test_adapt_then_combine_momentum_tracking_tracks_the_momentum_as_dsgdm_gt_does():
    path = run("dsgdm-gt", topology=DIRECTED, lr=0.05, form="atc")
    assert_same(run("momentum-tracking", topology=DIRECTED, lr=0.05, form="atc"), path)


@pytest.mark.parametrize("form", ["cta", "atc"])
@pytest.mark.parametrize("init", ["zero", "allreduce"])
def test_the_corrections_of_momentum_tracking_sum_to_zero(init, form):
    for state in states("momentum-tracking", topology=DIRECTED, init=init, form=form):
        assert_same(state.c.sum(0).numpy(), np.zeros(5))


def test_the_difference_of_momentum_and_correction_tracks_the_momentum():
    """For y = u_new - c: y_new = W y + u_new - u, from y = u at the start."""
    first, *later = states("momentum-tracking", topology=DIRECTED)
    y, last = first.u.numpy(), first
    for now in later:
        y = DIRECTED @ y + (now.u - last.u).numpy()
        assert_same((now.u - last.c).numpy(), y)
        last = now


def test_an_all_reduced_start_makes_the_first_step_that_of_the_mean_gradient():
    problem, x0 = Quadratics.random(), starts()
    path = trajectory(
        "momentum-tracking",
        problem.gradient,
        x0,
        topology="ring8",
        rounds=1,
        lr=0.1,
        init="allreduce",
    )
    assert_same(path[1], dense("ring8") @ x0 - 0.1 * problem.gradient(x0, 0).mean(0))


# DecentLaM


def test_the_first_step_of_decentlam_is_that_of_dsgd():
    assert_same(run("decentlam", rounds=1), run("dsgd", rounds=1))


# Global update tracking and BEER


@pytest.mark.parametrize(
    ("name", "part", "params"),
    [
        ("dsgd-gt", "m", {}),
        ("gt-hsgd", "y", {}),
        ("gut", "m", {}),
        ("gut", "m", {"mu": 0.4, "lazy": True}),
        ("beer", "v", {}),
        ("beer", "v", {"compressor": "sign"}),
        ("beer", "v", {"compressor": "qsgd", "bits": 2}),
    ],
    ids=str,
)
def test_the_mean_of_what_tracks_is_that_of_the_gradients(name, part, params):
    check_tracks_mean_gradient(name, part, **params)


@pytest.mark.parametrize("name", ["gut", "qg-gutm"])
def test_without_tracking_global_update_tracking_is_dsgd_while_lr_is_constant(name):
    more = {"beta": 0.0} if name == "qg-gutm" else {}
    expected = run("dsgd", topology="ring8", lr=0.05)
    assert_same(run(name, topology="ring8", lr=0.05, mu=0.0, **more), expected)


def test_without_momentum_qg_gutm_is_gut():
    check_is("qg-gutm", "gut", of={"mu": 0.5}, mu=0.5, beta=0.0)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"mu": 1.0}, r"mu must be in \[0, 1\)"),
        ({"mu": 0.2, "beta": 0.8}, "mu must be < 1 - beta, got 0.2 and beta 0.8"),
    ],
)
def test_tracking_too_much_is_refused(params, told):
    with pytest.raises(ConfigError, match=told):
        run("qg-gutm", topology="ring8", **params)


# EXTRA, NIDS and DSMT


def test_what_extra_remembers_of_mixing_sums_to_zero():
    check_sums_to_zero("extra", "c")


def test_extra_follows_the_mean_gradient_also_where_the_step_size_falls():
    problem = Quadratics.random()
    path = run("extra", problem)
    for t in range(len(path) - 1):
        step = falling_lr(t) * problem.gradient(path[t], t).mean(0)
        assert_same(path[t + 1].mean(0), path[t].mean(0) - step)


def test_nids_is_d2_on_half_of_W_from_the_second_round_on():
    """From where its first step led: d2, told that it has come from x0 by a step of its own."""
    problem, x0 = Quadratics.random(), starts()
    W = (dense("ring8") + np.eye(8)) / 2
    path = run("nids", problem, x0, lr=0.05)
    x = [x0, x0 - 0.05 * problem.gradient(x0, 0)]
    for t in range(1, len(path) - 1):
        change = problem.gradient(x[-1], t) - problem.gradient(x[-2], t - 1)
        x.append(W @ (2 * x[-1] - x[-2] - 0.05 * change))
    assert_same(path, np.stack(x))


def test_nids_bears_steps_as_long_as_on_one_machine_and_extra_only_short_ones():
    """Of largest curvature 1.5; W has an eigenvalue -0.6, so that EXTRA bears 0.4 / 1.5."""
    problem, x0 = Quadratics.random(16), starts(16)
    path = run("nids", problem, x0, "torus16", lr=1.3, rounds=600)
    assert_same(path[-1], np.broadcast_to(problem.optimum(), path[-1].shape), 1e-9)
    assert np.abs(run("extra", problem, x0, "torus16", lr=1.3, rounds=60)[-1]).max() > 1e6


def test_beer_computes_two_gradients_a_round_on_one_batch_and_one_in_the_first():
    asked = []

    def gradient(x, round, step):
        asked.append((round, step))
        return Quadratics.random().gradient(x, round)

    trajectory("beer", gradient, starts(), topology="ring8", rounds=3, lr=0.05)
    assert asked == [(0, 0), (1, 0), (1, 0), (2, 0), (2, 0)]


# GT-HSGD


def test_noise_of_hybrid_gradients_is_its_exponential_mean_where_models_stand_still():
    """With lr = 0 all stay at their common start, and y is the mean of what each estimates."""
    problem, beta = Quadratics.random(), 0.3
    noise = np.random.default_rng(5).standard_normal((ROUNDS := 9, *starts().shape))

    def gradient(x, round):
        return problem.gradient(x, round) + noise[round]

    (block,) = at_start("gt-hsgd", gradient, X0, topology="ring8", lr=0.0, beta=beta)
    wrong, expected = noise[0], problem.gradient(starts() * 0 + X0, 0)
    for done in range(1, ROUNDS + 1):
        assert list(block.rounds(done)) == []
        if done > 1:
            wrong = beta * noise[done - 1] + (1 - beta) * wrong
        assert_same(block.state.v.numpy(), expected + wrong)
        assert_same(block.state.y.numpy().mean(0), (expected + wrong).mean(0))
        assert_same(block.x.numpy(), np.broadcast_to(X0, starts().shape))


@pytest.mark.parametrize("beta", [0.05, 0.5, 1.0])
def test_hybrid_tracking_without_noise_is_the_same_for_every_share(beta):
    assert_same(run("gt-hsgd", topology="ring8", beta=beta), run("gt-hsgd", topology="ring8"))


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"beta must be in \(0, 1\]"):
        run("gt-hsgd", topology="ring8", beta=0.0)
