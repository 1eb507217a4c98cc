"""Who learns how much about whom, on networks where it can be derived by hand."""

import json
from math import ceil, log, sqrt

import numpy as np
import pytest
from click.testing import CliRunner

from p2pqg.base.errors import TopologyError
from p2pqg.base.seeding import rng
from p2pqg.cli import main
from p2pqg.testing import dense
from p2pqg.theory.leakage import exposure, leakage, rounds_of
from p2pqg.theory.trajectories import trajectory

CHAIN = np.array([[2, 1, 0], [1, 1, 1], [0, 1, 2]]) / 3


def test_in_one_round_neighbors_learn_the_noisy_value_and_others_nothing():
    W = dense("ring8")
    for found in leakage(W, 1):
        np.testing.assert_allclose(found, W > 0, atol=1e-12)


def test_the_end_of_a_chain_hears_a_third_and_can_solve_for_the_rest():
    """After x_1 it hears (x_0 + x_1 + x_2) / 3: alone a third of x_2, with what it knows all."""
    bound, joint = leakage(CHAIN, 2)
    assert bound[2, 0] == pytest.approx(1 / 3)
    assert joint[2, 0] == pytest.approx(1)


def test_who_hears_a_sum_learns_its_share_of_each():
    """A chain of 4: to 0, client 1 tells x_1 and then (x_0 + x_1 + x_2) / 3; x_3 is not in it.

    A star: a leaf hears x_c, then the mean of all: of n - 2 unknown values their sum.
    """
    _, joint = leakage(dense("chain4"), 2)
    assert joint[3, 0] == 0
    n = 6
    star = np.eye(n) * (n - 1) / n
    star[0] = star[:, 0] = 1 / n
    bound, joint = leakage(star, 2)
    assert joint[2, 1] == pytest.approx(1 / (n - 2))
    assert bound[2, 1] == pytest.approx(1 / n)  # (1/n)^2 / (n / n^2)
    np.testing.assert_allclose(joint[:, 0], 1)
    np.testing.assert_allclose(joint[0], 1)


def test_messages_one_by_one_are_the_sum_of_the_paper():
    W, rounds = dense("social32"), 4
    bound, _ = leakage(W, rounds)
    for u, v in [(0, 31), (5, 6), (20, 3)]:
        total = 0.0
        for t in range(rounds):
            power = np.linalg.matrix_power(W, t)
            heard = [w for w in np.flatnonzero(W[v]) if w != v]
            total += sum(power[w, u] ** 2 / (power[w] @ power[w]) for w in heard)
        assert bound[u, v] == pytest.approx(min(total, 1))


def test_all_messages_together_are_what_the_gaussian_says():
    """A' (A A')^+ a, the divergence of two Gaussians whose means differ by column a of A."""
    W, rounds = dense("torus9"), 3
    _, joint = leakage(W, rounds)
    for v in range(9):
        heard = [w for w in np.flatnonzero(W[v]) if w != v]
        rows = [np.eye(9)[v]]
        rows += [np.linalg.matrix_power(W, t)[w] for t in range(rounds) for w in heard]
        A = np.array(rows)
        inverse = np.linalg.pinv(A @ A.T, rcond=1e-12)
        np.testing.assert_allclose(joint[:, v], np.einsum("iu,ij,ju->u", A, inverse, A), atol=1e-9)


def test_all_messages_together_are_what_a_regression_on_simulated_messages_finds_out():
    """Noise is gossiped by the engine; of u's noise, v's messages explain so much of the variance.

    A message that tells all of u's noise explains all of it, one that tells nothing nothing.
    """
    rounds, draws, n = 3, 4000, 9
    noise = rng(0, "noise").standard_normal((n, draws))
    gradient = lambda x, round: 0 * x  # noqa: E731 - only gossip is wanted
    sent = trajectory("dsgd", gradient, noise, topology="chain9", rounds=rounds - 1, lr=1.0)
    _, joint = leakage(dense("chain9"), rounds)
    for v in (0, 4, 7):
        near = [w for w in (v - 1, v + 1) if 0 <= w < n]
        seen = np.concatenate([noise[[v]], *(messages[near] for messages in sent)])
        explained = seen.T @ np.linalg.lstsq(seen.T, noise.T)[0]  # [draws, clients]
        share = 1 - (noise.T - explained).var(0) / noise.var(1)
        np.testing.assert_allclose(share, joint[:, v], atol=5 / np.sqrt(draws))


def test_news_travels_a_link_a_round_and_what_is_known_stays_known():
    found = [exposure("ring12", rounds=rounds) for rounds in (1, 2, 3)]
    for rounds, one in zip((1, 2, 3), found, strict=True):
        assert ((one.joint > 0) == (one.distances <= rounds)).all()
        assert ((one.bound > 0) == (one.distances <= rounds)).all()
    for before, after in zip(found, found[1:], strict=False):
        assert (after.joint >= before.joint - 1e-9).all()
        assert (after.bound >= before.bound - 1e-9).all()


def test_as_many_rounds_as_the_noise_takes_to_average_out():
    gap = 1 - np.sort(np.linalg.eigvalsh(CHAIN))[-2]
    assert rounds_of(CHAIN) == ceil(log(3) / sqrt(gap))
    assert exposure("ring8").rounds == rounds_of(dense("ring8"))
    assert rounds_of(np.full((2, 2), 0.5)) == rounds_of(np.ones((1, 1))) == 1  # ln 2, and ln 1


def test_it_is_told_for_each_distance_from_a_neighbor_to_the_farthest():
    found = exposure("chain3", rounds=1).by_distance()
    assert found == [(1, 1, pytest.approx(1), pytest.approx(1)), (2, 0, 0, 0)]


def test_the_command_tells_it_by_distance_and_as_numbers():
    told = CliRunner().invoke(main, ["topology", "chain3", "--privacy", "2"])
    assert told.exit_code == 0, told.output
    assert "2 links away  1 in the mean, 1 at most; message by message 0.333" in told.stdout
    numbers = json.loads(
        CliRunner().invoke(main, ["topology", "chain3", "--privacy", "2", "--json"]).stdout
    )
    assert numbers["bound"][2][0] == pytest.approx(1 / 3)
    assert numbers["rounds"] == 2
    assert (
        "13 rounds of gossip"
        in CliRunner().invoke(main, ["topology", "social32", "--privacy"]).stdout
    )


def test_all_who_have_the_most_or_the_least_are_named():
    told = CliRunner().invoke(main, ["topology", "star8", "ring8", "--privacy"]).stdout
    star, ring = told.split("network")[1:]
    assert "learns most   0, 1 of each other in the mean" in star  # the centre hears everybody
    assert "learns least  1, 2, 3, 4 and 3 more, 0.286" in star
    assert ring.count("all alike, 1") == 3


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ("onepeer-exponential8", "must stay the same from round to round"),
        ("exponential8", "W must be symmetric"),
        ("ring300", "at most 256 clients"),
        (np.eye(3), "must be connected"),
    ],
    ids=str,
)
def test_where_it_cannot_be_told_one_line_says_why(network, told):
    with pytest.raises(TopologyError, match=told):
        exposure(network)
