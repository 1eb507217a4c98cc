"""Images by path, ImageNet's official batches, and what a folder is taken for."""

import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.data import by_path, images, load

PIXELS = np.random.default_rng(0).integers(0, 256, size=(6, 8, 12, 3), dtype=np.uint8)
CLASSES = ("cat", "dog", "emu")


@pytest.fixture
def folder(tmp_path):
    """train/ and test/, two images of each class."""
    for part in ("train", "test"):
        for i, image in enumerate(PIXELS):
            path = tmp_path / "photos" / part / CLASSES[i // 2] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return tmp_path / "photos"


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_parquet(path, labels=(0, 0, 1, 1, 2, 2), names=None):
    table = pa.table({"image": [{"bytes": png(p), "path": ""} for p in PIXELS], "label": labels})
    if names:
        about = '{"info": {"features": {"label": {"names": %s, "_type": "ClassLabel"}}}}'
        metadata = {"huggingface": about % str(list(names)).replace("'", '"')}
        table = table.replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_a_folder_per_class_becomes_arrays(folder):
    arrays = load("images", folder)
    np.testing.assert_array_equal(arrays.train_x, PIXELS.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(arrays.test_y, [0, 0, 1, 1, 2, 2])
    assert (arrays.num_classes, arrays.input_shape) == (3, (3, 8, 12))
    assert arrays.augmentation is None
    assert load("images", folder, augmentation="crop-flip").augmentation == "crop-flip"


def test_of_class_folders_alone_a_share_is_held_out(folder):
    arrays = load("images", folder / "train", test_share=0.5)
    assert (len(arrays.train_x), len(arrays.test_x), arrays.drawn) == (3, 3, 3)
    both = np.concatenate([arrays.train_x, arrays.test_x])
    labels = np.concatenate([arrays.train_y, arrays.test_y])
    for image, label in zip(both, labels, strict=True):
        (which,) = (i for i, own in enumerate(PIXELS) if (own.transpose(2, 0, 1) == image).all())
        assert label == which // 2
    assert arrays.classes == CLASSES
    assert "3 samples of 6, drawn once for all seeds, are held out" in "\n".join(arrays.notes)


def test_parts_by_other_names_are_not_taken_for_classes(folder):
    (folder / "train").rename(folder / "training")
    (folder / "test").rename(folder / "testing")
    with pytest.raises(DataError, match=r"needs train/ and test/ with a folder per class, or"):
        load("images", folder)


def test_gray_images_stay_gray(folder):
    for path in folder.glob("*/*/*.png"):
        Image.open(path).convert("L").save(path)
    arrays = load("images", folder)
    assert arrays.input_shape == (1, 8, 12)
    assert arrays.mean == (0.5,)


def test_images_of_many_sizes_are_scaled_and_cut_to_one(folder):
    Image.new("RGB", (40, 20), (9, 9, 9)).save(folder / "train" / "cat" / "9.png")
    with pytest.raises(DataError, match=r"9.png has 40 x 20 .* 12 x 8; set dataset.side"):
        load("images", folder)
    arrays = load("images", folder, side=4)
    assert arrays.train_x.shape == (7, 3, 4, 4)
    assert (arrays.train_x[2] == 9).all()


def test_images_are_decoded_once(folder, monkeypatch):
    first = load("images", folder)
    monkeypatch.setattr(images, "pixels", None)
    np.testing.assert_array_equal(load("images", folder).train_x, first.train_x)


def test_labels_of_a_test_are_those_of_the_classes_that_training_has_by_now(folder):
    """They were remembered with its images: a class that came later moved those of training."""
    assert load("images", folder).test_y.tolist() == [0, 0, 1, 1, 2, 2]
    (folder / "train" / "ant").mkdir()
    Image.fromarray(PIXELS[0]).save(folder / "train" / "ant" / "9.png")
    arrays = load("images", folder)
    assert [arrays.classes[y] for y in arrays.test_y] == [c for c in CLASSES for _ in range(2)]


def test_parquet_files_say_how_many_classes_there_are(tmp_path):
    folder = tmp_path / "data" / "here"
    write_parquet(folder / "data" / "train-00000-of-00001.parquet")
    write_parquet(folder / "data" / "validation-00000-of-00001.parquet")
    arrays = load("images", folder)
    np.testing.assert_array_equal(arrays.train_x, PIXELS.transpose(0, 3, 1, 2))
    assert arrays.num_classes == 3
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", names="abcde")
    assert load("images", folder).num_classes == 5
    write_parquet(folder / "data" / "validation-00000-of-00001.parquet", names="acb")
    with pytest.raises(DataError, match="validation.* label 1 is 'c', and 'b' in the samples befo"):
        load("images", folder)
    write_parquet(folder / "data" / "train-00001-of-00001.parquet", names="acbde")
    with pytest.raises(DataError, match="train-00001.* label 1 is 'c', and 'b' in train-00000"):
        load("images", folder)
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", names="abc")
    write_parquet(folder / "data" / "train-00001-of-00001.parquet", names="abcde")
    write_parquet(folder / "data" / "train-00002-of-00001.parquet", names="abced")
    with pytest.raises(DataError, match="train-00002.* label 3 is 'e', and 'd' in train-00001"):
        load("images", folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "test").rename(folder / "x"), "needs train/ and test/ with a"),
        (lambda folder: (folder / "test/cat").rename(folder / "test/yak"), "yak is not in .*train"),
        (lambda folder: (folder / "train/cat/0.png").write_bytes(b"-"), "0.png is no image that"),
        (
            lambda folder: [path.unlink() for path in folder.glob("test/*/*")],
            "test: no images there; it needs a folder per class",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message) as error:
        load("images", folder)
    assert "\n" not in str(error.value)


def test_images_need_a_folder_and_sensible_settings(folder, tmp_path):
    with pytest.raises(DataError, match="dataset images needs data_dir, an existing folder"):
        load("images")
    with pytest.raises(ConfigError, match="dataset.side must be >= 0, got -1"):
        load("images", folder, side=-1)
    with pytest.raises(ConfigError, match="augmentation must be none or crop-flip, got 'flip'"):
        load("images", folder, augmentation="flip")


def test_of_a_test_and_a_val_it_is_the_test_that_is_tested_if_it_has_classes(folder):
    """One's own images were tested with val/, where there was one beside test/."""
    (folder / "val" / "cat").mkdir(parents=True)
    Image.fromarray(PIXELS[0]).save(folder / "val" / "cat" / "0.png")
    assert len(load("images", folder).test_y) == 6
    assert len(load("imagenet", folder).test_y) == 1  # whose own test has no labels
    (folder / "test").rename(folder / "kept")
    (folder / "test").mkdir()
    assert len(load("images", folder).test_y) == 1


def test_imagenet_stays_on_disk_and_knows_its_classes(folder):
    (folder / "test").rename(folder / "val")
    arrays = load("imagenet", folder, side=16)
    assert arrays.input_shape == (3, 16, 16)
    assert arrays.train_x[0] == str(folder / "train" / "cat" / "0.png").encode()
    np.testing.assert_array_equal(arrays.train_y, [0, 0, 1, 1, 2, 2])
    assert arrays.num_classes == 3
    assert arrays.augmentation == "resized-crop"


@pytest.mark.parametrize("name", ["imagenet", "imagenet32"])
def test_imagenet_cannot_be_downloaded(name, tmp_path):
    with pytest.raises(DataError, match=f"{name} is not in .* cannot be downloaded .*data_dir to"):
        load(name, tmp_path)
    with pytest.raises(DataError, match=f"{name} is not in the cache"):
        load(name)


def batch(first, images=4):
    """Rows of 3,072 bytes whose first says which image it is, labels 1 .. 1000."""
    data = np.zeros((images, 3072), dtype=np.uint8)
    data[:, 0] = first + np.arange(images)
    return {"data": data, "labels": [1 + (first + i) * 37 % 1000 for i in range(images)]}


@pytest.fixture(params=["pickle", "old pickle", "npz"])
def batches(request, tmp_path):
    folder = tmp_path / "imagenet32"
    (folder / "train").mkdir(parents=True)
    parts = {f"train/train_data_batch_{i}": batch(4 * i) for i in range(1, 11)}
    for name, content in (parts | {"val_data": batch(0, 2)}).items():
        if request.param == "npz":
            np.savez(folder / f"{name}.npz", **content)
        else:
            written = pickle.dumps(content, protocol=2)
            if request.param == "old pickle":
                written = written.replace(b"cnumpy._core.", b"cnumpy.core.")
            (folder / name).write_bytes(written)
    return folder


def test_the_official_batches_are_read_in_order(batches):
    arrays = load("imagenet32", batches.parent)
    assert arrays.train_x.shape == (40, 3, 32, 32)
    np.testing.assert_array_equal(arrays.train_x[:, 0, 0, 0], 4 + np.arange(40))
    np.testing.assert_array_equal(arrays.train_y, (4 + np.arange(40)) * 37 % 1000)
    np.testing.assert_array_equal(arrays.test_y, [0, 37])
    assert arrays.num_classes == 1000
    assert arrays.augmentation == "crop-flip"


class Harmful:
    def __reduce__(self):
        return print, ("this must not run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no pickle", "val_data: not a batch of imagenet32"),
        (pickle.dumps({"data": Harmful()}), "builtins.print has no place in a data set"),
        (pickle.dumps(batch(0) | {"labels": [0, 1, 2, 3]}), "needs a label 1 .. 1000 for each"),
        (pickle.dumps(batch(0) | {"labels": [1, 2]}), "needs a label 1 .. 1000 for each"),
    ],
)
def test_a_broken_batch_is_named_and_runs_nothing(tmp_path, capfd, content, message):
    (tmp_path / "train_data_batch_1").write_bytes(pickle.dumps(batch(0)))
    (tmp_path / "val_data").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        load("imagenet32", tmp_path)
    assert "\n" not in str(error.value)
    assert capfd.readouterr().out == ""


