import numpy as np
import torch
from toys import TOY

import p2pqg
from p2pqg.engine import host


def test_distances_do_not_depend_on_how_many_rows_are_taken_at_once(monkeypatch):
    x, mean = torch.randn(7, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    expected = np.linalg.norm(x.numpy() - mean.numpy(), axis=1) ** 2
    for bytes_in_cache in (1, 2 * 5 * 8, 2**22):
        monkeypatch.setattr(host, "CACHED", bytes_in_cache)
        np.testing.assert_allclose(host.squared_distances(x, mean), expected, rtol=1e-14)


def test_models_far_apart_have_a_distance_whose_square_float32_does_not_hold():
    with p2pqg.Simulation(**TOY, engine="local", precision="float32", rounds=1) as sim:
        sim.set_lr(1e21)
        sim.advance(1)
        x, told = sim.parameters().astype(float), sim.history["consensus_distance"][0]
    assert told > np.finfo(np.float32).max
    np.testing.assert_allclose(told, np.square(x - x.mean(0)).sum(1).mean(), rtol=1e-5)
