"""Who lies, and from when to when."""

from itertools import product

import numpy as np
import pytest

from p2pqg.algorithms.attacks import find_attack
from p2pqg.base.errors import ConfigError
from p2pqg.network.lies import Attack, drawn, liars, read_attacks

LIE = find_attack("sign-flip")
SPANS = [(first, last) for first in range(4) for last in (*range(first, 4), None)]


@pytest.mark.parametrize(
    ("when", "span"),
    [
        ({}, (0, None)),
        ({"when": 3}, (3, None)),
        ({"when": [2, 4]}, (2, 4)),
        ({"when": (1, 1)}, (1, 1)),
    ],
)
def test_a_round_is_the_first_one_and_two_are_the_ends(when, span):
    (said,) = read_attacks({"who": [1], "how": "sign-flip", **when})
    assert (said.first, said.last) == span


@pytest.mark.parametrize("when", [-1, True, 1.5, "2", [4, 2], [1, 2, 3], [-1, 2], [1, True], [1]])
def test_what_is_no_span_of_rounds_is_told_once_for_each_item(when):
    item = {"who": [1], "how": "sign-flip", "when": when}
    with pytest.raises(ConfigError) as told:
        read_attacks([item, item])
    for line, place in zip(told.value.lines, ("attacks[0]", "attacks[1]"), strict=True):
        assert line.startswith(f"{place}.when must be a round >= 0, or [first, last]")


def test_attacks_overlap_where_there_is_a_round_in_which_both_lie():
    for one, other in product(SPANS, SPANS):
        a, b = (Attack((k,), LIE, *span) for k, span in enumerate((one, other)))
        assert a.overlaps(b) == any(a.at(round) and b.at(round) for round in range(5))


def test_liars_are_those_whose_time_it_is():
    attacks = [Attack((0, 2), LIE, 1, 2), Attack((3,), LIE, 2)]
    found = [liars(attacks, round, 5) for round in range(4)]
    assert found[0] is None
    assert [np.flatnonzero(mask).tolist() for mask in found[1:]] == [[0, 2], [0, 2, 3], [3]]


@pytest.mark.parametrize("span", [(2, 5), (2, None)])
def test_an_attack_that_was_saved_is_the_same(span):
    attack = Attack((1, 4), LIE, *span)
    assert Attack.of_data(attack.to_data()) == attack


def test_one_draw_serves_all_numbers_of_liars():
    few, more = (drawn({"count": count}, 20, 7, "who") for count in (3, 9))
    assert set(few) < set(more)
    assert drawn({"share": 0.45}, 20, 7, "who") == more == tuple(sorted(more))
    assert len(drawn({"share": 0.001}, 20, 7, "who")) == 1
    assert drawn({"count": 9}, 20, 8, "who") != more
