"""A user's own files: tables and arrays, bound to their content; and columns that go along."""

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.data import _scales, load, named, partition, read, split, usual_model
from p2pqg.data._reading import held_out_of
from p2pqg.data.table import Params

CSV = """\
age,dose,hospital,ill
30,0.5,Nord,1
41,1.5,Süd,0
52,2.5,Nord,0
63,3.5,West,1
74,4.5,Süd,1
"""
ROWS = [[30, 0.5], [41, 1.5], [52, 2.5], [63, 3.5], [74, 4.5]]
OWN = {"label": "ill", "leave_out": ["hospital"]}


@pytest.fixture
def csv(tmp_path):
    """The path of a file, written with this text."""

    def write(text=CSV, name="patients.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return str(tmp_path / name)

    return write


def of(path, **settings):
    return load("table", path=path, test=path, **OWN | settings)


def test_a_csv_file_is_read_by_the_names_of_its_columns(csv):
    arrays = of(csv())
    assert arrays.train_x.tolist() == ROWS
    assert arrays.train_y.tolist() == [1, 0, 0, 1, 1]
    np.testing.assert_array_equal(arrays.test_x, arrays.train_x)
    assert arrays.num_classes == 2
    assert of(csv(), features=["dose"]).train_x.tolist() == [[row[1]] for row in ROWS]
    assert of(csv(), label="dose", leave_out=["hospital", "ill"]).task == "regression"
    several = of(csv(), label=["age", "dose"])
    assert (several.num_classes, several.classes) == (2, ("age", "dose"))


@pytest.mark.parametrize("between", [";", "\t", "|"])
def test_other_delimiters_and_byte_order_marks_are_seen(csv, between):
    arrays = of(csv("\ufeff" + CSV.replace(",", between)))
    assert arrays.train_x.tolist() == ROWS
    assert of(csv(CSV.replace(",", "/")), delimiter="/").train_x.tolist() == ROWS


def test_a_parquet_file_and_a_frame_of_pandas_are_tables_alike(csv, tmp_path):
    pd.read_csv(csv()).to_parquet(tmp_path / "patients.parquet")
    assert of(str(tmp_path / "patients.parquet")).train_x.tolist() == ROWS


def test_whole_numbers_first_and_fractions_later_are_one_column(csv):
    rows = "".join(f"{i},{i % 2}\n" for i in range(5000)) + "0.5,1\n"
    arrays = load("table", path=csv("a,label\n" + rows))
    assert 0.5 in np.concatenate([arrays.train_x, arrays.test_x])


def test_a_column_says_which_client_a_sample_belongs_to(csv):
    arrays = load("table", path=csv(), test=csv(), columns=("hospital",), label="ill")
    assert arrays.train_x.tolist() == ROWS
    assert arrays.columns["hospital"].names == ("Nord", "Süd", "West")
    parts = split("column:hospital", arrays, 3)
    assert [part.tolist() for part in parts] == [[0, 2], [1, 4], [3]]
    with pytest.raises(DataError, match="has 3 values, and the network 4 clients; use a"):
        split("column:hospital", arrays, 4)
    with pytest.raises(DataError, match="no such column; did you mean hospital"):
        split("column:hospitals", arrays, 3)
    with pytest.raises(ConfigError, match="digits has no columns, so there is no 'hospital'"):
        load("digits", columns=("hospital",))
    with pytest.raises(ConfigError, match="needs a table with that column, not labels alone"):
        partition("column:hospital", arrays.train_y, 3)


def test_numbers_of_clients_are_ordered_by_size_and_floats_of_pandas_are_whole():
    frame = pd.DataFrame({"x": np.arange(4) / 3, "user": [10.0, 2.0, 10.0, 1.0], "y": [0, 1, 0, 1]})
    arrays = read({"data": (frame, frame), "label": "y"}, columns=("user",))
    assert arrays.columns["user"].names == ("1", "2", "10")
    frame.loc[0, "user"] = np.nan
    with pytest.raises(DataError, match="column user has 1 empty cell .the first in row 0"):
        read({"data": (frame, frame), "label": "y"}, columns=("user",))


def test_texts_in_a_table_are_learned_from_when_they_are_named(csv):
    text = csv("review,stars,label\ngood,5,1\nbad,1,0\n")
    arrays = load("table", path=text, test=text, text="review", tokenizer="words:50", length=3)
    assert arrays.input_shape == (3,)
    with pytest.raises(DataError, match="column review holds texts, .* or dataset.text: review"):
        load("table", path=text, test=text)


def test_that_an_empty_cell_is_taken_for_a_kind_is_told(csv):
    train = csv("color,dose,ill\nred,1,0\n,2,1\n ,3,1\n", "train.csv")
    arrays = load("table", path=train, test=train, label="ill", categories=["color"])
    assert arrays.input_shape == (4,)
    assert arrays.notes[0] == (
        "train.csv: column color: that a cell is empty is taken for a kind (2 training samples); "
        "fill them, or leave the rows out, if it is none"
    )


@pytest.mark.parametrize("precise", [False, True])
def test_columns_are_standardised_by_the_training_samples_alone(csv, precise):
    rng = np.random.default_rng(0)
    wide = 2.0**30 if precise else 1e4  # whole numbers beyond float32 make float64 of all
    x = np.stack([np.round(rng.normal(size=40) * wide), rng.normal(size=40), np.full(40, 7.0)], 1)
    x[0, 0] = wide + 1
    rows = [f"{a:.0f},{b!r},{c},{i % 2}" for i, (a, b, c) in enumerate(x.tolist())]
    head = "income,dose,site,ill"
    train, test = (
        csv("\n".join([head, *part]), name)
        for part, name in ((rows[:30], "train.csv"), (rows[30:], "test.csv"))
    )
    plain = load("table", path=train, test=test, label="ill")
    assert "columns of features vary on scales far apart, dose by" in plain.notes[-1]
    arrays = load("table", path=train, test=test, label="ill", standardise=True)
    assert arrays.notes == plain.notes[:-1]
    mean, std = x[:30, :2].mean(0), x[:30, :2].std(0)
    for found, part in ((arrays.train_x, x[:30]), (arrays.test_x, x[30:])):
        np.testing.assert_allclose(found[:, :2], (part[:, :2] - mean) / std, rtol=1e-5, atol=1e-6)
        assert (found[:, 2] == 0).all()
        assert found.dtype == plain.train_x.dtype
    np.testing.assert_allclose(plain.test_x, x[30:], rtol=1e-6)  # as it was


def test_numbers_that_are_large_are_told():
    """Half of them 0 and half 255: a root mean square of 180. Bytes in images become 0 .. 1."""
    pixels = np.zeros((40, 6, 6), np.float32)
    pixels[:, :3] = 255
    y = np.arange(40) % 2

    def told(x):
        return [note for note in read((x, y, x[:8], y[:8])).notes if "large" in note]

    (line,) = told(pixels)
    assert "its numbers are large, 1.8e+02 in root mean square" in line
    assert told(pixels / 255) == told(pixels.astype(np.uint8)) == []
    ages = np.stack([np.arange(40.0), np.arange(40) % 3], 1)  # that of 0 .. 39 is 22.7
    (line,) = told(ages)
    assert "features are large, those of column 0 23; with dataset.standardise: true" in line
    assert told(ages * 0.88) == []  # 19.9
    (line,) = told(np.stack([np.full(40, 2020.0), np.arange(40) % 3], 1))  # it never varies
    assert "features are large, those of column 0 2e+03;" in line
    (line,) = told(np.full((40, 1), 2e200))  # its squares are beyond float64
    assert "those of column 0 inf;" in line


def test_many_rows_are_standardised_some_at_a_time(monkeypatch):
    x = 7 + 3 * np.random.default_rng(0).normal(size=(40, 2))
    whole = _scales.standardised(x[:30], x[30:], "these")
    monkeypatch.setattr(_scales, "ROWS_AT_ONCE", 7)
    parts = _scales.standardised(x[:30], x[30:], "these")
    for found, expected in zip(parts, whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
    single = x.astype(np.float32)  # but their scale is computed in float64
    for found, expected in zip(
        _scales.standardised(single[:30], single[30:], "these"),
        _scales.standardised(*np.split(single.astype(np.float64), [30]), "these"),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)
    monkeypatch.setattr(_scales, "LOOKED_AT", 10)  # every fourth of 40, beginning with the first
    x[::4, 1] = np.arange(10) % 2 * 99 * 2 * x[::4, 0].std()  # deviations are 99 to 1 there
    assert not any("far apart" in told for told in _scales.scales_told(x, (), "these"))
    x[::4, 1] *= 1.02
    (told,) = _scales.scales_told(x, (), "these")
    assert "far apart, 0 by" in told


def test_what_has_no_columns_of_features_is_not_standardised():
    images = np.zeros((6, 3, 4, 4), dtype=np.uint8), np.arange(6) % 2
    with pytest.raises(ConfigError, match=r"standardise is for columns of features; .*\(3, 4, 4\)"):
        read({"data": images, "standardise": True})


def test_kinds_become_a_feature_each_those_of_training_samples(csv):
    train = csv("color,dose,ill\nred,1,0\nblue,2,1\nred,3,1\n", "train.csv")
    test = csv("color,dose,ill\nblue,4,0\ngreen,5,1\n", "test.csv")
    arrays = load("table", path=train, test=test, label="ill", categories=["color"])
    assert arrays.train_x.tolist() == [[0, 1, 1], [1, 0, 2], [0, 1, 3]]
    assert arrays.test_x.tolist() == [[1, 0, 4], [0, 0, 5]]
    assert arrays.notes[0] == (
        "train.csv (test): column color: no training sample has the kind of 1 of 2 samples, such "
        "as green; they are of none"
    )
    codes, strange = csv("ward,ill\n7,0\n3,1\n", "codes.csv"), csv("ward,ill\nx,1\n3,0\n", "x.csv")
    for train_file, test_file in ((codes, strange), (strange, codes)):
        arrays = load("table", path=train_file, test=test_file, label="ill", categories=["ward"])
        assert arrays.test_x.tolist() == [[0, 0], [1, 0]]  # 3 is a 3, be it a number or a text
    colors = ["red", "blue"] * 10
    held = held_out_of(20, 0.2, (), "")[1][0]
    colors[held] = "green"  # a kind that only a sample held out for the test has
    rows = "".join(f"{color},{row},{row % 2}\n" for row, color in enumerate(colors))
    one = csv("color,dose,ill\n" + rows, "one.csv")
    arrays = load("table", path=one, label="ill", categories=["color"])
    assert arrays.train_x[:, :2].sum(1).tolist() == [1] * 16
    assert arrays.test_x.shape == (4, 3)
    assert arrays.test_x[arrays.test_x[:, 2] == held].tolist() == [[0, 0, held]]
    line = "column color: no training sample has the kind of 1 of 4 samples; they are of none"
    assert any(line in note for note in arrays.notes)
    wards = csv("ward,ill\n01,true\n02,false\nA3,maybe\n", "wards.csv")
    some = csv("ward,ill\n02,false\n01,true\n", "some.csv")  # numbers and truth values, alone
    for train_file, test_file in ((wards, some), (some, wards)):
        arrays = load("table", path=train_file, test=test_file, label="ill", categories=["ward"])
        assert arrays.classes == ("false", "maybe", "true")
        both = {
            train_file: (arrays.train_x, arrays.train_y),
            test_file: (arrays.test_x, arrays.test_y),
        }
        assert both[wards][0][:, :2].tolist() == [[1, 0], [0, 1], [0, 0]]
        assert both[some][0][:, :2].tolist() == [[0, 1], [1, 0]]
        assert [y.tolist() for _, y in (both[wards], both[some])] == [[2, 0, 1], [0, 2]]
    by_dose = load("table", path=train, test=test, label="ill", categories=["color", "dose"])
    assert by_dose.train_x.tolist()[1] == [1, 0, 0, 1, 0]
    only = {"features": ["color"], "categories": ["color"]}
    assert load("table", path=train, test=test, label="ill", **only).input_shape == (2,)
    with pytest.raises(DataError, match=r"no column 'colour'; did you mean color\?"):
        load("table", path=train, label="ill", categories=["colour"])
    with pytest.raises(DataError, match="categories are features, and column ill is something"):
        load("table", path=train, label="ill", categories=["ill"])
    with pytest.raises(ConfigError, match="must be among dataset.features, 'color' is not; add"):
        load("table", path=train, label="ill", categories=["color"], features=["dose"])
    with pytest.raises(ConfigError, match="categories are for features, and it is a text"):
        load("table", path=train, label="ill", categories=["color"], text="color")
    twice = csv("a,a,ill\n1,2,0\n", "twice.csv")
    with pytest.raises(DataError, match="has two columns called 'a'; rename one"):
        load("table", path=twice, label="ill", categories=["a"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"features": ["age", "ill"]}, "column ill is in dataset.label and again in dataset.feat"),
        ({"text": "hospital", "label": "hospital"}, "column hospital is in dataset.label and ag"),
        ({"features": ["age", "age"]}, "column age is in dataset.features and again in dataset.f"),
        ({"label": ["ill", "ill"]}, "column ill is in dataset.label and again in dataset.label"),
        ({"features": ["age", "hospital"]}, "column hospital is in dataset.features and in datas"),
        ({"categories": ["hospital"]}, "column hospital is in dataset.categories and in dataset.l"),
    ],
)
def test_a_column_is_one_thing(csv, settings, told):
    with pytest.raises(DataError, match=told):
        of(csv(), **settings)


