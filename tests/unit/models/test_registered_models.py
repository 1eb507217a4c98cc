"""Parameter counts, starting weights and messages of the registered models."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import Registry
from p2pqg.models import MODELS, blueprint, build_model, by_path
from p2pqg.models._blueprint import Blueprint
from p2pqg.models._cost import cost_of
from p2pqg.models._own import builder_of, settable_of

CIFAR = (3, 32, 32)
NORMS = ("bn", "gn", "evonorm", "evonorm-official")


def num_params(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [(f"resnet20-{norm}", 272_474) for norm in NORMS]
    + [(f"resnet18-{norm}", 11_181_642) for norm in NORMS]
    + [("vgg11-half", 2_308_810), ("vgg11", 9_225_610), ("lenet", 62_006)],
)
def test_networks_have_the_published_number_of_parameters(name, count):
    assert num_params(build_model(name, 10, CIFAR)) == count


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
@pytest.mark.parametrize("suffix", ["", "-x2"])
@pytest.mark.parametrize("norm", NORMS)
def test_every_cifar_resnet_has_the_parameters_that_arithmetic_says(depth, suffix, norm):
    w, blocks = (32 if suffix else 16), (depth - 2) // 6
    norms = 2 * w * (1 + 2 * blocks * (1 + 2 + 4) + 2 + 4)  # stem, two per block, two shortcuts
    first = 9 * (w * w + w * 2 * w + 2 * w * 4 * w)  # the first convolution of every stage
    others = 9 * (2 * blocks - 1) * (1 + 4 + 16) * w * w
    shortcuts = w * 2 * w + 2 * w * 4 * w
    expected = 3 * 9 * w + norms + first + others + shortcuts + 4 * w * 10 + 10
    assert num_params(build_model(f"resnet{depth}-{norm}{suffix}", 10, CIFAR)) == expected


def test_evonorm_as_published_learns_a_v_per_channel_of_every_place_before_a_nonlinearity():
    places = 16 + 3 * (16 + 32 + 64)  # stem, first convolution of every block
    published = build_model("resnet20-evonorm", 10, CIFAR, published=True)
    assert num_params(published) == 272_474 + places
    assert num_params(build_model("resnet20-evonorm", 10, CIFAR)) == 272_474
    wide = build_model("resnet20-evonorm-x2", 10, CIFAR, published=True)
    assert num_params(wide) == num_params(build_model("resnet20-gn-x2", 10, CIFAR)) + 2 * places
    deep = build_model("resnet18-evonorm", 10, CIFAR, published=True)
    assert num_params(deep) == 11_181_642 + 64 + 2 * (64 + 128 + 256 + 512)


def test_dense_models_have_the_parameters_that_arithmetic_says():
    assert num_params(build_model("mlp", 10, (64,))) == 64 * 64 + 64 + 64 * 10 + 10 == 4810
    assert num_params(build_model("logistic", 10, (1, 8, 8))) == 650
    deep = build_model("mlp", 3, (5,), hidden=(4, 2))
    assert num_params(deep) == 5 * 4 + 4 + 4 * 2 + 2 + 2 * 3 + 3


@pytest.mark.parametrize("side", [8, 28, 30, 32])
def test_patches_of_any_image_fit_the_last_layer(side):
    model = build_model("patch-cnn", 10, (3, side, side), patch=4)
    positions = (side // 4 + 1) // 2  # per axis, after a convolution of stride 2
    convolutions = 3 * 16 * 16 + 16 * 32 * 9
    assert num_params(model) == convolutions + 2 * (16 + 32) + (32 * positions**2 + 1) * 10
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 10)


def test_an_mlp_without_hidden_layers_is_the_logistic_model():
    one = build_model("mlp", 10, (64,), hidden=(), seed=3).state_dict()
    other = build_model("logistic", 10, (64,), seed=3).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in other)


SMALL = [n for n, e in MODELS.items() if not (n.startswith("resnet") or "tokenizer" in e.traits)]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_small_model_gives_one_logit_per_class(name):
    model = build_model(name, 7, CIFAR)
    assert model(torch.zeros(2, *CIFAR)).shape == (2, 7)


@pytest.mark.parametrize("name", sorted(name for name in MODELS if name.startswith("resnet")))
def test_every_resnet_gives_one_logit_per_class(name):
    with torch.device("meta"):
        model = MODELS[name].build(7, CIFAR, MODELS[name].params())
        assert model(torch.zeros(2, *CIFAR)).shape == (2, 7)


@pytest.mark.parametrize("name", ["resnet20-gn", "resnet32-gn", "resnet44-gn", "resnet56-gn"])
def test_the_number_in_a_name_counts_the_layers_with_weights(name):
    model = build_model(name, 10, CIFAR)
    layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    on_shortcuts = [m for m in layers if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(layers) - len(on_shortcuts) == int(name[6:8])
    assert len(on_shortcuts) == 2  # where the shape changes, and nowhere else


def test_twice_the_width_means_twice_the_channels_everywhere():
    narrow = [m for m in build_model("resnet20-gn", 10, CIFAR).modules()]
    wide = [m for m in build_model("resnet20-gn-x2", 10, CIFAR).modules()]
    for one, two in zip(narrow, wide, strict=True):
        if isinstance(one, nn.Conv2d):
            assert two.out_channels == 2 * one.out_channels


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    one, same, other = (build_model("resnet20-gn", 10, CIFAR, seed=s) for s in (1, 1, 2))
    for p, q in zip(one.parameters(), same.parameters(), strict=True):
        assert torch.equal(p, q)
    assert not torch.equal(one[0].weight, other[0].weight)


@pytest.mark.parametrize("name", ["mlp", "resnet20-evonorm-official", "vgg11-half"])
def test_building_leaves_the_global_random_state_alone(name):
    before, before_numpy = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  it is the global state that is watched
    build_model(name, 10, CIFAR)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], before_numpy)  # noqa: NPY002  as above


def test_starting_weights_have_the_documented_spread():
    model = build_model("resnet20-bn", 10, CIFAR)
    for layer in model.requires_grad_(False).modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 4000:
            fan_out = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            assert layer.weight.std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.eq(1).all()
            assert layer.bias.eq(0).all()
            assert layer.running_var.eq(1).all()
        elif isinstance(layer, nn.Linear):
            assert layer.weight.abs().max() <= 64**-0.5
            assert layer.weight.std() == pytest.approx((3 * 64) ** -0.5, rel=0.1)


def test_resnet18_is_torchvisions_network():
    torchvision = pytest.importorskip("torchvision")
    ours = build_model("resnet18-bn", 10, (3, 64, 64), seed=4)
    theirs = torchvision.models.resnet18(num_classes=10)
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            p.copy_(q)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator())
    torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize("norm", ["bn", "gn"])
def test_a_cifar_resnet_gives_what_torchvisions_blocks_give(norm):
    resnet = pytest.importorskip("torchvision").models.resnet
    make = {"bn": nn.BatchNorm2d, "gn": lambda channels: nn.GroupNorm(2, channels)}[norm]
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), make(16), nn.ReLU()]
    before = 16
    for channels in (16, 32, 64):
        for block in range(3):
            stride = 2 if block == 0 and channels > 16 else 1
            shrink = None
            if stride == 2:
                shrink = nn.Sequential(
                    nn.Conv2d(before, channels, 1, 2, bias=False), make(channels)
                )
            layers.append(resnet.BasicBlock(before, channels, stride, shrink, norm_layer=make))
            before = channels
    theirs = nn.Sequential(*layers, nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10))
    ours = build_model(f"resnet20-{norm}", 10, CIFAR, seed=4)
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            p.copy_(q)
    images = torch.randn(2, *CIFAR, generator=torch.Generator())
    torch.testing.assert_close(ours(images), theirs(images))


def test_vgg11_has_torchvisions_convolutions_and_one_linear_layer():
    vgg11 = pytest.importorskip("torchvision").models.vgg11
    ours = build_model("vgg11", 10, CIFAR, seed=4)
    with torch.random.fork_rng(devices=[]):
        theirs = nn.Sequential(vgg11(init_weights=False).features, nn.Flatten(), nn.Linear(512, 10))
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), ours.parameters(), strict=True):
            p.copy_(q)
    images = torch.randn(2, *CIFAR, generator=torch.Generator())
    torch.testing.assert_close(ours(images), theirs(images))


@pytest.mark.parametrize(
    ("name", "shape", "params", "message"),
    [
        ("resnet20-gn", (64,), {}, r"model resnet20-gn needs images .*got input shape \(64,\)"),
        ("vgg11-half", (1, 8, 8), {}, r"height >= 32.*got input shape \(1, 8, 8\)"),
        ("lenet", (8, 8), {}, "model lenet needs images"),
        ("mlp", (64,), {"hiden": (3,)}, "unknown key model.hiden; did you mean hidden?"),
        ("mlp", (64,), {"hidden": (0,)}, "model.hidden must be a list of widths >= 1"),
        ("mlp", (64,), {"hidden": 64}, "model.hidden must be a list of integers, got 64"),
        ("cnn", (1, 8, 8), {"width": 3}, "model.width must be even"),
        ("patch-cnn", CIFAR, {"patch": 0}, "model.patch must be >= 1, got 0"),
        ("patch-cnn", (1, 8, 8), {"patch": 5}, "height >= 10"),
        ("resnet20-gn", CIFAR, {"width": 0}, "model.width must be >= 1, got 0"),
        ("resnet20-gn", CIFAR, {"width": 1.5}, "model.width must be an integer, got 1.5"),
        ("resnet20-gn", CIFAR, {"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ("resnet20-gn", (0, 32, 32), {}, r"input_shape must be .*, got \(0, 32, 32\)"),
        ("logistic", "abc", {}, "input_shape must be the shape of one sample"),
        ("mlp", (64,), {"hidden": ("a",)}, "model.hidden must be a list of integers"),
        ("resnet20-evonorm", CIFAR, {"width": 3}, "model.width must be 1 or even"),
        ("resnet21", CIFAR, {}, "unknown model 'resnet21'; did you mean"),
    ],
)
def test_wrong_input_is_one_clear_line(name, shape, params, message):
    with pytest.raises(ConfigError, match=message) as error:
        build_model(name, 10, shape, **params)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("num_classes", [0, -1, 2.5, "10", None])
def test_the_number_of_classes_is_a_whole_number_from_one_on(num_classes):
    with pytest.raises(ConfigError, match="num_classes must be a whole number >= 1, got"):
        build_model("logistic", num_classes, (64,))


def test_a_dense_sample_is_multiplied_once_with_every_weight():
    assert blueprint("mlp").cost(10, (64,)) == (4810, 64 * 64 + 64 * 10)
    assert blueprint("logistic").cost(10, (1, 8, 8)) == (650, 640)


@pytest.mark.parametrize(
    ("name", "params"), [("logistic", {}), ("mlp", {"hidden": ()}), ("mlp", {"hidden": (5, 4)})]
)
def test_the_formula_of_a_dense_model_is_what_counting_gives(name, params):
    built = build_model(name, 3, (2, 3), **params)
    assert blueprint(name, **params).cost(3, (2, 3)) == cost_of(built, (2, 3))


@pytest.mark.parametrize("norm", ["bn", "gn", "evonorm", "evonorm-official"])
def test_multiply_adds_of_resnet20_do_not_depend_on_the_norm(norm):
    # Stem; then every block's convolutions cost the same (half the side, twice the channels), but
    # for the first of a stage, which has half the inputs; two 1x1 shortcuts; the linear layer.
    full = 32 * 32 * 9 * 16 * 16
    expected = 32 * 32 * 9 * 3 * 16 + 16 * full + 2 * full // 2 + 2 * full // 9 // 2 + 640
    assert blueprint(f"resnet20-{norm}").cost(10, CIFAR) == (272_474, expected)


def test_counting_leaves_the_model_as_it_is():
    model = build_model("cnn", 10, (1, 8, 8))
    before = model[0].weight.clone()
    cost_of(model, (1, 8, 8))
    assert torch.equal(model[0].weight, before)
    assert model.training
    assert not model[0]._forward_hooks


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16])
def test_what_a_script_has_set_as_its_default_changes_no_weight(default):
    """Torch draws a float64 in another way: the same seed would begin elsewhere."""

    def own(num_classes, input_shape):
        return nn.Linear(math.prod(input_shape), num_classes)

    file = Registry("model")
    file.register("own", params=settable_of(own, "own"), own=True)(builder_of(own))
    ours, theirs = blueprint("mlp"), Blueprint(file.named("own"), file.named("own").params())
    usual = [one.build(3, (5,), 1).state_dict() for one in (ours, theirs)]
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        with torch.device("meta"):
            found = [one.build(3, (5,), 1).state_dict() for one in (ours, theirs)]
        assert torch.get_default_dtype() == default
    finally:
        torch.set_default_dtype(before)
    for one, other in zip(usual, found, strict=True):
        assert_close(one, other, rtol=0, atol=0)


def test_a_name_that_no_folder_can_have_is_none():
    assert by_path("9" * 400, {}) == ("9" * 400, {})
