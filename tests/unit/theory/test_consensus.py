"""Average consensus: the algorithms without gradients are the matrix recursions of the paper."""

import numpy as np
import pytest

import p2pqg
from p2pqg.base.errors import ConfigError
from p2pqg.theory.consensus import average_consensus
from p2pqg.topology import spectral_gap
from p2pqg.topology.convergence import predicted_rounds, rounds_to, rounds_to_stay

RING = p2pqg.mixing_matrix("ring16")
WAVE = np.cos(2 * np.pi * np.arange(16) / 16)
"""Eigenvector of the ring's second eigenvalue."""


def by_matrices(W, x, rounds, beta, mu):
    """Eq. (4) of the paper; beta = 0: gossip."""
    m, found = 0 * x, []
    for _ in range(rounds + 1):
        found.append(((x - x.mean(0)) ** 2).sum(1).mean())
        after = W @ (x - beta * m)
        m, x = mu * m + (1 - mu) * (x - after), after
    return np.array(found)


@pytest.mark.parametrize(("beta", "mu"), [(0.9, 0.9), (0.5, 0.5), (0.3, 0.8)])
@pytest.mark.parametrize("topology", ["ring16", "social32", "exponential12"])
def test_without_gradients_qg_dsgdm_is_equation_4(topology, beta, mu):
    W = p2pqg.mixing_matrix(topology)
    x = np.random.default_rng(1).standard_normal((len(W), 3))
    found = average_consensus(topology, 60, x, beta=beta, mu=mu)
    np.testing.assert_allclose(found, by_matrices(W, x, 60, beta, mu), rtol=1e-9, atol=1e-15)


def test_without_gradients_dsgd_is_gossip_and_so_is_beta_0():
    x = np.random.default_rng(1).standard_normal((16, 3))
    expected = by_matrices(RING, x, 60, 0, 0)
    for found in (
        average_consensus("ring16", 60, x, quasi_global=False),
        average_consensus("ring16", 60, x, beta=0),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_a_network_that_changes_is_multiplied_out():
    found = average_consensus("onepeer-exponential16", 4, quasi_global=False)
    assert found[3] > 0.01
    assert found[4] < 1e-25 * found[0]  # hops 1, 2, 4, 8: the exact mean


@pytest.mark.parametrize("W", ["star6:mixing=uniform", np.eye(6)], ids=["star", "alone"])
def test_gossip_is_that_of_any_w_whose_rows_sum_to_1(W):
    found = average_consensus(W, 3, np.arange(6.0), quasi_global=False)
    dense = W if isinstance(W, np.ndarray) else p2pqg.mixing_matrix(W)
    path = [np.linalg.matrix_power(dense, t) @ np.arange(6.0) for t in range(4)]
    np.testing.assert_allclose(found, np.var(path, axis=1))


def test_as_many_numbers_are_drawn_as_are_asked_for():
    (found,) = average_consensus("ring8", 0, dim=5000)
    assert found == pytest.approx(5000 * 7 / 8, rel=0.05)


def test_where_only_columns_sum_to_1_gossip_is_push_sum():
    found = average_consensus("random-peer8", 60, quasi_global=False)
    assert found[-1] < 1e-9 * found[0]


def test_gossip_shrinks_an_eigenvector_by_its_eigenvalue():
    found = average_consensus("ring16", 20, WAVE, quasi_global=False)
    rate = 1 - spectral_gap(RING)
    np.testing.assert_allclose(found, found[0] * rate ** (2 * np.arange(21)), rtol=1e-12)
    assert predicted_rounds(rate, 1e-2) == rounds_to(average_consensus("ring16", 99, WAVE, 0), 1e-2)


@pytest.mark.parametrize(
    ("both", "rate"), [(0.1, 0.9435), (0.3, 0.9254), (0.5, 0.8437), (0.7, 0.9294), (0.9, 0.9694)]
)
def test_the_quadratic_gives_the_rate_of_the_quasi_global_form(both, rate):
    eigenvalue = 1 - spectral_gap(RING)
    twice = eigenvalue + both + (1 - both) * eigenvalue * both  # r^2 - twice r + once = 0
    once = eigenvalue * (both + (1 - both) * both)
    found = np.abs(np.roots([1, -twice, once])).max()
    assert found == pytest.approx(rate, abs=2e-4)
    path = average_consensus("ring16", 600 if both < 0.5 else 160, WAVE, both, both)
    # The mean over many rounds: complex roots make the distance swing about its rate.
    seen = (path[-1] / path[len(path) // 2]) ** (1 / (len(path) - 1))
    assert seen == pytest.approx(found, abs=0.02)
    one_round = np.array([[eigenvalue, -eigenvalue * both], [0, 0]])
    one_round[1] = [(1 - both) * (1 - eigenvalue), both + (1 - both) * eigenvalue * both]
    assert np.abs(np.linalg.eigvals(one_round)).max() == pytest.approx(found, abs=1e-12)


def test_a_ring_of_16_takes_the_rounds_that_theory_and_independent_code_say():
    # |x - mean| (not its square) of one draw down to 1e-2 and 1e-6: gossip 80 and 257, momentum
    # 0.5: 33 and 79, momentum 0.9: 67 and 308. In the end 0.9 is slower than gossip.
    x = np.random.default_rng(0).standard_normal(16)
    counts = {}
    for both in (0, 0.5, 0.9):
        path = average_consensus("ring16", 500, x, both, both)
        counts[both] = [rounds_to(path, 1e-2**2), rounds_to(path, 1e-6**2)]
    assert counts == {0: [80, 257], 0.5: [33, 79], 0.9: [67, 308]}


def test_the_mean_stays_and_the_start_depends_on_the_seed_only():
    assert average_consensus("ring8", 0)[0] == average_consensus("torus8", 0)[0]
    assert average_consensus("ring8", 0, seed=1)[0] != average_consensus("ring8", 0)[0]


def test_overshooting_is_told_from_arriving():
    path = average_consensus("ring16", 200, WAVE)
    assert rounds_to(path, 1e-2) < rounds_to_stay(path, 1e-2)
    assert rounds_to(np.array([1.0, 0.5]), 1e-2) is None
    assert rounds_to(np.zeros(3), 1e-2) == rounds_to_stay(np.zeros(3), 1e-2) == 0


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"beta": 1.5}, "beta must be in"),
        ({"rounds": -1}, "rounds must be a whole number >= 0, got -1"),
        ({"rounds": 2.5}, "rounds must be a whole number >= 0, got 2.5"),
        ({"dim": 0}, "dim must be a whole number >= 1, got 0"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"values": 1j * np.ones(8)}, "values must hold real numbers, .*, got ndarray, complex128"),
        ({"values": np.ones((8, 0))}, r"values must be .*, got shape \[8, 0\]"),
        ({"values": np.ones(5)}, r"values must be \[8\] or \[8, dim\], got shape \[5\]"),
    ],
)
def test_wrong_input_is_refused(settings, complaint):
    with pytest.raises(ConfigError, match=complaint):
        average_consensus("ring8", **{"rounds": 3} | settings)
