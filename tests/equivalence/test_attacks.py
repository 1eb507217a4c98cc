"""Liars: against plain loops over who tells whom what, and against what follows by definition.

An attack changes what a liar sends; it computes, receives and mixes its own row as any other.
"""

import math

import numpy as np
import pytest
import torch

import p2pqg
from p2pqg.algorithms.attacks import ATTACKS
from p2pqg.base.errors import AlgorithmError, ConfigError
from p2pqg.base.seeding import rng
from p2pqg.testing import Quadratics, assert_same, dense

NETWORK, N, ROUNDS = "social32", 32, 4
PROBLEM = Quadratics.random(N, 6, seed=3)
X0 = np.random.default_rng(0).standard_normal((N, 6))
LIARS = (3, 20, 21)
W = dense(NETWORK)
HOSTING = [None, [5, 27], [1] * N]


def path(how, algorithm="dsgd", who=LIARS, topology=NETWORK, rounds=ROUNDS, when=0, **more):
    return p2pqg.trajectory(
        algorithm,
        PROBLEM.gradient,
        X0,
        topology=topology,
        rounds=rounds,
        lr=0.1,
        attacks=[{"who": list(who), "how": how, "when": when}] if how else (),
        **more,
    )


# What liar k tells receiver i in round t, written down plainly.


def sign_flip(i, k, half, x, t):
    return -half[k]


def scale(i, k, half, x, t, factor=10.0):
    return factor * half[k]


def noise(i, k, half, x, t, sigma=1.0):
    exchanges = t + 1  # DSGD makes one a round
    return half[k] + sigma * rng(0, "attack", k, t, exchanges, 0).standard_normal(6)


def free_rider(i, k, half, x, t):
    return x[k]


def seen_by(i, half):
    good = [j for j in np.flatnonzero(W[i]) if j not in LIARS and j != i]
    return np.array([half[i], *half[good]]), good


def alie(i, k, half, x, t, z=1.5):
    rows, good = seen_by(i, half)
    return rows.mean(0) - z * (rows.std(0, ddof=1) if good else 0)


def ipm(i, k, half, x, t, epsilon=0.1):
    return -epsilon * seen_by(i, half)[0].mean(0)


def dissensus(i, k, half, x, t, epsilon=1.5):
    _, good = seen_by(i, half)
    bad = sum(W[i, j] for j in LIARS if j != i)
    return half[i] - epsilon * sum(W[i, j] * (half[j] - half[i]) for j in good) / bad


def looped(tells, when=range(ROUNDS), **params):
    """DSGD, one receiver after the other."""
    x, found = X0, [X0]
    for t in range(ROUNDS):
        half, new = x - 0.1 * PROBLEM.gradient(x, t), []
        for i in range(N):
            row = W[i, i] * half[i]
            for j in np.flatnonzero(W[i]):
                if j != i:
                    lies = j in LIARS and t in when
                    row = row + W[i, j] * (tells(i, j, half, x, t, **params) if lies else half[j])
            new.append(row)
        x = np.array(new)
        found.append(x)
    return np.array(found)


CASES = [
    ("sign-flip", sign_flip, {}),
    ("scale", scale, {"factor": 3.0}),
    ("noise", noise, {"sigma": 0.5}),
    ("free-rider", free_rider, {}),
    ("alie", alie, {"z": 2.0}),
    ("ipm", ipm, {}),
    ("dissensus", dissensus, {"epsilon": 0.7}),
]


@pytest.mark.parametrize("blocks", HOSTING, ids=["one", "two", "all"])
@pytest.mark.parametrize(("name", "tells", "params"), CASES, ids=lambda v: str(v)[:12])
def test_an_attack_is_the_loop_over_who_tells_whom_what(name, tells, params, blocks):
    found = path({"name": name, **params}, blocks=blocks)
    assert_same(found, looped(tells, **params))
    assert np.abs(found - path(None)).max() > 1e-2


def test_an_attack_lasts_from_one_round_to_another_both_included():
    assert_same(path("sign-flip", when=[1, 2]), looped(sign_flip, when=(1, 2)))
    assert_same(path("sign-flip", when=2), looped(sign_flip, when=(2, 3)))


def test_a_rule_sees_what_is_told_and_every_liar_trusts_its_own_row():
    """With a rule that nobody passes, all rows are their own, the liars' too."""
    alone = path(None, topology=np.eye(N))
    nobody = {"name": "balance", "gamma": 1e-12}
    assert_same(path("sign-flip", rule=nobody), alone)


