"""Rules of gossip against plain loops over the clients, and against what follows from definitions.

Sources: He, Karimireddy, Jaggi, arXiv:2202.01545; Yin et al., ICML 2018; Blanchard et al., NeurIPS
2017; Wu, Chen, Ling, IEEE TSP 2023; Fang et al., CCS 2024.
"""

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch

import p2pqg
from p2pqg.algorithms import ALGORITHMS, gossip
from p2pqg.algorithms.gossip_rules import GOSSIP_RULES, find_rule
from p2pqg.base.errors import AlgorithmError, ConfigError
from p2pqg.engine import inbox_groups, robust, trimming, weighing
from p2pqg.engine.middle import mean_of_the_middle
from p2pqg.engine.mixer import Arrivals
from p2pqg.engine.robust import RuleMixer
from p2pqg.engine.routes import RowRoutes
from p2pqg.testing import Quadratics, assert_same, check_rule_is_gossip, dense
from p2pqg.topology import Mixing, build

NETWORK, ROUNDS, PARAMS = "social32", 5, 6
PROBLEM = Quadratics.random(32, PARAMS, seed=3)
X0 = np.random.default_rng(0).standard_normal((32, PARAMS))
W = dense(NETWORK)


def path(rule=None, topology=NETWORK, algorithm="dsgd", rounds=ROUNDS, x0=X0, **more):
    return p2pqg.trajectory(
        algorithm,
        PROBLEM.gradient,
        x0,
        topology=topology,
        rounds=rounds,
        lr=0.1,
        rule=rule,
        **more,
    )


# One client's part, written down plainly: own, inbox, weights, share of the run -> new own.


def clipped(own, inbox, w, over, tau="adaptive", f=1):
    d = np.array([np.linalg.norm(m - own) for m in inbox])
    if tau == "adaptive":
        order = np.argsort(d)
        near, far = order[: len(d) - f], order[len(d) - f :]
        tau = math.sqrt(sum(w[j] * d[j] ** 2 for j in near) / sum(w[j] for j in far))
    elif tau == "second":
        tau = sorted(d)[-2] if len(d) > 1 else d[0]
    return own + sum(
        wj * (m - own) * min(1, tau / dj) for wj, m, dj in zip(w, inbox, d, strict=True)
    )


def trimmed_mean(own, inbox, w, over, f=1):
    values = np.sort(np.vstack([own, inbox]), axis=0)
    return values[f : len(values) - f].mean(0)


def median(own, inbox, w, over):
    return np.median(np.vstack([own, inbox]), axis=0)


def krum(own, inbox, w, over, f=0):
    models = [own, *inbox]
    scores = []
    for a in models:
        squares = sorted(np.sum((a - b) ** 2) for b in models if b is not a)
        scores.append(sum(squares[: max(1, len(models) - f - 2)]))
    return models[int(np.argmin(scores))]


def ios(own, inbox, w, over, f=1):
    left = list(range(len(inbox)))
    own_weight = 1 - sum(w)

    def mean():
        total = own_weight + sum(w[j] for j in left)
        return (own_weight * own + sum(w[j] * inbox[j] for j in left)) / total

    for _ in range(f):
        center = mean()
        left.remove(max(left, key=lambda j: np.linalg.norm(inbox[j] - center)))
    return mean()


def balance(own, inbox, w, over, gamma=0.3, kappa=1.0, alpha=0.5):
    limit = gamma * math.exp(-kappa * over) * np.linalg.norm(own)
    near = [m for m in inbox if np.linalg.norm(m - own) <= limit]
    return alpha * own + (1 - alpha) * np.mean(near, axis=0) if near else own


def looped(rule, topology=NETWORK, rounds=ROUNDS, x0=X0, **params):
    """DSGD whose gossip is that rule, one client after the other."""
    x, found = x0, [x0]
    for t in range(rounds):
        half, W = x - 0.1 * PROBLEM.gradient(x, t), dense(topology, t)
        new = []
        for i, row in enumerate(W):
            heard = [j for j in np.flatnonzero(row) if j != i]
            inbox = half[heard]
            new.append(rule(half[i], inbox, row[heard], t / rounds, **params) if heard else half[i])
        x = np.array(new)
        found.append(x)
    return np.array(found)


