"""The different ones among integers."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from p2pqg.base.distinct import distinct


@pytest.mark.parametrize("numbers", [[], [5], [3, 1, 3, -2, 1], [2**62, 0, 2**62]])
def test_they_are_those_of_numpy_and_what_was_given_stays(numbers):
    given = np.array(numbers, dtype=np.int64)
    found = distinct(given)
    assert_array_equal(found, np.unique(given))
    assert found.dtype == np.int64
    assert given.tolist() == numbers
