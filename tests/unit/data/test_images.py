"""The image loader: what it reads, what it remembers, and what it says about broken input."""

import gzip
import io
import os
import urllib.error
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from p2pqg.base.errors import DataError
from p2pqg.base.hub import no_downloads
from p2pqg.data import _images, load

PIXELS = np.random.default_rng(0).integers(0, 256, size=(6, 32, 32, 3), dtype=np.uint8)
LABELS = [3, 1, 4, 1, 5, 9]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("train", "test"):
        write(folder / f"{name}.parquet")
    return folder


def png(pixels, kind="PNG"):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def write(path, images=None, labels=LABELS, image_column="img", label_column="label", struct=True):
    images = [png(pixels) for pixels in PIXELS] if images is None else images
    if struct:
        images = [{"bytes": content, "path": None} for content in images]
    pq.write_table(pa.table({image_column: images, label_column: labels}), path)


def test_png_images_come_back_pixel_by_pixel(folder):
    arrays = load("cifar10", folder)
    np.testing.assert_array_equal(arrays.train_x, PIXELS.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(arrays.test_y, LABELS)
    assert arrays.train_x.dtype == np.uint8
    assert arrays.train_y.dtype == np.int64
    assert arrays.input_shape == (3, 32, 32)
    assert arrays.augmentation == "crop-flip"


def test_jpeg_images_and_plain_bytes_are_read_too(folder):
    smooth = np.tile(np.arange(32, dtype=np.uint8)[:, None, None] * 8, (6, 1, 32, 3))
    jpegs = [png(pixels, "JPEG") for pixels in smooth]
    write(folder / "train.parquet", jpegs, image_column="image", struct=False)
    found = load("cifar10", folder).train_x.astype(int)
    assert np.abs(found - smooth.transpose(0, 3, 1, 2)).max() < 10


def test_the_folder_above_will_do_if_it_is_called_like_the_data_set(folder):
    folder.rename(folder.with_name("cifar10"))
    assert len(load("cifar10", folder.parent).train_x) == 6


def test_gray_images_have_one_channel(folder):
    images = [png(pixels[:28, :28, 0]) for pixels in PIXELS]
    for name in ("train", "test"):
        write(folder / f"{name}.parquet", images, image_column="image")
    found = load("mnist", folder).train_x
    np.testing.assert_array_equal(found[:, 0], PIXELS[:, :28, :28, 0])


def test_cifar100_takes_the_fine_labels(folder):
    for name in ("train", "test"):
        write(folder / f"{name}.parquet", label_column="fine_label", labels=[99, 0, 1, 2, 3, 4])
    assert load("cifar100", folder).train_y[0] == 99


def test_a_second_load_decodes_nothing(folder, monkeypatch):
    first = load("cifar10", folder)
    monkeypatch.setattr(_images, "pixels", None)
    second = load("cifar10", folder)
    np.testing.assert_array_equal(first.train_x, second.train_x)
    np.testing.assert_array_equal(first.train_y, second.train_y)
    second.train_x[0] = 0  # torch wants a writable array; the cache must not feel it
    np.testing.assert_array_equal(load("cifar10", folder).train_x, first.train_x)


def test_a_changed_file_is_decoded_anew(folder):
    load("cifar10", folder)
    write(folder / "train.parquet", labels=LABELS[::-1])
    np.testing.assert_array_equal(load("cifar10", folder).train_y, LABELS[::-1])


def test_a_cache_that_was_cut_short_is_written_anew(folder, cache):
    first = load("cifar10", folder)
    for stored in cache.iterdir():
        os.truncate(stored, stored.stat().st_size // 2)
    np.testing.assert_array_equal(load("cifar10", folder).train_x, first.train_x)


def test_a_cache_of_an_older_version_is_read(folder, cache, monkeypatch):
    first = load("cifar10", folder)
    for content in cache.glob("*-content.txt"):
        content.unlink()
    monkeypatch.setattr(_images, "pixels", None)
    np.testing.assert_array_equal(load("cifar10", folder).train_x, first.train_x)


def test_a_cache_that_cannot_be_written_costs_only_a_warning(folder, cache):
    cache.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="set P2PQG_CACHE"):
        assert len(load("cifar10", folder).train_x) == 6


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda path: path.unlink(), "no such file; train.parquet and test.parquet belong"),
        (lambda path: path.write_bytes(b"PAR1 and nothing else"), "not a readable Parquet file"),
        (lambda path: os.truncate(path, 500), "not a readable Parquet file"),
        (lambda path: write(path, image_column="x"), "needs a column img or image .* has x, label"),
        (lambda path: write(path, label_column="y"), "and a column label, has img, y"),
        (lambda path: write(path, ["text"] * 6, struct=False), "must hold PNG or JPEG bytes"),
        (lambda path: write(path, labels=["a"] * 6), "must hold an integer in every row"),
        (lambda path: write(path, labels=[1, None, 1, 1, 1, 1]), "6 rows of int64, 1 of them null"),
        (lambda path: write(path, labels=[0, 1, 2, 3, 4, 10]), "must be 0 .. 9, found 0 .. 10"),
        (lambda path: write(path, [b"no image"] * 6), "row 0 is no image .*5 more are broken, too"),
        (lambda path: write(path, [None] + [png(PIXELS[0])] * 5), "row 0 is empty; fetch it again"),
        (lambda path: write(path, [png(PIXELS[0])[:99]] * 6), "row 0 is cut short or broken"),
        (
            lambda path: write(path, [png(PIXELS[0, :8])] * 6),
            "row 0 has 32 x 8 pixels, the others have 32 x 32",
        ),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(folder, broken, message):
    broken(folder / "test.parquet")
    with pytest.raises(DataError, match=message) as caught:
        load("cifar10", folder)
    assert str(folder / "test.parquet") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="data_dir must be an existing folder, got .*nowhere"):
        load("cifar10", tmp_path / "nowhere")


