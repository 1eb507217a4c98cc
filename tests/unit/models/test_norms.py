"""EvoNorm-S0 against its formula, and which networks look at the rest of their batch."""

import pytest
import torch
from torch.testing import assert_close

from p2pqg.models import build_model
from p2pqg.models._norms import EvoNormS0


def images(batch, channels, side=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, channels, side, side, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("channels", [16, 32, 64])
@pytest.mark.parametrize("published", [False, True])
def test_evonorm_is_its_formula(channels, published):
    norm = EvoNormS0(channels, published).double()
    x = images(2, channels)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.add_(torch.linspace(-0.5, 0.5, channels, dtype=torch.float64))
    got = norm(x)

    size = channels // min(32, channels)
    n = size * 16
    for sample in range(2):
        for channel in range(channels):
            first = channel // size * size
            group = x[sample, first : first + size]
            spread = (group - group.mean()).square().sum() / (n if published else n - 1)
            v = norm.v[channel] if published else 1.0
            own = x[sample, channel]
            expected = own / (1 + torch.exp(-v * own)) / (spread + 1e-5).sqrt()
            expected = expected * norm.weight[channel] + norm.bias[channel]
            assert_close(got[sample, channel], expected, rtol=0, atol=1e-12)


def test_evonorm_does_not_feel_the_scale_of_a_saturated_input():
    # Where sigmoid is 1, x / std(x) is invariant under scaling (up to eps).
    norm = EvoNormS0(16).double()
    x = 50 + images(1, 16)
    assert_close(norm(x), norm(10 * x), rtol=1e-4, atol=0)


def test_evonorm_has_the_same_derivative_as_finite_differences():
    norm = EvoNormS0(64).double()
    assert torch.autograd.gradcheck(norm, images(1, 64, side=2).requires_grad_())


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_evonorm_does_not_depend_on_the_memory_order(memory):
    norm = EvoNormS0(64).double()
    x = images(2, 64)
    assert_close(norm(x.contiguous(memory_format=memory)), norm(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "alone"),
    [("gn", True), ("evonorm", True), ("bn", True), ("evonorm-official", False)],
)
def test_only_the_official_evonorm_looks_at_the_rest_of_the_test_batch(name, alone):
    model = build_model(f"resnet20-{name}", 10, (3, 8, 8)).double().eval()
    x = images(4, 3, side=8)
    with torch.no_grad():
        whole, half = model(x)[:2], model(x[:2])
    assert torch.allclose(whole, half, rtol=0, atol=1e-10) == alone


@pytest.mark.parametrize("name", ["gn", "evonorm"])
def test_models_without_batch_statistics_see_each_training_sample_alone(name):
    model = build_model(f"resnet20-{name}", 10, (3, 8, 8)).double().train()
    x = images(4, 3, side=8)
    assert_close(model(x)[:2], model(x[:2]), rtol=0, atol=1e-10)
    assert not list(model.buffers())
