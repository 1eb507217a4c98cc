"""The data sets that need no files, and what all of them have in common."""

import math
import subprocess
import sys

import numpy as np
import pytest

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.seeding import rng
from p2pqg.data import DATASETS, load
from p2pqg.recipe.settings import read_config
from p2pqg.simulation.build import build


def test_digits_are_those_of_scikit_learn():
    stored = pytest.importorskip("sklearn.datasets").load_digits()
    arrays = load("digits")
    order = rng(0, "digits").permutation(1797)
    np.testing.assert_array_equal(
        np.concatenate([arrays.train_x, arrays.test_x]), stored.data[order] / 16
    )
    np.testing.assert_array_equal(
        np.concatenate([arrays.train_y, arrays.test_y]), stored.target[order]
    )


def test_digits_have_the_documented_shapes_and_range():
    arrays = load("digits")
    assert arrays.train_x.shape == (1437, 64)
    assert arrays.test_x.shape == (360, 64)
    assert arrays.input_shape == (64,)
    assert arrays.train_x.dtype == np.float32
    assert arrays.train_y.dtype == np.int64
    assert (arrays.train_x.min(), arrays.train_x.max()) == (0, 1)
    assert set(arrays.test_y) == set(range(10))


def test_synthetic_labels_are_balanced_and_the_seed_decides():
    arrays = load("synthetic", samples=300, features=4, classes=3, seed=2)
    np.testing.assert_array_equal(np.bincount(arrays.train_y), [100, 100, 100])
    np.testing.assert_array_equal(np.bincount(arrays.test_y), [20, 20, 20])
    again = load("synthetic", samples=300, features=4, classes=3, seed=2)
    np.testing.assert_array_equal(arrays.train_x, again.train_x)
    assert not np.array_equal(arrays.train_x, load("synthetic", samples=300, features=4).train_x)


def test_two_synthetic_blobs_are_as_hard_as_their_distance_says():
    # Two unit Gaussians at distance d: the nearer center is right with probability Phi(d / 2).
    arrays = load("synthetic", samples=40_000, features=8, classes=2, separation=2.0)
    centers = np.stack([arrays.train_x[arrays.train_y == label].mean(axis=0) for label in (0, 1)])
    distances = np.linalg.norm(arrays.test_x[:, None] - centers, axis=2)
    accuracy = (distances.argmin(axis=1) == arrays.test_y).mean()
    d = np.linalg.norm(centers[0] - centers[1])
    expected = (1 + math.erf(d / 2 / math.sqrt(2))) / 2
    assert accuracy == pytest.approx(expected, abs=0.02)  # 5 standard errors of 8,000 samples


def test_synthetic_without_separation_has_equal_centers():
    arrays = load("synthetic", samples=20_000, features=3, classes=2, separation=0)
    means = [arrays.train_x[arrays.train_y == label].mean(axis=0) for label in (0, 1)]
    np.testing.assert_allclose(means, 0, atol=0.05)


def test_unknown_names_and_params_are_refused():
    with pytest.raises(ConfigError, match="unknown dataset 'digit'; did you mean digits"):
        load("digit")
    with pytest.raises(ConfigError, match="unknown key dataset.sample; did you mean samples"):
        load("synthetic", sample=3)
    with pytest.raises(ConfigError, match="2 problems(.|\n)*classes(.|\n)*separation"):
        load("synthetic", classes=0, separation=-1)
    with pytest.raises(ConfigError, match="samples must be >= classes"):
        load("synthetic", samples=3)


def test_every_data_set_says_which_model_and_where_from():
    for entry in DATASETS.values():
        assert entry.traits["model"]
        assert entry.source
        assert entry.summary


def test_importing_the_package_does_not_import_heavy_libraries():
    heavy = "{'torch', 'torchvision', 'pyarrow', 'pandas', 'PIL'}"
    code = (
        f"import sys, p2pqg.data as data; data.load('digits'); print(sys.modules.keys() & {heavy})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_synthetic_images_have_three_channels():
    arrays = load("synthetic", samples=20, image_side=8)
    assert arrays.train_x.shape == (20, 3, 8, 8)
    assert arrays.input_shape == (3, 8, 8)


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_a_folder_that_is_not_there_is_refused_also_where_none_is_needed(name, tmp_path):
    with pytest.raises(DataError, match="data_dir must be an existing folder, got .*nowhere"):
        load(name, tmp_path / "nowhere")
    for odd in ("x" * 5000, "~nobody-of-that-name", "a\0b"):
        with pytest.raises(DataError, match="data_dir must be an existing folder"):
            load(name, odd)


def test_a_folder_that_is_ignored_is_said_to_be(tmp_path):
    assert load("digits").notes == ()
    assert load("digits", tmp_path).notes == (
        f"data_dir {tmp_path} is ignored: digits needs no files",
    )


def test_notes_on_the_data_are_warnings_of_the_run(tmp_path):
    built = build(read_config({"topology": "ring4", "data_dir": str(tmp_path)}))
    assert f"data_dir {tmp_path} is ignored: digits needs no files" in built.warnings


@pytest.mark.parametrize(
    "sizes", [{"samples": 10**13}, {"features": 10**13}, {"image_side": 10**7}, {"classes": 10**4}]
)
def test_synthetic_samples_that_cannot_fit_are_refused_before_any_is_drawn(sizes, monkeypatch):
    monkeypatch.setattr("p2pqg.base.memory.available_memory", lambda: 2**20)
    with pytest.raises(DataError, match="dataset synthetic would take .* set fewer samples"):
        load("synthetic", **sizes)