@pytest.mark.parametrize("how", ["sign-flip", "alie", "dissensus"])
@pytest.mark.parametrize("blocks", HOSTING, ids=["one", "two", "all"])
def test_a_median_of_lies_is_that_of_the_loop(how, blocks):
    tells = {name: function for name, function, _ in CASES}[how]
    half = X0 - 0.1 * PROBLEM.gradient(X0, 0)
    expected = []
    for i in range(N):
        heard = [j for j in np.flatnonzero(W[i]) if j != i]
        told = [tells(i, j, half, X0, 0) if j in LIARS else half[j] for j in heard]
        expected.append(np.median([half[i], *told], axis=0))
    assert_same(path(how, rule="median", rounds=1, blocks=blocks)[1], np.array(expected))


def test_dissensus_undoes_what_gossip_with_honest_neighbors_does():
    """With epsilon = 1 whoever hears a liar stays where its own step took it."""
    found = path({"name": "dissensus", "epsilon": 1.0}, rounds=1)
    half = X0 - 0.1 * PROBLEM.gradient(X0, 0)
    hears = [i for i in range(N) if any(W[i, k] for k in LIARS if k != i)]
    assert hears
    assert_same(found[1][hears], half[hears])


def test_everything_that_is_as_wide_as_the_model_is_lied_about_and_nothing_else():
    """A tracked gradient is; a push-sum weight is not, and of one that flipped nothing is seen."""
    tracking = path("sign-flip", algorithm="dsgd-gt", rounds=1)[1]
    told = np.where(np.isin(np.arange(N), LIARS)[:, None], -X0, X0)
    g = PROBLEM.gradient(X0, 0)
    assert_same(tracking, W @ told + np.diag(W)[:, None] * (X0 - told) - 0.1 * g)
    pushed = path("sign-flip", algorithm="sgp", beta=0.0)
    assert_same(pushed, path("sign-flip"))  # here the weights stay 1


def test_a_free_rider_hides_its_step_and_not_what_it_tracks():
    found = path("free-rider", algorithm="momentum-tracking", form="atc", rounds=1)[1]
    half = X0 - 0.1 * PROBLEM.gradient(X0, 0)
    told = np.where(np.isin(np.arange(N), LIARS)[:, None], X0, half)
    assert_same(found, W @ told + np.diag(W)[:, None] * (half - told))


def test_a_free_rider_sends_no_model_where_gradients_are_mixed():
    """dsgdm-sync mixes gradients first: the free rider's is honest, its model is the old one."""
    W, x = dense("ring5"), X0[:5]
    problem = Quadratics.random(5, 6, seed=3)
    expected = [x]
    for t in range(ROUNDS):
        g = W @ problem.gradient(x, t)
        half = x - 0.1 * g
        sent = np.where(np.arange(5)[:, None] == 1, x, half)
        x = W @ sent + np.diag(W)[:, None] * (half - sent)
        expected.append(x)
    how = [{"who": [1], "how": "free-rider"}]
    settings = {"what": "gradient", "beta": 0.0, "attacks": how, "topology": "ring5", "lr": 0.1}
    reached = p2pqg.trajectory("dsgdm-sync", problem.gradient, X0[:5], rounds=ROUNDS, **settings)
    np.testing.assert_allclose(reached, expected, rtol=0, atol=1e-12)


def test_in_an_all_reduce_a_liar_lies_too():
    found = path("sign-flip", algorithm="sgd", rounds=1)[1]
    g = PROBLEM.gradient(X0, 0)
    g[list(LIARS)] *= -1
    assert_same(found, X0 - 0.1 * g.mean(0))


def test_lies_in_messages_of_ones_own_are_lies_to_each_neighbor():
    params = {"algorithm": "relay-sgd", "topology": "chain32", "rounds": 1, "beta": 0.0}
    found = path("sign-flip", who=(5,), fill="own", **params)[1]
    half = X0 - 0.1 * PROBLEM.gradient(X0, 0)
    told = half.copy()
    told[5] = -half[5]
    expected = [
        (half[i] * (N - len(near)) + told[near].sum(0)) / N
        for i in range(N)
        for near in [[j for j in (i - 1, i + 1) if 0 <= j < N]]
    ]
    assert_same(found, np.array(expected))