def test_images_in_a_table_are_read_as_files_are(tmp_path):
    Image.fromarray(np.full((2, 3), 7, np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    table = pa.table({"picture": [{"bytes": content, "path": None}] * 4, "target": [0, 1, 1, 0]})
    pq.write_table(table, tmp_path / "a.parquet")
    arrays = load("table", path=str(tmp_path / "a.parquet"))
    assert arrays.input_shape == (1, 2, 3)
    assert (arrays.train_x == 7).all()
    assert usual_model(arrays) == "cnn"


@pytest.mark.parametrize(
    ("text", "settings", "complaint"),
    [
        (CSV.replace("age", "ag"), {"features": ["age"]}, r"no column 'age'; did you mean ag\?"),
        (CSV.replace("30,", ","), {}, r"column age has 1 empty cell \(the first in row 0"),
        (CSV.replace("30,", "old,"), {}, "column age holds texts, which are no features"),
        (
            CSV.replace(",", ";").replace(".", ","),
            {},
            "column dose holds numbers with a comma, such as 0,5",
        ),
        ("1,2\n3,4\n", {}, "the first line must name the columns, it holds 1,2"),
        ("", {}, "the first line must name the columns, it is empty"),
        (CSV + "1,2\n", {}, "not a readable CSV file .Expected 4 columns, got 2"),
        (CSV.replace("dose", "age"), {}, "has two columns called 'age'; rename one"),
        ("ill\n1\n", {"leave_out": []}, "has no columns but that of the label"),
        ("age,ill\n", {"leave_out": []}, "has no rows"),
        ("age,ill\n", {"leave_out": [], "categories": ["age"]}, "has no rows"),
        (",age,ill\n0,5,1\n", {"leave_out": []}, r"number 1 has no name; pandas writes its index"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused_in_one_clear_line(
    csv, text, settings, complaint
):
    with pytest.raises(DataError, match=complaint) as error:
        of(csv(text), **settings)
    assert "\n" not in str(error.value)


def test_a_column_that_numbers_the_rows_is_told_of_unless_it_is_named(csv):
    text = "row,age,ill\n" + "".join(f"{i},{i * i % 7},{i // 6}\n" for i in range(4, 12))
    arrays = load("table", path=csv(text), label="ill")
    told = "column row numbers the rows, and is learned from as a feature; if it is an index, set "
    assert any(told + "dataset.leave_out: [row]" in note for note in arrays.notes)
    for settings in ({"features": ["row", "age"]}, {"leave_out": ["row"]}):
        again = load("table", path=csv(text), label="ill", **settings)
        assert not any("numbers the rows" in note for note in again.notes)


@pytest.mark.parametrize("name", [None, "patient", "0"])
def test_an_index_of_pandas_is_no_feature_unless_it_is_named(csv, tmp_path, name):
    frame = pd.read_csv(csv()).sample(frac=1, random_state=1).rename_axis(name)
    rows = frame[["age", "dose"]].to_numpy().tolist()
    frame.to_parquet(tmp_path / "a.parquet")
    frame.set_index(frame.index[::-1]).to_parquet(tmp_path / "b.parquet")
    called = name or "__index_level_0__"
    own = OWN | {"path": str(tmp_path / "a.parquet"), "test": str(tmp_path / "b.parquet")}
    arrays = load("table", **own)
    assert arrays.train_x.tolist() == arrays.test_x.tolist() == rows
    assert any(f"column {called} is the index of pandas, and no feature" in n for n in arrays.notes)
    assert not any("is not used" in note for note in arrays.notes)
    for settings in ({"leave_out": [called, "hospital"]}, {"features": ["age", "dose"]}):
        again = load("table", **own | settings)
        assert again.train_x.tolist() == rows
        assert not any("index" in note for note in again.notes)
    chosen = load("table", **own | {"features": [called]}).train_x
    assert chosen.tolist() == [[i] for i in frame.index]


def test_the_index_is_known_where_only_its_name_is_left(csv, tmp_path):
    frame = pd.read_csv(csv()).sample(frac=1, random_state=1)
    frame.to_csv(tmp_path / "a.csv")
    again = pd.read_csv(tmp_path / "a.csv")
    again.to_csv(tmp_path / "b.csv", index=False)
    assert "Unnamed: 0" in again
    arrays = of(str(tmp_path / "b.csv"))
    assert arrays.train_x.tolist() == frame[["age", "dose"]].to_numpy().tolist()
    assert any("column Unnamed: 0 is the index of pandas" in note for note in arrays.notes)


def test_a_file_in_another_encoding_is_refused(csv):
    with pytest.raises(DataError, match=r"\(it is not UTF-8\); save it as UTF-8"):
        of(csv(encoding="latin-1"))


@pytest.mark.parametrize("between", [";;", "\n", '"', "é"])
def test_what_cannot_stand_between_two_cells_is_refused(csv, between):
    with pytest.raises(ConfigError, match="delimiter must be a single character of ASCII, got"):
        of(csv(), delimiter=between)


def test_a_file_larger_than_the_memory_is_refused_before_it_is_read(csv, monkeypatch):
    monkeypatch.setattr("p2pqg.base.memory.available_memory", lambda: 100)
    with pytest.raises(DataError, match="patients.csv would take .* of memory, 100 B are free"):
        of(csv())


def test_a_file_that_has_changed_since_the_run_began_is_refused(csv):
    params = Params(path=csv(), **OWN).fixed(None)
    assert len(params.content) == 16
    arrays = load("table", **dataclasses.asdict(params))
    assert len(arrays.train_x) == 4
    csv(CSV + "80,5.5,Nord,0\n")
    with pytest.raises(DataError, match="patients.csv: the content has changed since"):
        load("table", **dataclasses.asdict(params))
    assert params.content != Params(path=csv(CSV + "x"), **OWN).fixed(None).content


# ---- npz


X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10) % 2


@pytest.mark.parametrize(
    "names",
    [
        {"X": X, "y": Y, "X_test": X, "y_test": Y},
        {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y},
        {"train_x": X, "train_y": Y, "test_x": X, "test_y": Y},
    ],
)
def test_arrays_of_an_npz_file_are_found_by_their_usual_names(tmp_path, names):
    np.savez(tmp_path / "a.npz", **names)
    arrays = load("npz", path=str(tmp_path / "a.npz"))
    np.testing.assert_array_equal(arrays.train_x, X)
    np.testing.assert_array_equal(arrays.test_y, Y)


def test_arrays_of_other_names_are_named_and_columns_go_along(tmp_path):
    np.savez(tmp_path / "a.npz", signal=X, kind=Y, user=np.repeat(["a", "b"], 5))
    path = str(tmp_path / "a.npz")
    arrays = load("npz", path=path, x="signal", y="kind", columns=("user",))
    assert arrays.columns["user"].names == ("a", "b")
    assert len(arrays.columns["user"]) == len(arrays.train_x) == 8
    for settings, complaint in (
        ({}, "which array is x, of signal, kind, user. Set dataset.x"),
        ({"x": "signals", "y": "kind"}, "no array 'signals'; did you mean signal"),
        ({"x": "signal", "y": "kind", "columns": ("users",)}, "no array 'users'"),
        ({"x": "signal", "y": "kind", "x_test": "signal"}, "which array is y_test, of"),
    ):
        with pytest.raises(DataError, match=complaint):
            load("npz", path=path, **settings)


# ---- by name


def test_the_name_of_a_file_says_how_it_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.npz").touch()
    assert named("a.CSV", None, {"label": "y"}) == (
        "table",
        None,
        {"path": str(tmp_path / "a.CSV"), "label": "y"},
    )
    assert named("a.npz", "here", {}) == ("npz", "here", {"path": "a.npz"})
    assert named("hf:owner/name", None, {"label": "y"}) == (
        "hub",
        None,
        {"path": "owner/name", "label": "y"},
    )
    assert named("digits", "here", {}) == ("digits", "here", {})
    assert named("my_data.py:load", None, {"n": 3}) == ("my_data.py:load", None, {"n": 3})
    (tmp_path / "folder.csv").mkdir()
    assert named("folder.csv", None, {})[:2] == ("images", str(tmp_path / "folder.csv"))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x.npy", r"files that are read end in \.npz, \.csv, .*my_data.py:load"),
        ("rows.json", r"files that are read end in \.npz"),
        ("people.csv:ill", "is set by dataset.label: ill; the data set is people.csv"),
        ("no/such/folder", "no/such/folder: no such folder$"),
        ("owner/name", "no such folder; on the hub it would be hf:owner/name"),
    ],
)
def test_what_no_data_set_is_read_from_is_told(name, told):
    with pytest.raises(ConfigError, match=told):
        named(name, None, {})


def test_a_file_that_is_not_there_is_named(tmp_path):
    for name in ("table", "npz"):
        with pytest.raises(DataError, match=f"nowhere.{name}: no such file"):
            load(name, path=f"nowhere.{name}")
        with pytest.raises(DataError, match=r"^'a\\x00b': no such file"):
            load(name, path="a\0b")
        with pytest.raises(DataError, match=f"^{tmp_path}: a folder, and no file"):
            load(name, path=str(tmp_path))
        with pytest.raises(ConfigError, match=f"dataset {name} needs dataset.path, a file"):
            load(name)
