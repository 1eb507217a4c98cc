"""float16 gradients are those of float32 to its eleven bits, however small or large they are."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from p2pqg.models import build_model
from p2pqg.models._weights import initialise
from p2pqg.models.stacked.scaling import SCALES, scaled
from p2pqg.models.stacked.stacked import Stacked

STRATEGIES = ["batched", "loop", "vmap"]
CLASSES, FEATURES = 4, 6
PRECISION = 2**-9  # of a sum of a few products of 11 bits each


def problem(sizes=(1.0, 1.0, 1.0), batch=8, model="logistic"):
    """Rows, buffers, inputs and targets of as many clients; each one's inputs are of its size."""
    generator = torch.Generator().manual_seed(3)
    module = build_model(model, CLASSES, (FEATURES,))
    row = Stacked(module).initial_row()
    inputs = torch.randn(len(sizes), batch, FEATURES, generator=generator)
    inputs *= torch.tensor(sizes)[:, None, None]
    targets = torch.randint(0, CLASSES, (len(sizes), batch), generator=generator)
    rows = row.repeat(len(sizes), 1)
    return module, rows, rows[:, :0], inputs, targets


def both(strategy, module, *batch):
    half = Stacked(module, precision="fp16", strategy=strategy).gradients(*batch)
    exact = Stacked(module, strategy=strategy).gradients(*batch)
    return half[:2], exact[:2]


def assert_near(g, expected):
    error = (g - expected).norm(dim=1) / expected.norm(dim=1)
    assert (error < PRECISION).all(), error


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_gradient_that_overflows_is_computed_again_at_a_smaller_scale(strategy):
    # Inputs of 40 make gradients above 1, which 2**16 lifts beyond 65504, the end of float16.
    module, *batch = problem(sizes=(1.0, 40.0, 1.0))
    (losses, g), (expected_losses, expected) = both(strategy, module, *batch)
    assert expected[1].abs().max() * SCALES[0] > torch.finfo(torch.float16).max
    assert_near(g, expected)
    assert_close(losses, expected_losses, rtol=PRECISION, atol=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_client_does_not_feel_the_overflow_of_another(strategy):
    module, *batch = problem(sizes=(1.0, 40.0, 3.0))
    stacked = Stacked(module, precision="fp16", strategy=strategy)
    together = stacked.gradients(*batch)
    for client in range(3):
        alone = stacked.gradients(*(t[client : client + 1] for t in batch))
        assert torch.equal(together[1][client], alone[1][0])
        assert torch.equal(together[0][client], alone[0][0])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_derivatives_below_the_range_of_float16_are_not_lost(strategy):
    module = nn.Sequential(nn.Linear(FEATURES, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    initialise(module, torch.Generator().manual_seed(0))
    with torch.no_grad():  # what comes back through these weights is below 6e-8
        module[2].weight.mul_(1e-7)
    _, _, _, inputs, targets = problem()
    row = Stacked(module).initial_row().repeat(3, 1)
    (_, g), (_, expected) = both(strategy, module, row, row[:, :0], inputs, targets)
    first = module[0].weight.numel() + module[0].bias.numel()
    assert 0 < expected[:, :first].abs().max() < torch.finfo(torch.float16).smallest_normal / 256
    # The weights themselves, at 1e-8 to 1e-7, have two bits in float16: their order survives.
    assert (g[:, :first].norm(dim=1) > 0).all()
    assert (F.cosine_similarity(g, expected, dim=1) > 0.99).all()


def counted(gradient):
    """Calls of a strategy that finds these gradients in float16, and what came of them."""
    calls = []

    def gradients(x, buffers, inputs, targets, keys=None, scale=1.0):
        calls.append((scale, len(x), keys))
        g = inputs * scale
        return inputs[:, 0] * 0, g.where(g.abs() <= 65504, torch.inf), buffers

    x = torch.tensor(gradient)[:, None]
    return calls, scaled(gradients, x, x, x, x, keys=list(range(len(x))))[1]


def test_only_who_overflows_is_computed_again_with_the_same_draws():
    calls, g = counted([0.5, 100.0, 0.25, 10.0])
    assert calls == [
        (2.0**16, 4, [0, 1, 2, 3]),
        (2.0**12, 2, [1, 3]),
        (2.0**8, 1, [1]),
    ]
    assert g.squeeze(1).tolist() == [0.5, 100.0, 0.25, 10.0]


def test_a_loss_that_is_not_finite_is_not_tried_again():
    calls = []

    def gradients(x, buffers, inputs, targets, scale=1.0):
        calls.append(scale)
        return x[:, 0], x * torch.nan, buffers

    x = torch.full((2, 3), torch.nan)
    _, g, _ = scaled(gradients, x, x, x, x)
    assert calls == [SCALES[0]]
    assert g.isnan().all()
