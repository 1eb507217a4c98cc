"""How many liars a network can bear, where it can be derived."""

import numpy as np
import pytest

from p2pqg.base.errors import ConfigError, TopologyError
from p2pqg.cli import main
from p2pqg.theory.doctor import admit, examine
from p2pqg.theory.doctor_text import sheet
from p2pqg.theory.liars import Bearing, bearing, bearings


def test_a_ring_without_one_of_its_clients_is_a_chain():
    one, two = bearings(admit("ring16"))
    assert one.weight == pytest.approx(1 / 3)
    assert one.gap == pytest.approx(2 / 3 * (1 - np.cos(np.pi / 15)))
    assert one.borne
    assert not two.connected
    assert not two.borne


def test_a_chain_is_in_one_piece_however_long_and_in_two_without_a_client_in_it():
    assert [bearing(admit("chain130"), [who]).connected for who in (0, 64)] == [True, False]


def test_where_all_hear_all_liars_weigh_their_share():
    """And the honest keep f / n of it: what they do not agree on shrinks to f / n a round."""
    every = bearings(admit("complete9"))
    assert [found.liars for found in every] == [1, 2, 3, 4]
    for found in every:
        f = found.liars
        assert found.weight == pytest.approx(f / 9)
        assert found.gap == pytest.approx(1 - f / 9)
        assert found.heard == f
        assert found.borne == (f < 4.5)


def test_liars_that_are_named_are_not_the_worst_ones():
    social = admit("social32")
    assert not bearings(social)[1].connected
    named = bearing(social, [0, 1])
    assert named.connected
    assert len(named.who) == 2
    assert named.who == (social.called(0), social.called(1))
    W = social.mixing(0).dense()
    weights = W[2:, :2].sum(1)
    assert named.weight == pytest.approx(weights.max())
    assert named.receiver == social.called(int(weights.argmax()) + 2)
    among = W[2:, 2:] + np.diag(weights)
    assert named.gap == pytest.approx(1 - np.sort(np.abs(np.linalg.eigvalsh(among)))[-2])


def test_two_liars_beside_a_client_of_degree_three_are_not_borne():
    """Two of its four values are lies: there is no majority, although it keeps most weight."""
    cube = admit("hypercube8")
    one, two = bearings(cube)[:2]
    assert (one.heard, one.majority, two.heard, two.majority) == (1, True, 2, False)


def test_what_cannot_be_told_is_not_told():
    assert bearings(admit("random-matching8")) == []
    assert bearings(admit("exponential8")) == []  # not symmetric
    assert bearings(admit("ring2000")) == []  # too many placements
    assert bearings(admit("complete1")) == []  # nobody else
    with pytest.raises(TopologyError, match="must stay the same from round to round"):
        bearing(admit("random-matching8"), [1])
    with pytest.raises(ConfigError, match="no client is called 99"):
        examine("ring8", liars=[99])
    with pytest.raises(TopologyError, match="nobody would be honest"):
        examine("ring4", liars=[0, 1, 2, 3])


def test_the_sheet_says_it_in_words(capsys):
    lines = dict(sheet(examine("ring16")))
    assert lines["liars"] == (
        "any one: weight 0.333 at 1, gap of the honest 0.0146; "
        "any 2: can cut the honest apart, no rule helps"
    )
    with pytest.raises(SystemExit):
        main(["topology", "torus16", "--liars", "3, 7"])
    assert "3, 7: weight" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("weight", "majority", "connected", "borne"),
    [
        (0.49, True, True, True),
        (0.5, True, True, False),  # half of what is mixed is theirs
        (0.49, False, True, False),
        (0.49, True, False, False),
    ],
)
def test_liars_are_borne_where_they_have_less_than_half_of_everything(
    weight, majority, connected, borne
):
    assert Bearing(1, (), weight, "0", 1, majority, connected, None).borne is borne