CASES = [
    ("clipped", clipped, {}),
    ("clipped", clipped, {"tau": 0.7}),
    ("clipped", clipped, {"tau": "second"}),
    ("trimmed-mean", trimmed_mean, {}),
    ("median", median, {}),
    ("krum", krum, {"f": 0}),
    ("ios", ios, {}),
    ("balance", balance, {"gamma": 1.2}),
]
DENSER = [
    ("clipped", clipped, {"f": 3}),
    ("trimmed-mean", trimmed_mean, {"f": 3}),
    ("krum", krum, {"f": 2}),
    ("ios", ios, {"f": 3}),
]


def name_of(value):
    if isinstance(value, dict):
        return "-".join(str(v) for v in value.values()) or "default"
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize("blocks", [None, [5, 27], [1] * 32], ids=["one", "two", "all"])
@pytest.mark.parametrize(("name", "rule", "params"), CASES, ids=name_of)
def test_a_rule_is_the_loop_over_the_clients(name, rule, params, blocks):
    found = path({"name": name, **params}, blocks=blocks)
    assert_same(found, looped(rule, **params))
    assert np.abs(found - path()).max() > 1e-3


@pytest.mark.parametrize(("name", "rule", "params"), DENSER, ids=name_of)
def test_it_reckons_with_several_liars_where_there_are_neighbors_enough(name, rule, params):
    found = path({"name": name, **params}, topology="erdos-renyi32:p=0.6,seed=1")
    assert_same(found, looped(rule, "erdos-renyi32:p=0.6,seed=1", **params))


@pytest.mark.parametrize(("name", "rule", "params"), CASES[:3] + CASES[6:], ids=name_of)
def test_many_clients_are_weighed_by_the_cacheful_to_the_same_numbers(
    name, rule, params, monkeypatch
):
    monkeypatch.setattr(weighing, "DENSE_UP_TO", 0)
    monkeypatch.setattr(inbox_groups, "PADDED_UP_TO", 0)
    monkeypatch.setattr(inbox_groups, "CACHED", 600)
    monkeypatch.setattr(robust, "CALLED_ON", 32 * 600)
    assert_same(path({"name": name, **params}), looped(rule, **params))


@pytest.mark.parametrize(("name", "rule", "params"), [CASES[0], CASES[4], CASES[7]], ids=name_of)
@pytest.mark.parametrize("topology", ["onepeer-exponential32", "base32:k=3"])
def test_on_a_changing_network_a_rule_takes_the_inbox_of_the_round(topology, name, rule, params):
    more = {"tau": "second"} if name == "clipped" else params
    assert_same(path({"name": name, **more}, topology=topology), looped(rule, topology, **more))


# What follows from the definitions


@pytest.mark.parametrize("algorithm", ["dsgd", "dsgdm-n", "qg-dsgdm-n", "dsgd-gt"])
def test_without_a_limit_clipping_is_plain_gossip(algorithm):
    rule = {"name": "clipped", "tau": math.inf}
    assert_same(path(rule, algorithm=algorithm), path(algorithm=algorithm))
    check_rule_is_gossip(rule, algorithm)


def test_a_mean_that_trims_nothing_is_that_with_uniform_weights():
    check_rule_is_gossip({"name": "trimmed-mean", "f": 0}, uniform=True)
    uniform = (W > 0) / (W > 0).sum(1, keepdims=True)
    found = path({"name": "trimmed-mean", "f": 0})
    assert_same(found, path(topology=uniform))


def test_an_outlier_scissor_that_never_cuts_is_plain_gossip():
    assert_same(path({"name": "ios", "f": 0}), path())


def test_balance_that_trusts_nobody_leaves_everybody_alone():
    alone = path(topology=np.eye(32))
    assert_same(path({"name": "balance", "gamma": 1e-9}), alone)
    assert_same(path({"name": "balance", "gamma": 1e9, "alpha": 1.0}), alone)


def test_the_limit_of_balance_falls_by_exp_kappa_until_the_end_of_the_run():
    early = {"name": "balance", "gamma": 1.2, "kappa": 0.0}
    assert_same(path(early)[1], path({**early, "kappa": 5.0})[1])  # nothing is over yet
    late = path({**early, "kappa": 5.0})
    assert np.abs(path(early)[-1] - late[-1]).max() > 1e-3
    assert_same(late, looped(balance, gamma=1.2, kappa=5.0))


FAR = 1e12


