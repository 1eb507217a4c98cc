"""Squared distances and inner products of rows, against the formula entry by entry."""

import numpy as np
import pytest
import torch

from p2pqg.base.seeding import rng
from p2pqg.engine import distances
from p2pqg.engine.distances import Pairs, inner_products

N, WIDTH = 5, 23
ROWS = torch.from_numpy(rng(0, "rows").standard_normal((N, WIDTH)))


@pytest.mark.parametrize("long", [WIDTH, WIDTH + 1])  # pair by pair, or many at once
@pytest.mark.parametrize("at_once", [1, 7, WIDTH, 100])
def test_each_set_of_pairs_has_its_distances_in_its_own_shape(long, at_once, monkeypatch):
    monkeypatch.setattr(distances, "LONG", long)
    monkeypatch.setattr(distances, "ENTRIES_AT_ONCE", at_once)
    one = torch.tensor([[0, 1, 4], [3, 2, 2]]), torch.tensor([[1, 0, 4], [0, 4, 2]])
    other = torch.tensor([2]), torch.tensor([4])  # which the first has, too, and the other way
    found = Pairs([one, other], at_once * ROWS[:1].nbytes)(ROWS)
    for (a, b), squares in zip((one, other), found, strict=True):
        wanted = ((ROWS[a] - ROWS[b]) ** 2).sum(-1)
        torch.testing.assert_close(squares, wanted, rtol=1e-13, atol=0)
    assert found[0][0, 2] == found[0][1, 2] == 0  # to itself


def test_each_pair_is_computed_once():
    ends = torch.tensor([0, 1, 1, 3]), torch.tensor([1, 0, 3, 1])
    assert Pairs([ends, ends], 1).ends.tolist() == [[0, 1], [1, 3]]


@pytest.mark.parametrize("columns", [1, 4, WIDTH, 100])
def test_inner_products_are_of_what_rows_are_away_from_the_origin(columns, monkeypatch):
    monkeypatch.setattr(distances, "AWAY_AT_ONCE", columns * N * ROWS.element_size())
    origin = ROWS.mean(0) + 1
    found = inner_products(ROWS, origin)
    away = (ROWS - origin).numpy()
    np.testing.assert_allclose(found, np.einsum("ip,jp->ij", away, away), rtol=1e-12)
    assert torch.equal(found, found.T)
