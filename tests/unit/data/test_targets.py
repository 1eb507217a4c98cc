"""What is to be learned is told from what the targets are, or said; what may be either is asked."""

import numpy as np
import pytest

from p2pqg.base.errors import DataError
from p2pqg.data._targets import targets


def of(train, test=None, task="auto", names=()):
    train = np.asarray(train)
    return targets(train, train if test is None else np.asarray(test), "y", task, names)


def test_whole_numbers_texts_and_truth_values_are_classes():
    for train in ([0, 1, 2], np.array([2, 0, 1], np.uint8), ["a", "b", "c"]):
        found = of(train)
        assert found.task == "classes"
        assert found.outputs == 3
        assert sorted(found.train) == [0, 1, 2]
        assert found.train.dtype == np.int64
    assert of([True, False]).outputs == 2


def test_a_column_vector_is_a_row_of_targets():
    assert of([[0], [1], [2]]).train.tolist() == [0, 1, 2]
    assert of([[0.5], [1.5]]).train.tolist() == [[0.5], [1.5]]


def test_floats_are_regression_and_keep_their_precision():
    for dtype in (np.float32, np.float64):
        found = of(np.array([0.1, 2.5, -3.25], dtype))
        assert found.task == "regression"
        assert found.outputs == 1
        assert found.train.dtype == dtype
        assert found.train.tolist() == [[dtype(0.1)], [2.5], [-3.25]]
    assert of(np.array([0.5, 1], np.float16)).train.dtype == np.float32


def test_large_targets_of_a_regression_are_told():
    """Prices: 3e5 and 1e5 have a root mean square of 1e5 sqrt(5)."""
    (line,) = of([3e5, 1e5], task="regression").notes
    assert "targets are large, 2.2e+05 in root mean square" in line
    assert "divide them, by 100000 or so" in line
    assert of([19.9, -19.9, 19.9], task="regression").notes == ()


def test_a_matrix_of_floats_is_regression_of_several_targets():
    found = of([[0.5, 1], [2, 3]], names=["height", "weight"])
    assert found.task == "regression"
    assert (found.outputs, found.names) == (2, ("height", "weight"))


def test_a_matrix_of_0_and_1_is_multilabel_but_classes_where_each_row_has_a_single_1():
    for dtype in (int, bool, np.float32):
        found = of(np.array([[1, 1, 0], [0, 0, 0]], dtype))
        assert found.task == "multilabel"
        assert found.outputs == 3
        assert found.train.dtype == np.uint8
        assert found.train.tolist() == [[1, 1, 0], [0, 0, 0]]
    found = of([[0, 1, 0], [1, 0, 0]])
    assert found.task == "classes"
    assert found.train.tolist() == [1, 0]
    assert found.outputs == 3
    assert any("a single 1 in each row is taken for the class" in note for note in found.notes)


def test_what_is_said_counts():
    assert of([[0, 1], [1, 0]], task="multilabel").train.tolist() == [[0, 1], [1, 0]]
    assert of([0, 1], task="multilabel").train.tolist() == [[0], [1]]
    assert of([1.0, 3.0, 1.0], task="classes").names == ("1", "3")
    assert of([1, 5], task="regression").train.tolist() == [[1.0], [5.0]]
    assert of(range(100), task="classes").outputs == 100
    assert of([[3, 4], [5, 6]], task="regression").outputs == 2


def test_own_targets_stay_what_they_are_in_any_shape():
    labels = np.array([[[0, 4], [255, 1]], [[2, 2], [0, 0]]], dtype=np.uint8)
    found = of(labels)
    assert (found.task, found.outputs, found.train.dtype) == ("own", 256, np.int64)
    np.testing.assert_array_equal(found.train, labels)
    ignored = of([[3, -100], [1, 2]], task="own")
    assert (ignored.train.tolist(), ignored.outputs) == ([[3, -100], [1, 2]], 4)
    floats = of(np.zeros((2, 3, 4), dtype=np.float32), task="own")
    assert (floats.train.dtype, floats.train.shape, floats.outputs) == (np.float32, (2, 3, 4), 12)


@pytest.mark.parametrize(
    ("train", "task", "complaint"),
    [
        ([0.0, 1.0, 2.0], "auto", "3 different whole numbers, as floats; say task: classes or"),
        (range(100), "auto", "100 different whole numbers in 100 samples; say task: classes or"),
        ([[0, 2], [1, 1]], "auto", "a matrix of int64: several labels at once are 0 or 1"),
        ([1.0, 0.5], "classes", "classes are whole numbers or texts, found 0.5"),
        ([[1, 1], [0, 1]], "classes", "a matrix of classes has a single 1 in each row"),
        (["a", "b"], "regression", "regression takes numbers"),
        ([0, 2], "multilabel", "several labels at once are a matrix of 0 and 1"),
        ([0.5, np.nan], "auto", r"y has NaN in row 1 \(counted from 0\)"),
        ([np.inf, 0.5], "auto", "y has infinity in row 0"),
        (np.zeros((2, 2, 2)), "classes", "must have a target, or a row of them, for each sample"),
        ([[0, 2], [1, 1]], "auto", "or task: own for a loss of yours"),
        (["a", "b"], "own", "task own takes numbers, found <U1; number the texts"),
    ],
)
def test_targets_of_the_wrong_kind_are_refused(train, task, complaint):
    with pytest.raises(DataError, match=complaint) as error:
        of(train, task=task)
    assert "\n" not in str(error.value)


def test_both_parts_have_targets_of_one_shape():
    with pytest.raises(DataError, match=r"shapes are \(2, 2\) and, in the test part, \(2, 3\)"):
        of([[0.5, 1], [2, 3]], [[0.5, 1, 2], [2, 3, 4]])
    with pytest.raises(DataError, match="NaN in row 0"):
        of([0.5, 1.5], [np.nan, 1.5])