@pytest.mark.parametrize("told", [FAR, -FAR, math.inf, math.nan], ids=str)
@pytest.mark.parametrize("name", ["clipped", "trimmed-mean", "median", "krum", "ios", "balance"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_one_impossible_message_costs_nobody_else_any_digits(name, told, dtype):
    """The others come to where they would be if the liar had sent something merely far away."""
    seen = []
    for value in (told, 1e4 * math.copysign(1, told)):
        x = torch.from_numpy(X0[:8]).to(dtype)
        x[7] = value
        rows = of_others(find_rule(name), x)
        assert rows.isfinite().all()
        seen.append(rows)
    # A far message is clipped to tau: its direction stays, where it has one.
    rounding = 1e-4 if dtype == torch.float32 else 1e-9
    # The scissor cuts f messages off, whatever has gone before.
    if name != "clipped" and (name != "ios" or math.isfinite(told)):
        torch.testing.assert_close(*seen, rtol=0, atol=rounding)


@pytest.mark.parametrize("told", [math.inf, math.nan], ids=str)
@pytest.mark.parametrize(("name", "rule"), [("krum", krum), ("ios", ios)])
def test_a_message_that_is_not_finite_is_as_if_it_were_not_there(name, rule, told):
    x = torch.from_numpy(X0[:8].copy())
    x[7] = told
    found = of_others(find_rule({"name": name, "f": 1}), x)
    for i, row in enumerate(found.numpy()):
        inbox = np.delete(X0[:7], i, axis=0)
        np.testing.assert_allclose(row, rule(X0[i], inbox, np.full(6, 1 / 8), 0.0, f=1), atol=1e-9)


@pytest.mark.parametrize("told", [1e3, 1e4, 1e6, 1e12, 1e20, -3e38, math.inf, math.nan], ids=str)
@pytest.mark.parametrize(
    ("name", "rule", "params"),
    [
        ("clipped", clipped, {"tau": 0.7}),
        ("clipped", clipped, {"tau": "second"}),
        ("krum", krum, {"f": 1}),
        ("ios", ios, {"f": 1}),
        ("balance", balance, {"gamma": 1.2}),
    ],
    ids=name_of,
)
def test_a_client_that_leaves_all_others_far_behind_costs_those_beside_it_no_digits(
    name, rule, params, told
):
    """The first of a block, from which the others are measured; what is not finite is not there."""
    x = np.random.default_rng(4).standard_normal((8, 20))
    x[0] = told
    routes = RowRoutes.cut(build("complete8").mixing(0), (0, 8))
    rows = torch.from_numpy(x).float()
    found = RuleMixer(Arrivals.of(routes, 0), find_rule({"name": name, **params}), rows)(rows, 0.0)
    for i in range(1, 8):
        inbox = np.delete(x, [i] if math.isfinite(told) else [0, i], axis=0)
        wanted = rule(x[i], inbox, np.full(len(inbox), 1 / 8), 0.0, **params)
        # A difference of such rows has no more digits than the longer one.
        np.testing.assert_allclose(found[i], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("rule", "params"), [(clipped, {}), (clipped, {"f": 3}), (balance, {"gamma": 0.5})], ids=name_of
)
def test_where_squares_are_beyond_float32_who_is_far_is_weighed_all_the_same(rule, params):
    """Several of them: none may pass since infinity is no more than infinity."""
    x = np.random.default_rng(4).standard_normal((8, 20))
    x[:3] *= [[1e19], [1e25], [1e38]]
    routes = RowRoutes.cut(build("complete8").mixing(0), (0, 8))
    rows = torch.from_numpy(x).float()
    given = find_rule({"name": rule.__name__, **params})
    found = RuleMixer(Arrivals.of(routes, 0), given, rows)(rows, 0.0)
    for i, row in enumerate(found):
        wanted = rule(x[i], np.delete(x, i, axis=0), np.full(7, 1 / 8), 0.0, **params)
        size = np.abs(wanted).max()
        np.testing.assert_allclose(row / size, wanted / size, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "rule", "params"),
    [
        ("clipped", clipped, {"tau": 0.7}),
        ("krum", krum, {"f": 0}),
        ("ios", ios, {"f": 1}),
        ("balance", balance, {"gamma": 1e-5}),
    ],
    ids=name_of,
)
def test_of_two_groups_far_apart_neither_is_measured_from_the_other(name, rule, params):
    x = np.random.default_rng(4).standard_normal((10, 20)).astype(np.float32)
    x[5:] += 1e5
    both = torch.block_diag(torch.full((5, 5), 0.2), torch.full((5, 5), 0.2)).double().numpy()
    routes = RowRoutes.cut(Mixing.from_dense(both), (0, 10))
    rows = torch.from_numpy(x)
    found = RuleMixer(Arrivals.of(routes, 0), find_rule({"name": name, **params}), rows)(rows, 0.0)
    for i in range(10):
        inbox = [j for j in range(10) if j != i and i // 5 == j // 5]
        own, heard = x[i].astype(float), x[inbox].astype(float)
        wanted = rule(own, heard, np.full(4, 0.2), 0.0, **params)
        np.testing.assert_allclose(found[i], wanted, rtol=0, atol=1e-4 if i < 5 else 0.02)


@pytest.mark.parametrize("told", [math.inf, math.nan], ids=str)
@pytest.mark.parametrize("name", ["clipped", "krum", "ios", "balance"])
@pytest.mark.parametrize("topology", ["complete8", "ring8"])
def test_who_has_no_finite_model_is_not_given_another_one_in_silence(topology, name, told):
    """With balance it would have gone on from zeros."""
    x = torch.from_numpy(X0[:8].copy())
    x[3, 0] = told
    routes = RowRoutes.cut(build(topology).mixing(0), (0, 8))
    rule = find_rule({"name": name} | ({"f": 0} if name in ("krum", "ios") else {}))
    found = RuleMixer(Arrivals.of(routes, 0), rule, x)(x, 0.0).isfinite().all(1)
    assert found.tolist() == [i != 3 for i in range(8)]


def test_who_gives_itself_no_weight_and_cuts_off_all_it_heard_keeps_its_own_model():
    """As where messages are lost: the weights that are left sum to 0."""
    x = torch.from_numpy(X0[:3].copy())
    routes = RowRoutes.cut(build(np.roll(np.eye(3), 1, axis=1)).mixing(0), (0, 3))
    found = RuleMixer(Arrivals.of(routes, 0), find_rule({"name": "ios", "f": 1}), x)(x, 0.0)
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("width", [6, 5000])
@pytest.mark.parametrize("topology", ["social32", "onepeer-exponential32"])
@pytest.mark.parametrize("name", ["clipped", "trimmed-mean", "median", "balance"])
def test_rows_may_lie_in_memory_as_they_like(name, topology, width, monkeypatch):
    """As those of a product that an algorithm has transposed."""
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((32, width)))
    across = x.T.contiguous().T
    routes = RowRoutes.cut(build(topology).mixing(0), (0, 32))
    rule = find_rule({"name": name} | ({"f": 0} if name == "trimmed-mean" else {}))
    for way in (trimming.compiled, lambda: None):
        monkeypatch.setattr(trimming, "compiled", way)
        mixer = RuleMixer(Arrivals.of(routes, 0), rule, x)
        torch.testing.assert_close(mixer(across, 0.0), mixer(x, 0.0), rtol=0, atol=1e-12)


def of_others(rule, x):
    """What all but the last of some clients that all hear each other come to."""
    n = len(x)
    routes = RowRoutes.cut(build(f"complete{n}").mixing(0), (0, n - 1, n))
    return RuleMixer(Arrivals.of(routes, 0), rule, x)(x, 0.0)


@pytest.mark.parametrize("n", [*range(1, 17), 40, 257])
def test_the_middle_of_some_values_is_what_sorting_leaves(n):
    values = torch.from_numpy(np.random.default_rng(n).standard_normal((n, 3, 4)))
    for left_out in range((n - 1) // 2 + 1):
        expected = values.sort(0).values[left_out : n - left_out].mean(0)
        torch.testing.assert_close(mean_of_the_middle(values.clone(), left_out), expected)


# A user's own


def test_a_function_of_ones_own_is_applied_to_every_client():
    def nearest(own, inbox, weights):
        squares = (inbox - own).square().sum(1)
        return (own + inbox[squares.argmin()]) / 2

    def plainly(own, inbox, w, over):
        return (own + inbox[np.argmin(np.sum((inbox - own) ** 2, axis=1))]) / 2

    assert_same(path(nearest), looped(plainly))
    assert_same(path(nearest, blocks=[5, 27]), looped(plainly))


def test_a_function_that_looks_at_values_is_applied_one_client_after_the_other():
    def choosy(own, inbox, weights):
        return own if (inbox[0] - own).norm() > 1 else inbox[0]

    def plainly(own, inbox, w, over):
        return own if np.linalg.norm(inbox[0] - own) > 1 else inbox[0]

    assert_same(path(choosy), looped(plainly))


def test_the_sum_as_a_function_is_plain_gossip(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def plain(own, inbox, weights):\n    return own + weights @ (inbox - own)\n"
    )
    assert_same(path(f"{tmp_path}/mine.py:plain"), path())


def test_a_mistake_in_a_function_of_ones_own_is_told_with_its_line():
    def wrong(own, inbox, weights):
        return own + inbox[len(weights)]

    with pytest.raises(AlgorithmError, match=r"test_rules.py line \d+, in wrong"):
        path(wrong)
    with pytest.raises(AlgorithmError, match=r"rule <lambda> must return \[params\]"):
        path(lambda own, inbox, weights: inbox)


def test_a_function_of_ones_own_that_draws_is_told():
    def picks(own, inbox, weights):
        return own + 0 * random.random()

    before = random.getstate()
    try:
        with pytest.raises(
            AlgorithmError, match="rule picks: draws from Python's random, which ea"
        ):
            path(picks)
    finally:
        random.setstate(before)


def rare(first):
    """An algorithm that gossips once, in a round."""

    class Rare(NamedTuple):
        x: torch.Tensor
        rounds: int

    @dataclass(frozen=True, kw_only=True)
    class Params:
        lr: float

    @p2pqg.algorithm("rare", params=Params, start=lambda x0: Rare(x0, 0))
    def method(s, grad, p):
        x = s.x - p.lr * grad(s.x)
        if s.rounds == first:
            x = yield gossip(x)
        return Rare(x, s.rounds + 1)

    return ALGORITHMS["rare"]


def test_a_method_that_is_silent_for_long_has_a_rule_all_the_same():
    start = np.arange(4.0)[:, None] * np.ones((4, PARAMS))
    for rule in (None, "median"):
        runs = p2pqg.trajectory(
            rare(150), lambda x, _: 0 * x, start, topology="ring4", rounds=151, lr=0.1, rule=rule
        )
        assert np.array_equal(runs[150], start)
        assert not np.array_equal(runs[151], start)
    with pytest.raises(ConfigError, match="does not gossip in its first 2,000 rounds"):
        p2pqg.trajectory(
            rare(-1), lambda x, _: 0 * x, start, topology="ring4", rounds=1, lr=0.1, rule="median"
        )


# Refused


@pytest.mark.parametrize(
    ("rule", "settings", "told"),
    [
        ("clip", {}, "unknown rule 'clip'; did you mean clipped"),
        (lambda own, heard: own, {}, r"<lambda> must take \(own, inbox, weights\), got \(own, he"),
        ({"name": "clipped", "tau": 0}, {}, "rule.tau must be > 0, adaptive or second, got 0"),
        ({"name": "clipped", "radius": 1}, {}, "unknown key rule.radius"),
        ({"name": "balance", "alpha": 2}, {}, r"rule.alpha must be in \[0, 1\]"),
        ({"name": "trimmed-mean", "f": -1}, {}, "rule.f must be >= 0"),
        ({"f": 1}, {}, "rule must have a name, such as clipped"),
        (
            {"name": "trimmed-mean", "f": 2},
            {},
            "rule trimmed-mean reckons with more liars than 'social32' can bear: it needs 4 "
            r"neighbors, client \w.* has 2",
        ),
        ("krum", {"topology": "ring32"}, "it needs 4 neighbors, client 0 has 2"),
        ("clipped", {"topology": "onepeer-exponential32"}, "needs 2 neighbors"),
        ("median", {"algorithm": "sgp"}, "rule does not go with sgp, which is push-sum"),
        ("median", {"algorithm": "choco-sgd"}, "which sends what neighbors remember"),
        ("median", {"algorithm": "sgdm"}, "which does not gossip"),
        ("median", {"algorithm": "ngc"}, "which sends every neighbor a message of its own"),
    ],
)
def test_what_a_rule_cannot_do_is_refused_with_the_reason(rule, settings, told):
    with pytest.raises(ConfigError, match=told):
        path(rule, **settings)


def test_every_rule_has_a_loop_to_be_compared_with():
    assert {name for name, *_ in CASES} == set(GOSSIP_RULES)
