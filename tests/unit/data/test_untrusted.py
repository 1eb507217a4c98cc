"""Data from strangers: bombs, links and paths that lead elsewhere are refused, or do no harm."""

import io
import os
import struct
import zipfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.lib import format as npy
from PIL import Image

from p2pqg.base.errors import DataError
from p2pqg.data import load
from p2pqg.data._npz import read_npz

PIXELS = np.random.default_rng(0).integers(0, 256, size=(4, 4, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """train/ and test/, one image of two classes each."""
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            Image.fromarray(PIXELS).save(tmp_path / "photos" / part / name / "0.png")
    return tmp_path / "photos"


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr("p2pqg.base.memory.available_memory", lambda: 2**20)


def refused(act, complaint):
    with pytest.raises(DataError, match=complaint) as error:
        act()
    assert "\n" not in str(error.value)


# ---- folders of images


def test_hidden_files_leftovers_and_empty_folders_are_no_samples(folder):
    before = load("images", folder)
    for home in (folder, folder / "train", folder / "train" / "cat"):
        for hidden in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"):
            (home / hidden).mkdir()
            Image.fromarray(PIXELS).save(home / hidden / "0-checkpoint.png")
        (home / "._0.png").write_bytes(b"\0\5\x16\7")
        (home / ".DS_Store").write_bytes(b"Bud1")
        (home / "Thumbs.db").write_bytes(b"\xd0\xcf")
    after = load("images", folder)
    np.testing.assert_array_equal(after.train_x, before.train_x)
    assert after.classes == ("cat", "dog")
    assert after.notes == before.notes == ()


def test_empty_folders_are_no_classes_and_that_is_said(folder):
    (folder / "train" / "ape").mkdir()
    (folder / "test" / "yak").mkdir()
    arrays = load("images", folder)
    assert arrays.classes == ("cat", "dog")
    assert arrays.notes == (
        f"{folder / 'train'}: 1 folder without images: ape",
        f"{folder / 'test'}: 1 folder without images: yak",
    )


def test_other_kinds_of_images_are_read_or_named(folder):
    for name in ("1.webp", "2.bmp", "3.gif", "4.tiff", "5.tif", "6.ppm"):
        Image.fromarray(PIXELS).save(folder / "train" / "cat" / name, lossless=True)
    (folder / "train" / "dog" / "labels.txt").write_text("dog")
    (folder / "train" / "0.png").write_bytes(b"")
    arrays = load("images", folder)
    np.testing.assert_array_equal(arrays.train_x, np.stack([PIXELS.transpose(2, 0, 1)] * 7))
    said = [note for note in arrays.notes if "not read" in note]
    (note,) = said
    for kind in ("1 .gif", "1 .txt", "1 files beside the folders of the classes"):
        assert kind in note


def test_copies_inside_a_class_are_said(folder):
    for name in ("0 (copy).png", "sub/0.png"):
        (folder / "train" / "cat" / name).parent.mkdir(exist_ok=True)
        (folder / "train" / "cat" / name).write_bytes(
            (folder / "train" / "cat" / "0.png").read_bytes()
        )
    arrays = load("images", folder)
    assert arrays.train_y.tolist() == [0, 0, 0, 1]
    (note,) = arrays.notes
    assert "2 of 4 images are in their class twice, and count twice" in note


def test_a_class_without_test_images_is_said(folder):
    (folder / "test" / "dog" / "0.png").unlink()
    arrays = load("images", folder)
    assert any("no images of dog" in note for note in arrays.notes)
    assert arrays.num_classes == 2


def test_links_that_lead_nowhere_in_circles_or_to_devices_stop_nothing(folder):
    cat = folder / "train" / "cat"
    (cat / "dangling.png").symlink_to(folder / "nowhere.png")
    (cat / "zeros.png").symlink_to("/dev/zero")
    (cat / "circle").symlink_to(cat)
    (folder / "train" / "circle").symlink_to(folder / "train" / "circle")
    os.mkfifo(cat / "pipe.png")
    (folder / "train" / "elsewhere").symlink_to(folder / "test" / "cat")  # a class of its own
    arrays = load("images", folder)
    assert arrays.classes == ("cat", "dog", "elsewhere")
    assert len(arrays.train_x) == 3
    said = "\n".join(arrays.notes)
    assert "3 that are no files" in said
    assert "1 links to folders" in said


def huge_png(side):
    """A few bytes that claim side x side pixels."""

    def chunk(kind, content):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [8200, 12_000, 100_000])
def test_an_image_bomb_is_refused_before_it_is_unpacked(folder, side):
    (folder / "train" / "cat" / "0.png").write_bytes(huge_png(side))
    refused(
        lambda: load("images", folder),
        f"0.png has {side} x {side} pixels|0.png is too large; images of at most 67,108,864",
    )


def test_more_images_than_fit_into_memory_are_refused(folder, little_memory):
    for path in folder.glob("train/*/0.png"):
        Image.new("L", (800, 800)).save(path)
    refused(lambda: load("images", folder), r"2 images would take 2.6 MB .* 1.0 MB are free")


# ---- Parquet


def test_a_path_beside_an_image_is_never_followed(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "secret.png")
    (tmp_path / "data").mkdir()
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([{"bytes": None, "path": "../secret.png"}], kind)
    for part in ("train", "test"):
        pq.write_table(
            pa.table({"image": images, "label": [0]}), tmp_path / "data" / f"{part}.parquet"
        )
    refused(lambda: load("images", tmp_path / "data"), "row 0 is empty")


def test_a_small_parquet_file_with_huge_columns_is_refused_on_the_way(tmp_path, little_memory):
    text = "a" * 10**6
    for part in ("train", "test"):
        path = tmp_path / f"{part}.parquet"
        pq.write_table(pa.table({"text": [text] * 50, "label": [0] * 50}), path)
        assert path.stat().st_size < 10**5
    refused(lambda: load("texts", tmp_path, "words:50"), r"bytes and more would take .* are free")


# ---- npz


def member(array_header, content=b""):
    file = io.BytesIO()
    npy.write_array_header_1_0(file, array_header)
    return file.getvalue() + content


def header(shape, dtype="<f8"):
    return {"descr": dtype, "fortran_order": False, "shape": shape}


def write_npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stored:
        for name, content in members.items():
            stored.writestr(f"{name}.npy", content)
    return path


def test_arrays_are_read_as_numpy_wrote_them(tmp_path):
    arrays = {
        "x": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "texts": np.array(["ä", "bc"]),
        "none": np.zeros((0, 3), np.float32),
        "scalar": np.array(7),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, little_memory):
    zeros = member(header((5 * 10**6,)), bytes(40 * 10**6))
    path = write_npz(tmp_path / "bomb.npz", x=zeros)
    assert path.stat().st_size < 10**5
    refused(lambda: read_npz(path), r"bomb.npz would take 40.0 MB of memory, 1.0 MB are free")


@pytest.mark.parametrize("shape", [(10**15,), (2**62, 2**62), (3,)])
def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path, shape):
    path = write_npz(tmp_path / "liar.npz", x=member(header(shape), bytes(16)))
    refused(lambda: read_npz(path), "liar.npz: x says it has .* bytes, but the file has fewer")


def test_objects_are_not_read_and_names_that_lead_elsewhere_write_nothing(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    refused(lambda: read_npz(tmp_path / "objects.npz"), "holds Python objects, which are not read")
    (tmp_path / "here").mkdir()
    write_npz(tmp_path / "here" / "a.npz", **{"../evil": member(header((1,)), bytes(8))})
    before = sorted(tmp_path.rglob("*"))
    assert read_npz(tmp_path / "here" / "a.npz")["../evil"].tolist() == [0.0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"PK\3\4 no more", b"\x93NUMPY"])
def test_what_is_no_npz_file_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    refused(lambda: read_npz(tmp_path / "a.npz"), "a.npz: not a readable .npz file")


def test_the_official_batches_of_imagenet32_are_no_way_in(tmp_path, little_memory):
    zeros = member(header((5 * 10**6,)), bytes(40 * 10**6))
    for name in ("train_data_batch_1.npz", "val_data.npz"):
        write_npz(tmp_path / name, data=zeros, labels=zeros)
    refused(lambda: load("imagenet32", tmp_path), "would take 80.0 MB of memory")
