"""Crop, mirror and normalisation against torchvision and arithmetic; draws keyed by the step."""

import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as reference

from p2pqg.data.feeding.augment import PAD, PLACES, AugmentDraws, crop_flip, normalise

IMAGES = torch.arange(2 * 3 * 3 * 32 * 32).mul(7).remainder(251).to(torch.uint8)
IMAGES = IMAGES.view(2, 3, 3, 32, 32)
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def test_crop_and_flip_are_those_of_torchvision_on_pictures():
    offsets, flips = AugmentDraws([0, 1], batch_size=3, seed=1).draw(0, 1)
    found = crop_flip(IMAGES, offsets[0], flips[0])
    assert flips.any()
    assert not flips.all()
    for client in range(2):
        for sample in range(3):
            picture = Image.fromarray(IMAGES[client, sample].permute(1, 2, 0).numpy())
            top, left = offsets[0, client, sample].tolist()
            crop = reference.crop(reference.pad(picture, PAD), top, left, 32, 32)
            crop = reference.hflip(crop) if flips[0, client, sample] else crop
            expected = reference.pil_to_tensor(crop)
            assert torch.equal(found[client, sample], expected)


def test_the_middle_crop_changes_nothing_and_a_mirror_undoes_itself():
    middle = torch.full((2, 3, 2), PAD)
    never, always = torch.zeros(2, 3, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(crop_flip(IMAGES, middle, never), IMAGES)
    mirrored = crop_flip(IMAGES, middle, always)
    assert torch.equal(mirrored, IMAGES.flip(-1))
    assert torch.equal(crop_flip(mirrored, middle, always), IMAGES)


@pytest.mark.parametrize("shape", [(1, 2, 1, 28, 28), (2, 1, 3, 32, 24)])
def test_other_shapes_and_floats_work_too(shape):
    images = torch.rand(shape, dtype=torch.float64)
    corner = torch.zeros(*shape[:2], 2, dtype=torch.int64)
    found = crop_flip(images, corner, torch.zeros(shape[:2], dtype=torch.bool))
    assert torch.equal(found[..., PAD:, PAD:], images[..., :-PAD, :-PAD])
    assert (found[..., :PAD, :] == 0).all()
    assert (found[..., :PAD] == 0).all()


def test_draws_do_not_depend_on_packing_or_on_how_one_reads():
    offsets, flips = AugmentDraws([0, 1, 2], batch_size=7, seed=1).draw(0, 400)
    reader = AugmentDraws([2, 0], batch_size=7, seed=1)
    for first, number in [(0, 1), (145, 3), (399, 1), (0, 400)]:
        own_offsets, own_flips = reader.draw(first, number)
        assert torch.equal(own_offsets, offsets[first : first + number, [2, 0]])
        assert torch.equal(own_flips, flips[first : first + number, [2, 0]])


def test_all_crops_and_mirrors_are_equally_likely():
    offsets, flips = AugmentDraws(range(10), batch_size=81, seed=1).draw(0, 20)
    places = offsets[..., 0] * PLACES + offsets[..., 1]
    counts = torch.bincount((2 * places + flips).flatten(), minlength=162)
    # 16,200 draws of 162 outcomes: mean 100, std 10.
    assert len(counts) == 162
    assert (counts - 100).abs().max() < 50


def test_normalise_is_torchvisions():
    expected = reference.normalize(IMAGES.float() / 255, MEAN, STD)
    torch.testing.assert_close(normalise(IMAGES, MEAN, STD), expected, rtol=0, atol=1e-6)


def test_normalise_in_float64_is_exact_to_its_last_digits():
    expected = reference.normalize(IMAGES.double() / 255, MEAN, STD)
    found = normalise(IMAGES, MEAN, STD, torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


def test_normalise_in_bfloat16_rounds_only_once():
    expected = normalise(IMAGES, MEAN, STD).bfloat16()
    assert torch.equal(normalise(IMAGES, MEAN, STD, torch.bfloat16), expected)


def test_normalise_without_statistics_scales_to_one_and_leaves_features_alone():
    torch.testing.assert_close(normalise(IMAGES, None, None), IMAGES / 255)
    features = torch.tensor([[0.5, 300.0]])
    assert torch.equal(normalise(features, None, None, torch.float64), features.double())