def test_without_network_nothing_is_left_behind(tmp_path, cache, monkeypatch):
    import torchvision

    def interrupted(root, **keywords):
        (Path(root) / "half.tar.gz").write_bytes(b"half")
        raise urllib.error.URLError("tried one mirror,\nno route to host\n")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", interrupted)
    with pytest.raises(DataError, match="could not be downloaded .*mirror, no route.*data_dir"):
        load("cifar10", tmp_path)
    assert list(cache.iterdir()) == []


def test_where_downloads_are_forbidden_none_is_tried(cache, monkeypatch):
    import torchvision

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", None)
    with (
        no_downloads(),
        pytest.raises(DataError, match=r"downloaded \(downloads are not allowed here\); point"),
    ):
        load("cifar10")
    assert not cache.exists()


def idx(array):
    """The format of the MNIST files: magic number with the dimensions, sizes, bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_mnist(folder):
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for name, array in (("images-idx3", PIXELS[:, :28, :28, 0]), ("labels-idx1", LABELS)):
            content = idx(np.asarray(array))
            (raw / f"{part}-{name}-ubyte").write_bytes(content)
            (raw / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content))


def test_torchvisions_own_layout_is_read(tmp_path):
    write_mnist(tmp_path)
    arrays = load("mnist", tmp_path)
    np.testing.assert_array_equal(arrays.train_x[:, 0], PIXELS[:, :28, :28, 0])
    np.testing.assert_array_equal(arrays.test_y, LABELS)


def test_a_broken_layout_of_torchvision_is_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(DataError, match="cannot read mnist there .*remove MNIST/raw"):
        load("mnist", tmp_path)


def test_a_download_is_kept_and_found_again(cache, monkeypatch):
    import torchvision

    real, downloads = torchvision.datasets.MNIST, []

    def build(root, train, download=False):
        if download:
            downloads.append(train)
            if not (Path(root) / "MNIST").exists():
                write_mnist(Path(root))
        return real(root, train=train)

    monkeypatch.setattr(torchvision.datasets, "MNIST", build)
    for _ in range(2):
        assert len(load("mnist").train_x) == 6
    assert downloads == [True, False]
    assert [path.name for path in cache.iterdir()] == ["mnist"]


def test_the_real_cifar10_has_its_published_statistics():
    where = os.environ.get("P2PQG_DATA")
    if not where or not (Path(where) / "cifar10").is_dir():
        pytest.skip("needs CIFAR-10; set P2PQG_DATA to the folder that holds cifar10/")
    arrays = load("cifar10", where)
    assert arrays.train_x.shape == (50_000, 3, 32, 32)
    np.testing.assert_array_equal(np.bincount(arrays.train_y), [5000] * 10)
    np.testing.assert_array_equal(np.bincount(arrays.test_y), [1000] * 10)
    np.testing.assert_allclose(
        arrays.train_x[::10].mean(axis=(0, 2, 3)) / 255, arrays.mean, atol=0.005
    )
