"""Data sets of Hugging Face: splits with named columns, from memory and, by name, from the hub."""

import io
import sys
import types

import numpy as np
import pytest
from PIL import Image

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.data import hub, load, read


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets")


def splits(datasets, **columns):
    """The same columns in train and validation, and hidden labels in another part."""
    rows = {"label": [0, 1, 1, 0], **columns}
    kind = datasets.Features(
        {
            name: datasets.ClassLabel(names=["no", "yes", "perhaps"])
            if name == "label"
            else datasets.Dataset.from_dict({name: values}).features[name]
            for name, values in rows.items()
        }
    )
    part = datasets.Dataset.from_dict(rows, features=kind)
    return datasets.DatasetDict({"train": part, "validation": part.select([3, 0])})


def test_numbers_of_a_dict_of_splits_are_features(datasets):
    arrays = read(splits(datasets, a=[1.0, 2.0, 3.0, 4.0], b=[[5, 6]] * 4))
    assert arrays.train_x.tolist() == [[i, 5, 6] for i in (1, 2, 3, 4)]
    assert arrays.test_x[:, 0].tolist() == [4, 1]
    assert arrays.test_y.tolist() == [0, 0]
    assert arrays.classes == ("no", "yes", "perhaps")
    assert arrays.notes == ("dataset: column label: 2 of 3 classes occur",)


def test_a_dict_of_splits_may_come_with_the_name_of_its_labels(datasets):
    given = splits(datasets, a=[1.0, 2.0, 3.0, 4.0], kind=[0, 0, 1, 1])
    arrays = read((given, "kind"))
    assert arrays.train_y.tolist() == [0, 0, 1, 1]
    assert arrays.input_shape == (2,)  # a, and what is called label


def test_texts_of_a_split_are_cut_into_tokens(datasets):
    given = {"data": splits(datasets, sentence=["a", "b c", "d", "e"]), "text": "sentence"}
    arrays = read({**given, "length": 2}, tokenizer="words:50")
    assert arrays.input_shape == (2,)
    with pytest.raises(ConfigError, match="column sentence holds texts; use model transformer"):
        read(given)


def test_images_of_a_split_are_seen_as_files_are(datasets, tmp_path):
    content = io.BytesIO()
    Image.fromarray(np.full((4, 5), 9, np.uint8)).save(content, "PNG")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    images = [{"bytes": content.getvalue(), "path": None}, {"bytes": None, "path": None}]
    images[1]["path"] = str(tmp_path / "a.png")
    rows = {"image": images, "label": [0, 1]}
    kind = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    part = datasets.Dataset.from_dict(rows, features=kind)
    arrays = read(datasets.DatasetDict({"train": part, "test": part}))
    assert arrays.input_shape == (1, 4, 5)
    assert (arrays.train_x == 9).all()


def test_a_split_by_itself_gets_a_test_part_and_a_stream_is_refused(datasets):
    part = splits(datasets, a=[1.0, 2.0, 3.0, 4.0])["train"]
    assert len(read(part).test_x) == 1
    with pytest.raises(DataError, match="stream .IterableDataset.; load it without streaming"):
        read(part.to_iterable_dataset())
    with pytest.raises(DataError, match="has no split train, only validation"):
        read(datasets.DatasetDict({"validation": part}))


# ---- by name; the hub is played


class Split:
    """What `datasets` gives, as far as it is used."""

    def __init__(self, **columns):
        import pyarrow as pa

        self.table = pa.table(columns)

    column_names = property(lambda self: self.table.column_names)

    format = {"type": None, "columns": None, "output_all_columns": False}

    def with_format(self, kind, columns):
        assert (kind, columns) == ("arrow", None)
        return self

    def __getitem__(self, rows):
        return self.table

    num_rows = property(lambda self: self.table.num_rows)


Split.__module__ = "datasets.arrow_dataset"


@pytest.fixture
def played(monkeypatch):
    """A module `datasets` with one data set, and whether the hub is reachable."""
    asked = []

    def load_dataset(path, name=None, revision=None):
        asked.append((path, name, revision, module.config.HF_HUB_OFFLINE))
        if path != "owner/blobs":
            raise FileNotFoundError(f"Dataset '{path}' doesn't exist on the Hub\nor is gated")
        part = Split(a=[1.0, 2.0, 3.0, 4.0], kind=[0, 1, 1, 0], user=["u", "v", "u", "v"])
        return {"train": part, "validation": part, "extra": part}

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset
    module.config = types.SimpleNamespace(HF_HUB_OFFLINE=False)
    module.utils = types.SimpleNamespace(
        logging=types.SimpleNamespace(
            get_verbosity=lambda: 30, set_verbosity=lambda level: None, set_verbosity_error=list
        )
    )
    module.is_progress_bar_enabled = lambda: True
    module.disable_progress_bar = module.enable_progress_bar = lambda: None
    monkeypatch.setitem(sys.modules, "datasets", module)
    monkeypatch.setattr(hub, "check_reachable", lambda: None)
    return asked


def test_a_data_set_of_the_hub_is_read_with_its_columns_named(played):
    arrays = load("hub", path="owner/blobs", label="kind", leave_out=["user"], revision="abc")
    assert arrays.train_x.tolist() == [[1], [2], [3], [4]]
    assert played == [("owner/blobs", None, "abc", False)]
    arrays = load("hub", path="owner/blobs", label="kind", columns=("user",), test="extra")
    assert arrays.columns["user"].names == ("u", "v")


