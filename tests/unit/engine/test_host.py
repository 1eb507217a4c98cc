import numpy as np
import torch

from p2pqg.engine import host


def test_distances_do_not_depend_on_how_many_rows_are_taken_at_once(monkeypatch):
    x, mean = torch.randn(7, 5, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    expected = np.linalg.norm(x.numpy() - mean.numpy(), axis=1) ** 2
    for bytes_in_cache in (1, 2 * 5 * 8, 2**22):
        monkeypatch.setattr(host, "CACHED", bytes_in_cache)
        np.testing.assert_allclose(host.squared_distances(x, mean), expected, rtol=1e-14)