@pytest.mark.parametrize("name", ["sign-flip", "scale", "noise"])
def test_lies_go_through_consensus_control(name):
    """Every exchange of a round is lied in."""
    twice = {"targets": [1e-30], "max_exchanges": 2}
    found = path(name, rounds=1, consensus=twice)[1]
    assert np.abs(found - path(None, rounds=1, consensus=twice)[1]).max() > 1e-2
    if name == "sign-flip":
        x = X0 - 0.1 * PROBLEM.gradient(X0, 0)
        for _ in range(2):
            told = x.copy()
            told[list(LIARS)] *= -1
            x = W @ told + np.diag(W)[:, None] * (x - told)
        assert_same(found, x)


# A user's own


@pytest.mark.parametrize("blocks", HOSTING, ids=["one", "two", "all"])
@pytest.mark.parametrize("form", ["one for all", "one each", "one for each pair"])
def test_a_function_of_ones_own_says_what_liars_tell(form, blocks):
    def lie(honest, W, round, liars):
        assert W.shape == (N, N)
        mean = honest.mean(0) + round
        if form == "one for all":
            return mean
        each = mean - honest[liars]
        return each if form == "one each" else each[:, None] + honest[None]

    def tells(i, k, half, x, t):
        mean = half.mean(0) + t
        if form == "one for all":
            return mean
        return mean - half[k] + (half[i] if form == "one for each pair" else 0)

    assert_same(path(lie, blocks=blocks), looped(tells))


@pytest.mark.parametrize("blocks", HOSTING, ids=["one", "two", "all"])
def test_several_attacks_go_on_side_by_side(blocks):
    """One of each kind, in an order that mixes what liars and receivers' blocks make."""

    def own(honest, W, round):
        return honest.mean(0)

    how = {3: own, 20: "ipm", 21: "sign-flip"}
    found = p2pqg.trajectory(
        "dsgd",
        PROBLEM.gradient,
        X0,
        topology=NETWORK,
        rounds=ROUNDS,
        lr=0.1,
        blocks=blocks,
        attacks=[{"who": [who], "how": how} for who, how in how.items()],
    )
    tells = {3: lambda i, k, half, x, t: half.mean(0), 20: ipm, 21: sign_flip}
    assert_same(found, looped(lambda i, k, half, x, t: tells[k](i, k, half, x, t)))


def test_a_function_may_leave_out_who_lies(tmp_path):
    (tmp_path / "mine.py").write_text("def big(honest, W, round):\n    return 5 + honest[0]\n")

    def tells(i, k, half, x, t):
        return 5 + half[0]

    assert_same(path(f"{tmp_path}/mine.py:big"), looped(tells))


def test_what_a_function_draws_is_the_same_in_every_block_and_another_in_every_round():
    def noise(honest, W, round):
        return honest.mean(0) + torch.randn(honest.shape[1], dtype=honest.dtype)

    one = path(noise)
    for blocks in HOSTING[1:]:
        assert_same(path(noise, blocks=blocks), one)
    assert_same(path(noise), one)  # again
    plain = path(lambda honest, W, round: honest.mean(0))
    apart = np.abs(one - plain).max((1, 2))
    assert apart[0] == 0
    assert len(set(apart.round(9).tolist())) == len(apart)


def test_mistakes_of_a_function_are_told():
    with pytest.raises(AlgorithmError, match=r"must return rows .* \[6\] or \[3, 6\].*got \[2\]"):
        path(lambda honest, W, round: honest[0, :2])

    def wrong(honest, W, round):
        return honest[999]

    with pytest.raises(AlgorithmError, match=r"test_attacks.py line \d+, in wrong: IndexError"):
        path(wrong)


# Defences do what they are for


@pytest.mark.parametrize("rule", ["clipped", "median", "trimmed-mean", "balance"])
def test_with_a_rule_one_shouting_liar_moves_the_honest_little(rule):
    """A liar that sends a million times its row: plain gossip is lost, rules are not."""
    settings = {"topology": "torus32", "who": (5,), "rounds": 30}
    honest = [i for i in range(N) if i != 5]
    calm = path(None, topology="torus32", rounds=30)[-1][honest]
    shouted = path({"name": "scale", "factor": 1e6}, rule=rule, **settings)[-1][honest]
    assert np.abs(shouted).max() < 5 * np.abs(calm).max()
    assert np.abs(path({"name": "scale", "factor": 1e6}, **settings)[-1]).max() > 1e4


# Refused


