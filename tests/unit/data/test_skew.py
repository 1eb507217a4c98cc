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


def test_ten_different_numbers_are_labels_themselves_and_eleven_are_binned():
    ten = np.array([0.5, 0.5, 0.5, *range(1, 10)])
    assert labels_of(ten).tolist() == [0, 0, 0, *range(1, 10)]
    assert labels_of(np.append(ten, 99.0)).tolist() == [k * 10 // 13 for k in range(13)]


def test_a_picture_has_as_many_clients_and_classes_as_fit():
    assert len(label_picture(np.ones((64, 20), dtype=int))) == 1 + 20 + 1
    assert label_picture(np.ones((65, 20), dtype=int)) == []
    assert label_picture(np.ones((64, 21), dtype=int)) == []
