"""Numbers, networks and label distributions in words."""

import math

import numpy as np
import pytest

from p2pqg.base.wording import aligned, counted, duration, human_bytes, pace, percent, plain_text
from p2pqg.data.skew import DOTS, describe_skew, label_picture
from p2pqg.topology import build
from p2pqg.topology.words import describe_network


def test_the_picture_has_a_line_per_class_and_a_dot_per_client():
    counts = np.diag([9, 4, 1])
    picture = label_picture(counts)
    # The dot's width goes with the root: 1, 2/3 and 1/3 of the largest.
    assert [line[11:] for line in picture[1:4]] == ["●    ", "  •  ", "    ·"]


def test_even_a_single_sample_leaves_a_dot():
    counts = np.array([[10_000, 0], [1, 0]])
    assert label_picture(counts)[1][13] == DOTS[1]


@pytest.mark.parametrize(("clients", "classes"), [(32, 10), (64, 20), (33, 10), (1, 2)])
def test_the_picture_fits_eighty_columns(clients, classes):
    assert 0 < max(map(len, label_picture(np.ones((clients, classes), int)))) <= 80


@pytest.mark.parametrize(("clients", "classes"), [(65, 10), (16, 100)])
def test_what_would_not_fit_is_not_drawn(clients, classes):
    assert label_picture(np.ones((clients, classes), int)) == []


def test_skew_tells_alike_clients_from_specialists():
    assert describe_skew(np.ones((4, 4), int)).endswith("total variation 0.00")
    assert describe_skew(np.eye(4, dtype=int)).startswith(
        "1.0 of 4 classes per client, the largest 100 %"
    )


def test_a_ring_has_degree_two_and_the_gap_of_its_cosine():
    gap = 1 - (1 + 2 * np.cos(2 * np.pi / 16)) / 3
    said = describe_network(build("ring16"))
    assert said == f"ring16: 16 clients, degree 2, spectral gap {gap:.3g}"


def test_a_star_has_one_client_with_more_neighbors():
    assert "degree 1 to 7 (mean 1.8)" in describe_network(build("star8"))
    # Of six clients in twos and threes: a round of two neighbors each, a round of one.
    assert "degree 1 to 2 (mean 1.5), spectral gap 1 over" in describe_network(build("base6:k=2"))
    assert "degree 1 in the first round, drawn" in describe_network(build("random-matching6"))


def test_directed_and_changing_networks_are_said_to_be():
    assert "out-degree 4" in describe_network(build("exponential16"))
    # Hops 1, 2, 4, 8 in turn give the exact mean, a gap of 1.
    assert "spectral gap 1 over its 4 rounds" in describe_network(build("onepeer-exponential16"))
    assert "drawn anew every round" in describe_network(build("random-matching8"))
    # One of its two messages alone is no average in any period, and no gap is -2e-16.
    ceca = describe_network(build("ceca8", needs=("column-stochastic",)))
    assert ceca == "ceca8: 8 clients, out-degree 1, spectral gap 0 over its 3 rounds"


def test_columns_of_numbers_are_set_to_the_right():
    assert aligned(["name", "n"], [["a", "10"], ["long", "9"]]) == [
        "name   n",
        "a     10",
        "long   9",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (3.2e15, "3.2 PB"), (None, "-")],
)
def test_bytes_are_never_a_thousand_of_a_unit(count, text):
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.04, "40 ms"),
        (0.0994, "99 ms"),
        (0.0996, "0.1 s"),
        (59.96, "1 min 0 s"),
        (60, "1 min 0 s"),
        (3600, "1 h 0 min"),
        (None, "-"),
    ],
)
def test_durations_are_never_sixty_of_a_unit(seconds, text):
    assert duration(seconds) == text


def test_slow_rounds_are_told_in_seconds_each():
    assert pace(50.0).strip() == "50/s"
    assert pace(0.25) == "4 s each"
    assert pace(None) == ""


def test_what_is_missing_is_a_dash():
    assert percent(None) == percent(float("nan")) == plain_text(None) == "-"


def test_one_is_singular():
    assert [counted(n, "round") for n in (1, 2, 1200)] == ["1 round", "2 rounds", "1,200 rounds"]


def test_a_setting_has_all_its_digits():
    draws = 10 ** np.random.default_rng(0).uniform(-9, 9, 200)
    for value in [*draws.tolist(), *(round(one, 3) for one in draws.tolist()), 0.1, 1e6, 123456.0]:
        assert float(plain_text(value)) == value
        assert plain_text(math.nextafter(value, math.inf)) != plain_text(value)
    assert plain_text(np.float64(1 / 3)) == plain_text(1 / 3) == "0.3333333333333333"
    assert plain_text([0.1, 0.10000001]) == "0.1, 0.10000001"


def test_lists_in_a_list_are_not_one_list():
    assert plain_text([[0, 1], [2]]) == "(0, 1), (2)" != plain_text([[0], [1, 2]])
    assert plain_text([{"drop_links": [[3, 4], [5, 6]]}]) == "drop links 3-4, 5-6"
