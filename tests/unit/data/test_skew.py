"""Label skew, where it can be computed by hand."""

import numpy as np
import pytest

from p2pqg.data import label_counts, label_skew
from p2pqg.data.skew import label_picture, labels_of


def test_label_counts_count_each_clients_labels():
    parts = [np.array([0, 1, 2]), np.array([3])]
    np.testing.assert_array_equal(
        label_counts(parts, np.array([1, 1, 0, 2]), num_classes=4), [[1, 2, 0, 0], [0, 0, 1, 0]]
    )


def test_equal_clients_have_no_skew():
    assert label_skew(np.full((4, 5), 7)) == pytest.approx(
        {
            "total_variation": 0,
            "classes_above_1_percent": 5,
            "largest_class_share": 1 / 5,
            "effective_classes": 5,
            "size_variation": 0,
        }
    )


def test_one_class_per_client_is_the_largest_skew():
    assert label_skew(3 * np.eye(4, dtype=int)) == pytest.approx(
        {
            "total_variation": 3 / 4,
            "classes_above_1_percent": 1,
            "largest_class_share": 1,
            "effective_classes": 1,
            "size_variation": 0,
        }
    )


def test_size_variation_is_std_over_mean_and_empty_clients_have_no_label_share():
    skew = label_skew(np.array([[4, 4], [0, 0]]))
    assert skew["size_variation"] == pytest.approx(1)
    assert skew["total_variation"] == 0
    skew = label_skew(np.array([[1, 0], [4, 4]]))  # who has one sample has a share: all of a class
    assert skew["total_variation"] == pytest.approx((4 / 9 + 1 / 18) / 2)
    assert skew["largest_class_share"] == (1 + 1 / 2) / 2


def test_ten_different_numbers_are_labels_themselves_and_eleven_are_binned():
    ten = np.array([0.5, 0.5, 0.5, *range(1, 10)])
    assert labels_of(ten).tolist() == [0, 0, 0, *range(1, 10)]
    assert labels_of(np.append(ten, 99.0)).tolist() == [k * 10 // 13 for k in range(13)]


def test_a_partition_goes_by_combinations_of_labels_and_by_the_first_of_several_numbers():
    assert labels_of(np.array([[0, 1], [1, 0], [0, 1]], dtype=np.uint8)).tolist() == [0, 1, 0]
    assert labels_of(np.array([[7.5, 0.0], [2.5, 1.0], [7.5, 2.0]])).tolist() == [1, 0, 1]
    assert labels_of(np.array([-1, 3, -1])).tolist() == [0, 1, 0]  # -1 and 1, say
    assert labels_of(np.array([[5, 6], [7, 8]])).tolist() == [0, 0]  # tokens: nobody knows
    parts = [np.array([0, 2]), np.array([1])]
    np.testing.assert_array_equal(label_counts(parts, np.array([-1, 3, -1]), 4), [[2, 0], [0, 1]])
    np.testing.assert_array_equal(label_counts(parts, np.array([0.5, 9, 0.5]), 1), [[2, 0], [0, 1]])


def test_a_dot_is_as_wide_as_the_root_of_its_share_of_the_largest_count_in_thirds_rounded_up():
    _, line, _ = label_picture(np.array([[36, 17, 16, 5, 4, 1, 0]]).T)
    assert line[-13::2] == "●●••·· "
    assert len(label_picture(np.ones((64, 1), dtype=int))[1]) == len(line) - 13 + 64  # no gaps


def test_a_picture_has_as_many_clients_and_classes_as_fit():
    assert len(label_picture(np.ones((64, 20), dtype=int))) == 1 + 20 + 1
    assert label_picture(np.ones((65, 20), dtype=int)) == []
    assert label_picture(np.ones((64, 21), dtype=int)) == []
