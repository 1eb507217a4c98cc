"""Every column has a sentence."""

import pytest

from p2pqg.results.schemas import ALL_ROUND_COLUMNS, CLIENT_COLUMNS, LINK_COLUMNS, MEANING


@pytest.mark.parametrize("column", {**ALL_ROUND_COLUMNS, **CLIENT_COLUMNS, **LINK_COLUMNS})
def test_every_column_of_our_files_says_what_it_is(column):
    assert MEANING[column]
