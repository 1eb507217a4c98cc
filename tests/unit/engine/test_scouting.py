"""Whether every round asks the network for the same: so that the clock can be looked ahead on."""

import pytest
from unfiled import State, unfiled

from p2pqg.algorithms import ALGORITHMS, allreduce, gossip
from p2pqg.algorithms.dsgd import Params
from p2pqg.algorithms.lr import LearningRate
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import is_steady, mixes_rows


def half(s, grad, p):
    return s.x - p.lr * grad(s.x)


def says_nothing(s, grad, p):
    return State((yield gossip(half(s, grad, p))), s.t + 1)


def says_a_number(s, grad, p):
    x = half(s, grad, p)
    return State((yield gossip(x, message_bytes=x.shape[1] / 8)), s.t + 1)


def says_each_clients(s, grad, p):
    x = half(s, grad, p)
    return State((yield gossip(x, message_bytes=(x > 1).sum(1).double())), s.t + 1)


def counts_what_it_sends(s, grad, p):
    x = half(s, grad, p)
    return State((yield gossip(x, message_bytes=4 * int((x != 0).sum()))), s.t + 1)


def counts_what_is_large(s, grad, p):
    x = half(s, grad, p)
    return State((yield gossip(x, message_bytes=4 * int((x.abs() > 10).sum()))), s.t + 1)


def sends_more_in_odd_rounds(s, grad, p):
    x = half(s, grad, p)
    x = yield gossip(x)
    if s.t % 2:
        x = yield gossip(x)
    return State(x, s.t + 1)


def rule(method):
    return Rule(unfiled(method), Params(lr=0.1), LearningRate(0.1), 0, shapes=(("x", (20,)),))


@pytest.mark.parametrize(
    ("method", "steady"),
    [
        (says_nothing, True),
        (says_a_number, True),
        (says_each_clients, False),
        (counts_what_it_sends, False),
        (counts_what_is_large, False),
        (sends_more_in_odd_rounds, False),
    ],
)
def test_what_a_users_method_says_of_its_messages_is_not_taken_at_its_word(method, steady):
    assert is_steady(rule(method)) is steady


@pytest.mark.parametrize("name", ["qg-dsgdm-n", "choco-sgd", "beer"])
def test_what_ours_say_is(name):
    entry = ALGORITHMS[name]
    assert is_steady(Rule(entry, entry.params(lr=0.1), LearningRate(0.1), 0))


def test_a_start_that_cannot_be_tried_on_a_few_clients_ends_nothing():
    def start(x0):
        assert len(x0) in (0, 8), "made for eight clients"
        return State(x0, 0)

    method = unfiled(says_a_number, start=start)
    assert not is_steady(Rule(method, Params(lr=0.1), LearningRate(0.1), 0, shapes=(("x", (20,)),)))


@pytest.mark.parametrize(
    ("ask", "of", "mixes"),
    [
        (gossip, lambda m: m, False),
        (gossip, lambda m: m.mean(0).expand_as(m), True),
        (gossip, lambda m: m[-1:].expand_as(m), True),
        (allreduce, lambda m: m, False),
        (allreduce, lambda m: m.mean(0).expand_as(m), False),
        (allreduce, lambda m: m[-1:].expand_as(m), False),
    ],
)
def test_rows_meet_where_the_network_has_not_made_them_alike(ask, of, mixes):
    def method(s, grad, p):
        g = yield ask(grad(s.x))
        return State(s.x - p.lr * of(g), s.t + 1)

    assert mixes_rows(rule(method)) == mixes


def test_rows_that_meet_before_they_are_sent_are_seen():
    def method(s, grad, p):
        g = yield allreduce(grad(s.x).mean(0).expand_as(s.x))
        return State(s.x - p.lr * g, s.t + 1)

    assert mixes_rows(rule(method))