def test_where_the_hub_cannot_be_reached_its_cache_is_asked(played, monkeypatch):
    def unreachable():
        raise ConnectionError("https://huggingface.co cannot be reached: no route")

    monkeypatch.setattr(hub, "check_reachable", unreachable)
    assert len(load("hub", path="owner/blobs", label="kind", leave_out=["user"]).train_x) == 4
    assert played[-1][-1] is True
    assert sys.modules["datasets"].config.HF_HUB_OFFLINE is False
    with pytest.raises(DataError, match="hf:owner/nothing is not to be had .* cannot be reached"):
        load("hub", path="owner/nothing")


@pytest.mark.parametrize(
    ("settings", "kind", "complaint"),
    [
        (
            {"path": "owner/nothing"},
            DataError,
            "hf:owner/nothing is not to be had .Dataset 'owner/n",
        ),
        ({"path": "../etc"}, ConfigError, "dataset hf:../etc: a name on the hub is owner/name"),
        ({"path": ""}, ConfigError, "a name on the hub is owner/name"),
        ({"path": "owner/blobs", "train": "all"}, DataError, "no split all, only train, valid"),
        ({"path": "owner/blobs", "test": "all"}, DataError, "no split all, only train, validat"),
        ({"path": "owner/blobs"}, DataError, "which column is the label, of a, kind, user. Set"),
        ({"path": "owner/blobs", "label": "knd"}, DataError, r"no column 'knd'; did you mean kind"),
    ],
)
def test_what_is_not_there_is_told_in_one_clear_line(played, settings, kind, complaint):
    with pytest.raises(kind, match=complaint) as error:
        load("hub", **settings)
    assert "\n" not in str(error.value)


def test_a_folder_of_that_name_is_not_taken_for_what_is_on_the_hub(played, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "blobs").mkdir(parents=True)
    with pytest.raises(ConfigError, match="there is a folder of that name here; start elsewhere"):
        load("hub", path="owner/blobs", label="kind")
    assert played == []


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"needs the package datasets: pip install 'p2pqg\[data\]'"):
        load("hub", path="owner/name")


def test_what_a_data_set_is_set_to_show_is_what_is_read(datasets):
    rows = datasets.Dataset.from_dict({"a": [1.5, 2.5] * 5, "b": [0.5] * 10, "label": [0, 1] * 5})
    shown = rows.with_format("numpy", columns=["a", "label"])
    assert read(shown).input_shape == (1,)
    everything = rows.with_format("numpy", columns=["a"], output_all_columns=True)
    assert read(everything).input_shape == (2,)
    with pytest.raises(DataError, match=r"has a transform .set_transform., .*; use map instead"):
        read(rows.with_transform(lambda batch: {"a": batch["b"], "label": batch["label"]}))


def test_what_was_saved_to_disk_is_what_it_was(datasets, tmp_path):
    from p2pqg.recipe.parts import dataset_of
    from p2pqg.recipe.settings import RunConfig

    given = splits(datasets, a=[1.0, 2.0, 3.0, 4.0], b=[[5, 6]] * 4)
    given.save_to_disk(tmp_path / "both")
    given["train"].save_to_disk(tmp_path / "one")

    def loaded(folder, **settings):
        config = RunConfig(topology="ring4", dataset={"name": str(folder), **settings})
        part, _ = dataset_of(config)
        part = part.as_it_is(None)
        values = {f: getattr(part.params, f) for f in ("path", "train", "test", "label", "content")}
        return part.name, load(part.name, **values, test_share=0.5), values

    name, arrays, values = loaded(tmp_path / "both")
    expected = read(given)
    assert name == "saved"
    for own in ("train_x", "train_y", "test_x", "test_y"):
        np.testing.assert_array_equal(getattr(arrays, own), getattr(expected, own))
    _, swapped, _ = loaded(tmp_path / "both", train="validation", test="train")
    np.testing.assert_array_equal(swapped.train_x, expected.test_x)
    with pytest.raises(DataError, match="both has no split dev, only train, validation"):
        loaded(tmp_path / "both", test="dev")
    _, halves, _ = loaded(tmp_path / "one", label="label")
    assert (len(halves.train_x), len(halves.test_x)) == (2, 2)
    again = datasets.load_from_disk(tmp_path / "both")["train"].filter(lambda row: row["a"] > 1)
    assert len(again) == 3  # kept beside the samples
    assert list((tmp_path / "both" / "train").glob("cache-*.arrow"))
    np.testing.assert_array_equal(load("saved", **values).train_x, expected.train_x)
    table = next((tmp_path / "both" / "train").glob("data-*.arrow"))
    table.write_bytes(next((tmp_path / "both" / "validation").glob("*.arrow")).read_bytes())
    with pytest.raises(DataError, match="the content has changed since the run began"):
        load("saved", **values)


def test_the_split_that_is_named_is_learned_from_also_where_another_is_called_train():
    """The one called train had been, without a word, unless the test was named, too."""
    splits = {"train": 0, "small": 1, "test": 2}
    assert hub.chosen_splits(splits, "small", "", "it") == {"train": 1, "test": 2}
    assert hub.chosen_splits(splits, "test", "", "it") == {"train": 2, "small": 1}
    assert hub.chosen_splits(splits, "train", "", "it") == splits


def test_a_folder_of_parquet_files_with_what_is_known_of_them_is_read_as_such(datasets, tmp_path):
    from p2pqg.data._paths import named

    given = splits(datasets, text=["a", "b", "c", "d"])
    for name, rows in given.items():
        rows.to_parquet(tmp_path / f"{name}.parquet")
    given["train"].info.write_to_directory(str(tmp_path))
    assert (tmp_path / "dataset_info.json").is_file()
    assert named(str(tmp_path), None, {})[0] == "texts"
