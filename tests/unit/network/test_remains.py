"""W after something is gone: its rule on what remains, or its weights and who keeps the rest."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from p2pqg.network.remains import rebuilt, without
from p2pqg.topology import RULES, Mixing, build

HALVES = Mixing.from_dense(np.array([[0.5, 0.3, 0.2], [0.25, 0.5, 0.25], [0.1, 0.4, 0.5]]))


def entries(W: Mixing, *arcs: tuple[int, int]) -> np.ndarray:
    """Bool [entries]: those of (receiver, sender)."""
    return np.array([pair in arcs for pair in zip(W.receivers, W.senders, strict=True)])


@pytest.mark.parametrize("rule", ["metropolis_hastings", "lazy", "uniform", "best_constant"])
def test_a_rule_is_applied_to_what_remains(rule):
    graph = nx.karate_club_graph()
    W = RULES[rule].build(graph)
    left = rebuilt(W, rule, entries(W, (0, 1), (1, 0)))
    graph.remove_edge(0, 1)
    assert_allclose(left.dense(), RULES[rule].build(graph).dense(), atol=1e-14)


def test_nothing_gone_is_the_very_same_w():
    W = build("ring8").mixing(0)
    assert rebuilt(W, "metropolis_hastings", W.receivers == W.senders) is W


def test_columns_are_rebuilt_on_what_remains_of_a_directed_network():
    W = build("exponential8:mixing=columns").mixing(0)
    left = rebuilt(W, "columns", entries(W, (1, 0)), by_columns=True).dense()
    assert left[1, 0] == 0
    assert_allclose(left[:, 0].max(), 1 / 3)  # of three receivers two are left
    assert_allclose(left.sum(axis=0), 1)


def test_uniform_weights_become_columns_for_push_sum():
    W = build("exponential8").mixing(0)
    gone = entries(W, (1, 0))
    assert_allclose(rebuilt(W, "uniform", gone).row_sums(), 1)
    assert_allclose(rebuilt(W, "uniform", gone, by_columns=True).column_sums(), 1)


def test_other_rules_stay_themselves_for_push_sum():
    W = build("ring4").mixing(0)
    left = rebuilt(W, "lazy", entries(W, (0, 1), (1, 0)), by_columns=True).dense()
    assert_allclose(left, RULES["lazy"].build(nx.Graph([(0, 3), (3, 2), (2, 1)])).dense())


def test_best_constant_stays_so_among_those_who_talk():
    W = RULES["best_constant"].build(nx.cycle_graph(5))
    left = rebuilt(W, "best_constant", entries(W, (4, 0), (0, 4), (4, 3), (3, 4))).dense()
    path = RULES["best_constant"].build(nx.path_graph(4)).dense()
    assert_allclose(left[:4, :4], path, atol=1e-14)
    assert_array_equal(left[4], np.eye(5)[4])


def test_best_constant_of_pieces_is_metropolis_hastings():
    W = RULES["best_constant"].build(nx.path_graph(5))
    left = rebuilt(W, "best_constant", entries(W, (1, 2), (2, 1))).dense()
    pieces = nx.Graph([(0, 1), (2, 3), (3, 4)])
    assert_allclose(left, RULES["metropolis_hastings"].build(pieces).dense(), atol=1e-14)


def test_given_weights_stay_and_own_weights_take_the_rest():
    left = rebuilt(HALVES, "given", entries(HALVES, (0, 1), (0, 0))).dense()
    assert_allclose(left[0], [0.8, 0, 0.2])
    assert_allclose(left[1:], HALVES.dense()[1:])


def test_the_receiver_keeps_the_row_and_the_sender_the_column():
    gone = entries(HALVES, (0, 1), (2, 1))
    by_receiver = without(HALVES, gone, "receiver").dense()
    assert_allclose(by_receiver, [[0.8, 0, 0.2], [0.25, 0.5, 0.25], [0.1, 0, 0.9]])
    by_sender = without(HALVES, gone, "sender").dense()
    assert_allclose(by_sender, [[0.5, 0, 0.2], [0.25, 1.2, 0.25], [0.1, 0, 0.5]])


def test_without_a_keeper_the_receiver_divides_by_what_it_has():
    left = without(HALVES, entries(HALVES, (0, 1)), "nobody").dense()
    assert_allclose(left[0], [5 / 7, 0, 2 / 7])
    assert_array_equal(left[1:], HALVES.dense()[1:])


def test_who_has_nothing_to_divide_by_stays_where_it_is():
    W = Mixing.from_dense(np.array([[0, 1.0], [1.0, 0]]))  # they swap
    assert_array_equal(without(W, entries(W, (0, 1)), "nobody").dense(), [[1, 0], [1, 0]])


def test_weights_that_cancel_are_nothing_to_divide_by():
    W = Mixing.from_dense(np.array([[-0.5, 0.5, 1.0], [0, 1.0, 0], [0, 0, 1.0]]))
    assert_array_equal(without(W, entries(W, (0, 2)), "nobody").dense(), np.eye(3))


@pytest.mark.parametrize("keeper", ["receiver", "nobody"])
def test_ages_stay_with_their_messages(keeper):
    ages = 10 * HALVES.receivers + HALVES.senders
    W = replace(HALVES, ages=np.where(HALVES.receivers == HALVES.senders, 0, ages))
    left = without(W, entries(W, (0, 1)), keeper)
    own = left.receivers == left.senders
    assert_array_equal(left.ages[~own], (10 * left.receivers + left.senders)[~own])
    assert_array_equal(left.ages[own], 0)
