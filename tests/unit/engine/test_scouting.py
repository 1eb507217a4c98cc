"""Whether every round asks the network for the same: so that the clock can be looked ahead on."""

from contextlib import nullcontext
from itertools import islice
from threading import Thread
from time import sleep

import pytest
import torch
from unfiled import State, unfiled

from p2pqg.algorithms import ALGORITHMS, allreduce, exchange, gossip
from p2pqg.algorithms.dsgd import Params
from p2pqg.algorithms.lr import LearningRate
from p2pqg.base.errors import ConfigError
from p2pqg.engine import habits, scouting
from p2pqg.engine.few_clients import check_rows
from p2pqg.engine.habits import coming, is_steady
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import batches_per_round, idle_round


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


def exchanges(s, grad, p):
    inbox = yield exchange(s.x[:, None])
    x = yield gossip((s.x + inbox.mean(1)) / 2, message_bytes=8)
    return State(x - p.lr * grad(x), s.t + 1)


def exchanges_on_a_ring(s, grad, p):
    inbox = yield exchange(torch.stack([s.x, -s.x], 1))
    return State(half(s, grad, p) + inbox.sum(1), s.t + 1)


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
        (exchanges, True),
        (exchanges_on_a_ring, True),
    ],
)
def test_what_a_users_method_says_of_its_messages_is_not_taken_at_its_word(method, steady):
    assert is_steady(rule(method)) is steady


@pytest.mark.parametrize("name", ["qg-dsgdm-n", "choco-sgd", "beer"])
def test_what_ours_say_is(name):
    entry = ALGORITHMS[name]
    assert is_steady(Rule(entry, entry.params(lr=0.1), LearningRate(0.1), 0))


def tried(monkeypatch, rule):
    """Rounds that are looked at to see what the rule does in all."""
    rounds, once = [], habits.tried_once
    monkeypatch.setattr(habits, "tried_once", lambda *args: rounds.append(args[2]) or once(*args))
    habits._habit(rule)
    return max(rounds) + 1


@pytest.mark.parametrize(
    ("name", "params", "rounds"),
    [
        ("diloco", {}, 2),  # 2,000 of them are 100,000 steps of Adam: seconds, at every start
        ("cga", {}, 2),
        ("k-gt", {"local_steps": 100}, 20),
    ],
)
def test_no_more_rounds_are_tried_than_can_show_anything_new(name, params, rounds, monkeypatch):
    entry = ALGORITHMS[name]
    ours = Rule(entry, entry.params(lr=0.1, **params), LearningRate(0.1), 0)
    assert tried(monkeypatch, ours) == rounds


@pytest.mark.parametrize(("tau", "steady"), [(1, True), (1999, False)])
def test_a_period_is_seen_however_long_it_is(tau, steady):
    entry = ALGORITHMS["slowmo"]
    assert is_steady(Rule(entry, entry.params(lr=0.1, tau=tau), LearningRate(0.1), 0)) is steady


def test_what_is_known_of_ours_holds_for_every_step_size_and_seed(monkeypatch):
    """A scenario that set step sizes by the clock had 2,000 rounds looked at for each of them."""
    monkeypatch.setattr(habits, "STEPS_TRIED", 20)
    entry = ALGORITHMS["slowmo"]
    ours = Rule(entry, entry.params(lr=0.1, tau=7), LearningRate(0.1), 0)
    assert not is_steady(ours)
    rounds, once = [], habits.tried_once
    monkeypatch.setattr(habits, "tried_once", lambda *args: rounds.append(args[2]) or once(*args))
    assert not is_steady(ours.with_lr(0.3))
    assert not is_steady(ours.with_changes(seed=1))
    assert rounds == []
    assert not is_steady(ours.with_params(tau=5))  # other parameters are looked at
    assert rounds


def counts_to_three(s, grad, p):
    x = yield gossip(half(s, grad, p))
    if s.t == 2:
        x = yield allreduce(x)
    return State(x, (s.t + 1) % 3)


def stops_where_steps_are_small(s, grad, p):
    x = half(s, grad, p)
    if p.lr > 0.05:
        x = yield gossip(x)
    return State(x, 0)


@pytest.mark.parametrize("drops", [(), (30,)])
@pytest.mark.parametrize("method", [counts_to_three, stops_where_steps_are_small])
def test_rounds_of_a_users_method_repeat_where_its_state_and_its_step_size_do(
    method, drops, monkeypatch
):
    monkeypatch.setattr(habits, "ROUNDS_TRIED", 40)
    lr = LearningRate(0.1, drops=drops, decay=0.1)
    theirs = rule(method).with_changes(lr=lr)
    period = 3 if method is counts_to_three else 1
    assert tried(monkeypatch, theirs) == (40 if drops else 1 + period)
    assert is_steady(theirs) == (period == 1 and not drops)


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
        (lambda m: exchange(m[:, None]), lambda m: m[:, 0], False),
        (lambda m: exchange(m[:, None]), lambda m: m.mean(0), True),
        (allreduce, lambda m: m, False),
        (allreduce, lambda m: m.mean(0).expand_as(m), False),
        (allreduce, lambda m: m[-1:].expand_as(m), False),
    ],
)
def test_rows_meet_where_the_network_has_not_made_them_alike(ask, of, mixes):
    def method(s, grad, p):
        g = yield ask(grad(s.x))
        return State(s.x - p.lr * of(g), s.t + 1)

    with pytest.raises(ConfigError, match="rows of others") if mixes else nullcontext():
        check_rows(rule(method))


