"""What the clients see: the same however they are hosted, from memory and from files."""

import math
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from PIL import Image

from p2pqg.base.errors import DataError
from p2pqg.base.seeding import rng
from p2pqg.data.feeding.feed import Feed, Looks
from p2pqg.data.feeding.file_feed import TEST_SHARE, FileFeed, decode, middle_box, random_box

CLIENTS, EACH, SIDE = 4, 5, 8


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """One image per sample, of a color of its own, brighter to the right."""
    folder = tmp_path_factory.mktemp("images")
    for i in range(CLIENTS * EACH):
        image = np.full((20, 30, 3), i, dtype=np.uint8)
        image[:, :, 2] = np.arange(30) * 8
        Image.fromarray(image).save(folder / f"{i}.png")
    return np.array([str(folder / f"{i}.png").encode() for i in range(CLIENTS * EACH)])


def looks(augmentation=None, dtype=torch.float32, seed=1):
    return Looks(
        shape=(3, SIDE, SIDE),
        mean=(0.0,) * 3,
        std=(1 / 255,) * 3,  # inputs are the bytes
        augmentation=augmentation,
        batch_size=3,
        seed=seed,
        device=torch.device("cpu"),
        dtype=dtype,
    )


def fed(kind, x, clients=range(CLIENTS), **options):
    rows = np.concatenate([np.arange(EACH) + EACH * client for client in clients])
    y = np.arange(CLIENTS * EACH)
    sizes = np.full(len(clients), EACH)
    return kind(x[rows], y[rows], sizes, (x[:6], y[:6]), clients, looks(**options))


def test_samples_beyond_the_numbers_that_a_shard_needs_are_found():
    sizes = np.array([200, 250, 3])  # positions take a byte, samples do not
    y = np.arange(453)
    x = y[:, None].astype(np.float32)
    feed = Feed(x, y, sizes, (x[:1], y[:1]), range(3), looks())
    seen = torch.stack([feed.batch(step)[1] for step in range(250)])  # [step, client, 3]
    for own, first, size in zip(seen.unbind(1), (0, 200, 450), sizes, strict=True):
        assert sorted(set(own.flatten().tolist())) == list(range(first, first + size))
    inputs, targets = feed.batch(7, slice(1, 3))
    assert torch.equal(inputs[..., 0], targets.to(torch.float32))


@pytest.mark.parametrize("augmentation", [None, "resized-crop"])
def test_a_batch_from_files_does_not_depend_on_who_is_hosted_nor_on_the_order(paths, augmentation):
    everyone = fed(FileFeed, paths, augmentation=augmentation)
    last = fed(FileFeed, paths, range(2, CLIENTS), augmentation=augmentation)
    expected = [everyone.batch(step) for step in range(4)]
    for step in (3, 0, 0, 2):
        inputs, targets = last.batch(step)
        assert torch.equal(inputs, expected[step][0][2:])
        assert torch.equal(targets, expected[step][1][2:])
    parts = [everyone.batch(1, part)[0] for part in (slice(0, 1), slice(1, 4))]
    assert torch.equal(torch.cat(parts), expected[1][0])


def test_files_and_arrays_are_cut_into_the_same_batches(paths):
    images = np.stack([decode(path, SIDE) for path in paths])
    stored, files = fed(Feed, images), fed(FileFeed, paths)
    for step in (0, 1, 70):
        for one, other in zip(stored.batch(step), files.batch(step), strict=True):
            assert torch.equal(one, other)
    for one, other in zip(stored.test(slice(2, 5)), files.test(slice(2, 5)), strict=True):
        assert torch.equal(one, other)


def test_inputs_and_targets_belong_together(paths):
    inputs, targets = fed(FileFeed, paths, augmentation="resized-crop").batch(5)
    assert inputs.shape == (CLIENTS, 3, 3, SIDE, SIDE)
    assert torch.equal(inputs[:, :, 0].round(), targets[:, :, None, None].expand(-1, -1, 8, 8))
    assert torch.equal(targets // EACH, torch.arange(CLIENTS)[:, None].expand(-1, 3))


def test_crops_differ_between_samples_and_some_are_mirrored(paths):
    inputs, _ = fed(FileFeed, paths, augmentation="resized-crop").batch(0)
    slopes = inputs[:, :, 2].diff(dim=-1).mean((-1, -2))  # negative if mirrored
    assert len(slopes.unique()) > 6
    assert 0 < (slopes < 0).sum() < slopes.numel()
    other, _ = fed(FileFeed, paths, augmentation="resized-crop", seed=2).batch(0)
    assert not torch.equal(inputs, other)


def test_a_fork_goes_on_by_itself(paths):
    feed = fed(FileFeed, paths, augmentation="resized-crop")
    twin = feed.fork()
    a, b, c = feed.batch(7), twin.batch(2), feed.batch(8)
    fresh = fed(FileFeed, paths, augmentation="resized-crop")
    for step, seen in ((7, a), (2, b), (8, c)):
        assert torch.equal(fresh.batch(step)[0], seen[0])


def test_in_a_process_that_was_forked_files_are_read_by_threads_of_its_own(paths, monkeypatch):
    """It waited for those of its parent, and for what they had begun, without an end."""
    feed = fed(FileFeed, paths)
    expected = fed(FileFeed, paths).batch(1)[0]
    feed.batch(0)
    feed._threads().shutdown()
    feed._decoding()[1] = [[Future()] * 3] * CLIENTS  # which nobody completes
    monkeypatch.setattr("os.getpid", lambda: 0)
    assert torch.equal(feed.batch(1)[0], expected)


def test_the_test_looks_at_seven_eighths_in_the_middle():
    assert TEST_SHARE == 7 / 8
    assert middle_box(16, 32) == (1, 9, 15, 23)
    assert middle_box(32, 16) == (9, 1, 23, 15)


def test_random_boxes_fit_and_have_the_documented_area_and_shape():
    random = rng(0, "boxes")
    areas = []
    for _ in range(4000):
        left, top, right, bottom = random_box(300, 300, random)
        assert 0 <= left < right <= 300
        assert 0 <= top < bottom <= 300
        w, h = right - left, bottom - top
        areas.append(w * h / 300**2)
        assert 3 / 4 * 0.97 < w / h < 4 / 3 * 1.03
    assert min(areas) == pytest.approx(0.08, abs=0.01)
    # All boxes of area a <= 3/4 fit into a square, and of the others a share -ln a / ln(4/3).
    fitting = 3 / 4 - 0.08 + (1 / 4 + 3 / 4 * math.log(3 / 4)) / math.log(4 / 3)
    assert np.mean(np.array(areas) < 0.4) == pytest.approx(0.32 / fitting, abs=0.03)


def test_where_no_box_fits_it_is_the_largest_of_a_fair_shape():
    assert random_box(400, 10, rng(0, "boxes")) == (193, 0, 206, 10)
    assert random_box(10, 400, rng(0, "boxes")) == (0, 193, 10, 206)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"a.png is no image that is read .*fetch it again"):
        decode(str(tmp_path / "a.png").encode(), 8)


@pytest.mark.parametrize(
    ("x", "dtype"),
    [
        (np.zeros((20, 7), np.int32), torch.int32),
        (np.zeros((20, 7), np.float64), torch.float32),
        (np.zeros((20, 3, 8, 8), np.uint8), torch.float32),
    ],
)
def test_whole_numbers_stay_whole_and_the_rest_takes_the_precision_of_the_run(x, dtype):
    feed = fed(Feed, x)
    assert feed.batch(0)[0].dtype == dtype
    assert feed.test(slice(0, 2))[0].dtype == dtype
