"""The conformance kit finds methods that break the rules of the house."""

import inspect
from itertools import count

import numpy as np
import pytest
import torch
from unfiled import State, unfiled

from p2pqg.algorithms import gossip
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.seeding import rng
from p2pqg.testing import UNIVERSAL, check_again, check_requests, check_rule_is_gossip, run, special


def asks_more(s, grad, p):
    g = grad(s.x)
    x = yield gossip(s.x - p.lr * g)
    if float(g.norm()) > 0:
        x = yield gossip(x)  # wrong
    return State(x, s.t + 1)


def asks_less(s, grad, p):
    g = grad(s.x)
    x = yield gossip(s.x - p.lr * g)
    if float(g.norm()) < 1:
        x = yield gossip(x)  # wrong
    return State(x, s.t + 1)


def asks_something_else(s, grad, p):
    g = grad(s.x)
    both = s.x - p.lr * g, g
    if float(g.norm()) < 1:
        x, _ = yield gossip(*both)
    else:
        x = yield gossip(both[0])  # wrong
    return State(x, s.t + 1)


def asks_in_some_blocks(s, grad, p):
    x = yield gossip(s.x - p.lr * grad(s.x))
    if (s.x.sum(1) > 100).any():
        x = yield gossip(x)  # wrong
    return State(x, s.t + 1)


def asks_until_it_agrees(s, grad, p):
    x = s.x - p.lr * grad(s.x)
    while (x - x[:1]).abs().sum() > 1e-3:
        x = yield gossip(x)  # wrong
    return State((yield gossip(x)), s.t + 1)


def asks_by_its_helper(s, grad, p):
    x = yield from repeated(s.x - p.lr * grad(s.x))
    return State(x, s.t + 1)


def repeated(x):
    x = yield gossip(x)
    return (yield gossip(x)) if bool((x > 0).any()) else x  # wrong


def asks_every_third_round_again(s, grad, p):
    """As it may: the round decides, and the reply is used where it is wanted, row by row."""
    x = yield gossip(s.x - p.lr * grad(s.x))
    if s.t % 3 == 2:
        again = yield gossip(x)
        x = torch.where(x.norm(dim=1, keepdim=True) > 1, again, x)
    return State(x, s.t + 1)


def wrong_line(method):
    lines, first = inspect.getsourcelines(method)
    return next(first + k for k, line in enumerate(lines) if line.endswith("# wrong\n"))


@pytest.mark.parametrize(
    ("method", "place"),
    [
        (asks_more, asks_more),
        (asks_less, asks_less),
        (asks_something_else, asks_something_else),
        (asks_in_some_blocks, asks_in_some_blocks),
        (asks_until_it_agrees, asks_until_it_agrees),
        (asks_by_its_helper, repeated),
    ],
)
def test_requests_that_depend_on_values_are_found_with_their_line(method, place):
    told = rf"test_checks.py line {wrong_line(place)}, in {place.__name__}: .*round \d+.* values"
    with pytest.raises(AssertionError, match=told):
        check_requests(unfiled(method))


@pytest.mark.parametrize("check", UNIVERSAL)
def test_the_round_may_decide_what_is_asked(check):
    check(unfiled(asks_every_third_round_again))


def test_blocks_of_one_process_that_ask_unlike_things_are_told_the_line():
    line, x0 = wrong_line(asks_in_some_blocks), np.zeros((8, 5))
    x0[7] = 1000
    told = rf"^test_checks.py line {line}, in .* by clients 3 to 7 and not by clients 0 to 2;"
    with pytest.raises(AlgorithmError, match=told):
        run(unfiled(asks_in_some_blocks), x0=x0, blocks=[3, 5])


def test_a_batch_that_is_another_one_where_the_last_is_asked_for_is_found(monkeypatch):
    check_again("dsgd")
    draws = count()
    monkeypatch.setattr(special, "rng", lambda *key: rng(*key, next(draws)))
    for name in ("dsgd", "ngc"):  # which asks for gradients of a whole inbox
        with pytest.raises(AssertionError, match="6 of 6 are another gradient"):
            check_again(name)


def test_there_is_nothing_to_ask_again_where_nothing_is_asked():
    def idle(s, grad, p):
        return State((yield gossip(s.x)), s.t + 1)

    with pytest.raises(AssertionError, match="asks for no gradient"):
        check_again(unfiled(idle))


def test_a_rule_that_does_something_is_not_gossip():
    check_rule_is_gossip(lambda own, inbox, weights: own + weights @ (inbox - own))
    for rule in ("median", {"name": "clipped", "tau": 0.1}):
        with pytest.raises(AssertionError):
            check_rule_is_gossip(rule)


def test_checks_take_the_name_of_a_file_as_everything_does(tmp_path):
    text = inspect.getsource(asks_every_third_round_again)
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom typing import NamedTuple\nfrom p2pqg import algorithm, gossip\n"
        "from p2pqg.algorithms.dsgd import Params\n"
        "class State(NamedTuple):\n    x: torch.Tensor\n    t: int\n"
        "@algorithm('again', params=Params, start=lambda x0: State(x0, 0))\n" + text
    )
    for check in UNIVERSAL:
        check(f"{tmp_path}/mine.py:asks_every_third_round_again")