def test_rows_that_meet_before_they_are_sent_are_seen():
    def method(s, grad, p):
        g = yield allreduce(grad(s.x).mean(0).expand_as(s.x))
        return State(s.x - p.lr * g, s.t + 1)

    with pytest.raises(ConfigError, match="rows of others"):
        check_rows(rule(method))


def test_who_counts_the_rows_of_a_block_is_told_where_clients_have_their_numbers():
    def counts(s, grad, p):
        x = yield gossip(s.x - torch.arange(1, len(s.x) + 1)[:, None] * grad(s.x))
        return State(x, 0)

    with pytest.raises(ConfigError, match=r"row of its block .* \(yield neighbors\(\)\).clients"):
        check_rows(rule(counts))


@pytest.mark.parametrize("idle", [0, 2, None])
def test_a_round_without_a_gradient_is_found(idle):
    def method(s, grad, p):
        x = yield gossip(s.x if s.t == idle else s.x - p.lr * grad(s.x))
        return State(x, s.t + 1)

    assert idle_round(rule(method)) == idle


def test_batches_of_a_method_with_slots_of_its_own_are_counted():
    assert batches_per_round(unfiled(exchanges_on_a_ring), Params(lr=0.1)) == 1


def gradients(taken):
    return sum(size for kind, size in taken if kind == "gradient")


def asks_at_models_of_neighbors(s, grad, p):
    """In all rounds but the first."""
    told = s.x[:, None]
    if s.t:
        told = yield exchange(told)
    return State(s.x - p.lr * grad(told).sum(1), s.t + 1)


def needs_a_pair(s, grad, p):
    told = yield exchange(s.x[:, None])
    assert told.shape[1] == 1, "networks of pairs"
    return State(s.x - p.lr * grad(told[:, 0]), s.t + 1)


@pytest.mark.parametrize(
    ("method", "slots", "expected"),
    [(asks_at_models_of_neighbors, 3, [1, 3, 3]), (needs_a_pair, 1, [1, 1, 1])],
)
def test_gradients_go_by_neighbors_in_whichever_round(method, slots, expected):
    ahead = coming(rule(method), torch.empty(0, 20), lambda round: slots, 0)
    assert [gradients(taken) for taken in islice(ahead, 3)] == expected


@pytest.fixture
def look_ahead():
    """What slowmo sends in rounds to come, which exchanges more in every twelfth; one rule."""
    entry = ALGORITHMS["slowmo"]
    slowmo = Rule(entry, entry.params(lr=0.1), LearningRate(0.1), 0)
    return lambda: [*islice(coming(slowmo, torch.empty(0, 20), lambda round: 1, 0), 30)]


def test_who_is_interrupted_while_it_looks_ahead_looks_again(monkeypatch, look_ahead):
    whole = look_ahead()
    habits._foreseen.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(scouting, "weighed", interrupted_after(5, scouting.weighed))
        with pytest.raises(KeyboardInterrupt):
            look_ahead()
    assert look_ahead() == whole


def test_who_is_interrupted_just_after_a_round_is_known_counts_it_once():
    """What was foreseen was a round late from there on."""

    class Interrupted(list):
        def __setitem__(self, where, what):
            super().__setitem__(where, what)
            if where.start == 3 and len(self) == 4:
                raise KeyboardInterrupt

        def append(self, what):
            self[len(self) :] = [what]

    entry = ALGORITHMS["slowmo"]
    slowmo = Rule(entry, entry.params(lr=0.1, tau=3), LearningRate(0.1), 0)
    whole = list(islice(habits._Foreseen(slowmo, torch.empty(0, 20)).since(0), 12))
    known = habits._Foreseen(slowmo, torch.empty(0, 20))
    known._rounds = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        list(islice(known.since(0), 12))
    known._rounds = list(known._rounds)
    assert list(islice(known.since(0), 12)) == whole


def interrupted_after(calls, function):
    def counted(*args):
        nonlocal calls
        calls -= 1
        if not calls:
            raise KeyboardInterrupt
        return function(*args)

    return counted


def test_forks_in_threads_look_ahead_together(monkeypatch, look_ahead):
    alone, found = look_ahead(), []
    habits._foreseen.cache_clear()
    weighed = scouting.weighed
    monkeypatch.setattr(scouting, "weighed", lambda effect: sleep(1e-4) or weighed(effect))
    threads = [Thread(target=lambda: found.append(look_ahead())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [alone] * 3
