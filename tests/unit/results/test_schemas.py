"""Every column has a sentence."""

import pytest

import p2pqg
from p2pqg.results.schemas import (
    ALL_ROUND_COLUMNS,
    ASKED_COLUMNS,
    CLIENT_COLUMNS,
    LINK_COLUMNS,
    MEANING,
)


@pytest.mark.parametrize(
    "column", {**ALL_ROUND_COLUMNS, **CLIENT_COLUMNS, **ASKED_COLUMNS, **LINK_COLUMNS}
)
def test_every_column_of_our_files_says_what_it_is(column):
    assert MEANING[column]


def test_so_does_every_column_that_a_recipe_asks_for():
    asked = {"test": "own", "validation": 0.1, "privacy": {"clip": 1.0, "sigma": 1.0}}
    with p2pqg.Simulation(topology="ring4", alpha=1.0, engine="local", **asked) as simulation:
        columns = {*simulation.columns, *simulation.client_columns}
    assert columns - {*ALL_ROUND_COLUMNS, *CLIENT_COLUMNS} == set(ASKED_COLUMNS)
