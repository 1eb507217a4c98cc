"""The quadratic program of CGA, and what follows from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2pqg.algorithms import _shortest
from p2pqg.algorithms._shortest import shares
from p2pqg.errors import ConfigError, RunError
from p2pqg.testing import Quadratics, assert_same, run, starts


def gradients(kind: str, others: int, dim: int) -> np.ndarray:
    """[programs, 1 + others, dim]."""
    random = np.random.default_rng([others, dim])
    found = random.normal(size=(40, 1 + others, dim)) + 0.2
    if kind == "twice" and others > 1:
        found[:, 2] = found[:, 1]
    if kind == "sums" and others > 2:
        found[:, 3] = found[:, 1] + found[:, 2]
    if kind == "silent":
        found[:, 1:2] = 0
    if kind == "opposite":
        found[:, 1:2] = -2 * found[:, :1]
    if kind == "uneven":
        found *= 10.0 ** random.integers(-5, 5, size=(40, 1 + others, 1))
    return found


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("others", [0, 1, 2, 7])
@pytest.mark.parametrize("dim", [3, 50])
@pytest.mark.parametrize("kind", ["any", "twice", "sums", "silent", "opposite", "uneven"])
def test_no_other_weighted_sum_is_shorter(kind, dim, others, margin):
    """Such a program is convex: none is if more of a weight, or less where it may be, is longer."""
    rows = gradients(kind, others, dim)
    G = torch.from_numpy(rows)
    v = shares((G @ G.mT)[:, None], margin)[:, 0].numpy()
    assert (v[:, 0] == 1).all()
    assert (v[:, 1:] >= margin).all()
    z = np.einsum("cr,crp->cp", v, rows)
    lengths = np.linalg.norm(rows, axis=2)
    size = lengths.sum(1, keepdims=True)
    slopes = np.einsum("crp,cp->cr", rows[:, 1:], z) / np.maximum(lengths[:, 1:], 1e-300)
    assert (slopes >= -1e-10 * size).all()
    assert (np.where(v[:, 1:] > margin, slopes, 0) <= 1e-10 * size).all()


AWKWARD = ["any", "twice", "sums", "multiples", "nearly against", "signs", "silent"]


def awkward(kind: str, others: int, dim: int) -> np.ndarray:
    """[programs, 1 + others, dim]: gradients of which many depend on each other."""
    random = np.random.default_rng([others, dim])
    found = random.normal(size=(8, 1 + others, dim))
    if kind == "twice":
        found[:, 2::2] = found[:, 1:-1:2]
    if kind == "multiples":
        found = found[:, :1] * random.normal(size=(8, 1 + others, 1))
    if kind == "nearly against":
        found[:, 1:] = 1e-3 * found[:, 1:] - found[:, :1]
    if kind == "sums":
        found[:, 3::3] = (found[:, 1:-2:3] + found[:, 2:-1:3])[:, : others // 3]
    if kind == "signs":
        found = np.sign(found)
    if kind == "silent":
        found[:, 1::3] = 0
    return found


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize(("others", "dim"), [(16, 8), (33, 2), (33, 40)])
@pytest.mark.parametrize("kind", AWKWARD)
def test_the_weighted_sum_of_many_meets_the_conditions_of_the_shortest(kind, others, dim, margin):
    """Karush, Kuhn, Tucker: no slope is uphill, and that of a share above the margin is 0."""
    rows = awkward(kind, others, dim)
    G = torch.from_numpy(rows)
    v = shares((G @ G.mT)[:, None], margin)[:, 0].numpy()
    z = np.einsum("cr,crp->cp", v, rows)
    lengths = np.linalg.norm(rows, axis=2)
    size = (lengths[:, :1] + margin * lengths[:, 1:].sum(1, keepdims=True)) * lengths[:, 1:]
    slopes = np.einsum("cp,crp->cr", z, rows[:, 1:])
    assert (v[:, 1:] >= margin).all()
    assert (slopes >= -1e-9 * size).all()
    assert (np.abs(slopes[v[:, 1:] > margin]) <= 1e-9 * size[v[:, 1:] > margin]).all()


def test_a_program_without_an_end_is_told(monkeypatch):
    G = torch.from_numpy(awkward("any", 33, 8))
    shares((G @ G.mT)[:, None], 0.5)
    monkeypatch.setattr(_shortest, "STEPS", 0)
    with pytest.raises(RunError, match="cga: the shares of 33 gradients are not found in 0 steps"):
        shares((G @ G.mT)[:, None], 0.5)


def test_a_step_goes_against_no_neighbor_and_not_further_than_it_must():
    rows = gradients("any", 4, 8)
    G = torch.from_numpy(rows)
    z = torch.einsum("cr,crp->cp", shares((G @ G.mT)[:, None], 0.5)[:, 0], G)
    least, against = G[:, 0] + 0.5 * G[:, 1:].sum(1), torch.einsum("cp,crp->cr", z, G[:, 1:])
    assert against.min() > -1e-10
    good = (torch.einsum("cp,crp->cr", least, G[:, 1:]) >= 0).all(1)
    assert 0 < good.sum() < len(good)  # some gradients were at odds, some were not
    torch.testing.assert_close(z[good], least[good])


def test_programs_do_not_see_each_other():
    G = torch.from_numpy(gradients("sums", 7, 5))
    F = (G @ G.mT)[:, None]
    together, alone = shares(F, 0.5), torch.cat([shares(f[None], 0.5) for f in F])
    assert torch.equal(together, alone)


def test_gradients_that_are_no_numbers_come_to_an_end():
    F = torch.full((2, 1, 4, 4), torch.nan, dtype=torch.float64)
    assert shares(F, 0.5).shape == (2, 1, 4)
    assert shares(F[:0], 0.5).shape == (0, 1, 4)


def test_on_the_complete_graph_it_is_nesterov_momentum_where_all_agree():
    far = np.tile(starts()[0] + 50, (8, 1))  # all gradients point home
    usual = run("sgdm-n", x0=far, topology="complete8", rounds=5, lr=0.01)
    assert_same(run("cga", x0=far, topology="complete8", rounds=5, lr=0.01, margin=1.0), usual)


def test_tensors_have_programs_of_their_own():
    problem = Quadratics.random()
    layers = [
        run("cga", problem, topology="ring8", shapes=[[2], [3]], layerwise=b) for b in (True, False)
    ]
    whole = run("cga", problem, topology="ring8")
    assert np.abs(layers[0][1] - whole[1]).max() > 1e-3
    assert_same(layers[1], whole)


def test_a_margin_below_zero_is_refused():
    with pytest.raises(ConfigError, match=r"margin must be >= 0, got -1"):
        run("cga", topology="ring8", margin=-1.0)