def test_of_parquet_files_validation_is_the_part_with_labels(tmp_path):
    small = PIXELS[:, :8, :8]
    for part, label in (("train", 3), ("validation", 5), ("test", -1)):
        images = [{"bytes": png(np.tile(p, (4, 4, 1))), "path": ""} for p in small]
        pq.write_table(
            pa.table({"image": images, "label": [label] * 6}),
            tmp_path / f"{part}-00000-of-00001.parquet",
        )
    arrays = load("imagenet32", tmp_path)
    assert set(arrays.train_y) == {3}
    assert set(arrays.test_y) == {5}


def test_a_folder_is_taken_for_what_is_in_it(folder, tmp_path, monkeypatch):
    assert by_path("digits", "somewhere") == ("digits", "somewhere")
    assert by_path("digit") == ("digit", None)  # refused later, with a better guess
    assert by_path(str(folder)) == ("images", str(folder))
    monkeypatch.chdir(folder.parent)
    assert by_path(folder.name) == ("images", str(folder))
    news = tmp_path / "news"
    news.mkdir()
    pq.write_table(pa.table({"sentence": ["a"], "label": [0]}), news / "train.parquet")
    assert by_path(str(news)) == ("texts", str(news))


def test_names_beyond_ascii_are_read_in_any_locale(folder):
    (folder / "train" / "cat").rename(folder / "train" / "Zürich ☂")
    (folder / "test" / "cat").rename(folder / "test" / "Zürich ☂")
    code = f"import p2pqg.data as d; print(ascii(d.load('images', {str(folder)!r}).classes))"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | plain, capture_output=True, text=True
    )
    assert found.stderr == ""
    assert found.stdout.strip() == ascii(load("images", folder).classes)
    assert load("images", folder).classes == ("Zürich ☂", "dog", "emu")
