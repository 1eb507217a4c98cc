"""Labels as data sets write them: ids, 1-based, texts, hidden ones; and names, perhaps missing."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from p2pqg.base.errors import DataError
from p2pqg.data import load
from p2pqg.data._labels import numbered

WORDS = "words:50"


def numbers(train, test=None, **options):
    train = np.asarray(train)
    return numbered(train, train if test is None else np.asarray(test), "here", **options)


def test_labels_that_count_from_0_stay_what_they_are():
    labels = numbers([2, 0, 1], [1, 1])
    assert labels.train.tolist() == [2, 0, 1]
    assert labels.test.tolist() == [1, 1]
    assert labels.names == ("0", "1", "2")
    assert labels.notes == ()


def test_texts_that_hardly_are_classes_are_said():
    labels = numbers(["yes", " yes", "?", "NA", "no"])
    assert labels.num_classes == 5
    assert labels.notes == (
        "here: '?' is taken for a class; if it stands for no label, leave those rows out",
        "here: 'NA' is taken for a class; if it stands for no label, leave those rows out",
        "here: ' yes' and 'yes' are two classes; spaces count",
    )
    assert numbers(["yes", " no", "nah"]).notes == ()


def test_numbers_beyond_whole_ones_of_64_bits_are_refused_as_they_are():
    with pytest.raises(DataError, match="labels must be below 2.*63, found 9223372036854775809"):
        numbers(np.array([1, 2**63 + 1], dtype=np.uint64))


def test_a_few_missing_classes_are_said():
    labels = numbers([0, 1, 3])
    assert labels.train.tolist() == [0, 1, 3]
    assert labels.num_classes == 4
    assert labels.notes == ("here: 3 of 4 classes occur",)


@pytest.mark.parametrize("label", [0, 7, "cat"])
def test_labels_that_are_all_alike_are_said(label):
    labels = numbers([label] * 3)
    assert labels.num_classes == 1
    assert labels.notes == (f"here: all labels are {label}: of one class nothing can be learned",)


def test_far_ids_are_numbered_in_order_and_keep_their_names():
    labels = numbers([400_000, 100_000, 300_000, 200_000], [200_000, 200_000])
    assert labels.train.tolist() == [3, 0, 2, 1]
    assert labels.test.tolist() == [1, 1]
    assert labels.names == ("100000", "200000", "300000", "400000")
    assert labels.notes == (
        "here: labels are 100000, 200000, 300000, 400000: numbered 0 .. 3 in that order, 4 classes",
    )


def test_labels_that_count_from_1_make_no_extra_class():
    labels = numbers([1, 2, 3, 4])
    assert labels.train.tolist() == [0, 1, 2, 3]
    assert labels.names == ("1", "2", "3", "4")
    assert len(labels.notes) == 1


def test_the_labels_of_two_classes_may_be_minus_1_and_1():
    assert numbers([-1, 1, 1, -1]).train.tolist() == [0, 1, 1, 0]


def test_texts_and_truth_values_are_labels():
    assert numbers(["cat", "ant", "cat"]).train.tolist() == [1, 0, 1]
    assert numbers(["cat", "ant"]).names == ("ant", "cat")
    assert numbers([True, False]).train.tolist() == [1, 0]
    assert numbers([True, False]).names == ("False", "True")


def test_names_say_how_many_classes_there_are():
    labels = numbers([1, 1], names="abc")
    assert labels.train.tolist() == [1, 1]
    assert labels.num_classes == 3
    assert labels.notes == ("here: 1 of 3 classes occur",)
    with pytest.raises(DataError, match="label 3, but there are names of 3 classes only"):
        numbers([0, 3], names="abc")


def test_a_class_that_only_the_test_knows_is_said():
    (note,) = numbers([0, 1], [1, 2], names=["ant", "bee", "cow"]).notes
    assert note == "here: no training sample is of class cow"


@pytest.mark.parametrize(
    ("train", "test", "complaint"),
    [
        ([0, 1], [-1, -1], "there: labels of -1 are hidden .* take the validation part"),
        ([0, 1], [0, -1], "there: labels of -1 are hidden .* take the validation part"),
        ([0, -1, 1], [0, 1], r"here: labels must be >= 0, found -1 .. 1; leave out the samples"),
        ([0, 1], [-7, 1], "there: labels must be >= 0, found -7 .. 1"),
        ([], [0], "here: no samples in the training part"),
        ([0], [], "here: no samples in the test part"),
    ],
)
def test_labels_that_say_nothing_are_refused(train, test, complaint):
    with pytest.raises(DataError, match=complaint):
        numbers(np.array(train, int), np.array(test, int), test_what="there")


# ---- in files


@pytest.fixture
def write(tmp_path):
    """Texts with these labels, in two Parquet files that say this of themselves."""

    def write(train, test=None, about=None):
        for part, labels in (("train", train), ("test", train if test is None else test)):
            table = pa.table({"text": ["a"] * len(labels), "label": labels})
            if about is not None:
                text = about if isinstance(about, str) else json.dumps(about)
                table = table.replace_schema_metadata({"huggingface": text})
            pq.write_table(table, tmp_path / f"{part}.parquet")
        return load("texts", tmp_path, WORDS)

    return write


NAMED = {"label": {"names": ["a", "b", "c", "d"], "_type": "ClassLabel"}}


def test_a_test_file_that_calls_a_class_otherwise_is_refused(write, tmp_path):
    """Each part was numbered by itself, and the test lacks class b: its label 1 is c."""
    write([0, 1, 2], about={"features": NAMED})
    lacks = {"features": {"label": {"names": ["a", "c"], "_type": "ClassLabel"}}}
    table = pa.table({"text": ["a"] * 2, "label": [0, 1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(lacks)})
    pq.write_table(table, tmp_path / "test.parquet")
    told = "test.*: label 1 is 'c', and 'b' in the samples before; number the classes alike"
    with pytest.raises(DataError, match=told):
        load("texts", tmp_path, WORDS)
    files = {"path": str(tmp_path / "train.parquet"), "test": str(tmp_path / "test.parquet")}
    with pytest.raises(DataError, match=told):
        load("table", **files, label="label", text="text", tokenizer=WORDS)


@pytest.mark.parametrize("about", [{"info": {"features": NAMED}}, {"features": NAMED}])
def test_a_file_says_the_names_of_its_classes(write, about):
    arrays = write([0, 1, 2], about=about)
    assert arrays.classes == ("a", "b", "c", "d")
    assert arrays.num_classes == 4


@pytest.mark.parametrize(
    "about",
    [
        None,
        "not JSON",
        "null",
        [],
        {},
        {"info": None},
        {"info": {}},
        {"info": {"features": None}},
        {"info": {"features": []}},
        {"info": {"features": {"label": None}}},
        {"info": {"features": {"label": {"names": None}}}},
        {"info": {"features": {"label": {"dtype": "int64", "_type": "Value"}}}},
    ],
)
def test_a_file_that_says_nothing_of_its_classes_is_read_all_the_same(write, about):
    arrays = write([0, 1, 2, 3], about=about)
    assert arrays.num_classes == 4
    assert arrays.notes == ()


def test_files_with_far_ids_or_texts_as_labels_are_read(write):
    assert write([100_000, 400_000]).num_classes == 2
    arrays = write(["spam", "ham"], ["ham"])
    assert arrays.classes == ("ham", "spam")
    assert arrays.test_y.tolist() == [0]


def test_a_test_part_without_labels_points_to_the_validation_part(write, tmp_path):
    with pytest.raises(DataError, match=r"test.parquet: labels of -1 .* validation part") as error:
        write([0, 1], [-1, -1])
    assert "\n" not in str(error.value)