@pytest.mark.parametrize(
    ("attacks", "settings", "told"),
    [
        ([{"who": [99], "how": "sign-flip"}], {}, r"attacks\[0\].who: no client is called 99"),
        ([{"who": [1], "how": "flip"}], {}, r"attacks\[0\].how: unknown attack 'flip'"),
        (
            [{"who": [1], "how": lambda x: x}],
            {},
            r"attack <lambda> must take \(honest, W, round\), got \(x\)",
        ),
        ([{"who": [1], "how": {"name": "noise", "sigma": -1}}], {}, "sigma must be > 0, got -1"),
        ([{"who": [1], "how": {"name": "noise", "tau": 1}}], {}, "unknown key attack noise: tau"),
        ([{"who": [1]}], {}, r"attacks\[0\] must say who lies and how"),
        ([{"who": [1], "how": "noise", "where": 2}], {}, r"unknown key attacks\[0\].where"),
        ([{"who": [1], "how": "noise", "when": [5, 2]}], {}, r"when must be a round >= 0, or"),
        ("sign-flip", {}, "attacks must be a list of items such as"),
        ([{"who": {"share": 2}, "how": "noise"}], {}, r"share must be in \(0, 1\), got 2"),
        ([{"who": {"count": 32}, "how": "noise"}], {}, r"count must be in 1 .. 31, got 32"),
        ([{"who": {"count": math.nan}, "how": "noise"}], {}, r"count must be in 1 .. 31, got nan"),
        ([{"who": {"count": "all"}, "how": "noise"}], {}, r"count must be in 1 .. 31, got 'all'"),
        ([{"who": {"count": math.inf}, "how": "noise"}], {}, r"count must be in 1 .. 31, got inf"),
        ([{"who": list(range(32)), "how": "noise"}], {}, "nobody would be honest"),
        (
            [{"who": [1], "how": "noise"}, {"who": [1, 2], "how": "scale", "when": 3}],
            {},
            r"attacks\[1\]: client .* lies already \(noise\)",
        ),
        ([{"who": [1], "how": "label-flip"}], {}, "label-flip needs data"),
        (
            [{"who": [1], "how": "alie"}],
            {"algorithm": "sgdm"},
            "attack alie does not go with sgdm, which all-reduces; take one of sign-flip, noise",
        ),
        (
            [{"who": [1], "how": "dissensus"}],
            {"algorithm": "choco-sgd"},
            "sends what neighbors rem",
        ),
        ([{"who": [1], "how": "free-rider"}], {"algorithm": "sgp"}, "sends a scaled model"),
        ([{"who": [1], "how": "alie"}], {"algorithm": "ngc"}, "sends every neighbor a message of"),
        (
            [{"who": [1], "how": "free-rider"}],
            {"algorithm": "dsgd-gt", "form": "cta"},
            "sends models as they are before the steps of a round",
        ),
        (
            [{"who": [3, 20, 21, 22], "how": "noise"}],
            {"rule": "trimmed-mean"},
            "rule trimmed-mean reckons with f = 1 liars among anybody's neighbors, client .* has "
            r"\d .*: more than it can bear",
        ),
    ],
)
def test_attacks_that_cannot_be_are_refused_with_the_reason(attacks, settings, told):
    given = {"algorithm": "dsgd", **settings}
    with pytest.raises(ConfigError, match=told):
        p2pqg.trajectory(
            given.pop("algorithm"),
            PROBLEM.gradient,
            X0,
            topology=NETWORK,
            rounds=1,
            lr=0.1,
            attacks=attacks,
            **given,
        )


def test_a_share_of_the_clients_is_drawn_by_the_seed():
    def who(seed, **share):
        seen = []

        def lie(honest, W, round, liars):
            seen.append(tuple(liars.tolist()))
            return honest[0]

        given = [{"who": share, "how": lie}]
        more = {"topology": NETWORK, "rounds": 1, "lr": 0.1, "seed": seed, "attacks": given}
        p2pqg.trajectory("dsgd", PROBLEM.gradient, X0, **more)
        return seen[0]

    assert who(1, share=0.25) == who(1, count=8) != who(2, count=8)
    assert set(who(1, count=3)) < set(who(1, count=8))


def test_every_attack_on_what_is_sent_has_a_loop_to_be_compared_with():
    messages = {name for name, entry in ATTACKS.items() if entry.traits["kind"] != "data"}
    assert {name for name, *_ in CASES} == messages
