"""One round of a user's algorithm: whether it draws from what every process has for itself."""

import dataclasses
import itertools
import random
import re
import threading

import numpy as np
import pytest
import torch
from torch import nn
from unfiled import State, unfiled

from p2pqg import OwnPace, trajectory
from p2pqg.algorithms import arrived, gossip, push
from p2pqg.base.errors import AlgorithmError
from p2pqg.engine import call


def entry(method, **said):
    if said:  # each client counts its own steps
        said = {"start": lambda x0: State(x0, torch.zeros(len(x0)))} | said
    return unfiled(method, **said)


def python_coin(s, grad, p):
    half = s.x - p.lr * grad(s.x)
    x = (yield gossip(half)) if random.random() < 2 else half
    return State(x, s.t + 1)


def numpy_noise(s, grad, p):
    x = yield gossip(s.x - p.lr * grad(s.x))
    return State(x + np.random.randn(), s.t + 1)  # noqa: NPY002  as users do


def torch_noise_later(s, grad, p):
    x = yield gossip(s.x)
    noise = torch.rand_like(x) if s.t == 1 else 0
    return State(x - p.lr * grad(x) + noise, s.t + 1)


def round_coin(s, grad, p):
    half = s.x - p.lr * grad(s.x)
    if np.random.default_rng([7, s.t]).random() < 0.5:
        half = yield gossip(half)
    return State(half, s.t + 1)


def noisy_gradient(x, round):
    return x + np.random.randn(*x.shape)  # noqa: NPY002  as users do


@pytest.fixture
def own_draws(monkeypatch):
    """What users' code draws here leaves no trace in other tests; threads of these do not count."""
    count, others = threading.active_count, threading.active_count() - 1
    monkeypatch.setattr(threading, "active_count", lambda: count() - others)
    before = random.getstate(), np.random.get_state()  # noqa: NPY002  put back
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(before[0])
    np.random.set_state(before[1])  # noqa: NPY002  put back


def played(algorithm, gradient=lambda x, round: x, **more):
    more = {"topology": "ring4", "rounds": 4, "lr": 0.1} | more
    return trajectory(algorithm, gradient, np.ones(3), **more)


@pytest.mark.parametrize(
    ("method", "whose"),
    [
        (python_coin, "Python's random"),
        (numpy_noise, "numpy.random"),
        (torch_noise_later, "torch"),
    ],
)
@pytest.mark.parametrize("blocks", [[4], [1, 3]])
def test_a_round_that_draws_from_what_a_process_shares_is_told(own_draws, method, whose, blocks):
    line = method.__code__.co_firstlineno
    told = rf"test_call.py line {line}, in {method.__name__}: draws from {whose}.*draws=True"
    with pytest.raises(AlgorithmError, match=told):
        played(entry(method), blocks=blocks)


def test_a_step_of_clients_that_do_not_wait_is_told_as_well(own_draws):
    def step(s, grad, p):
        yield push(s.x - p.lr * grad(s.x))
        inbox = yield arrived("newest")
        return State(s.x + torch.rand(()) + inbox.sum(inbox.weights)[0], s.t + 1)

    with pytest.raises(AlgorithmError, match="in step: draws from torch"):
        played(entry(step, asynchronous=OwnPace()))


@pytest.mark.parametrize("pace", [None, OwnPace()])
def test_only_the_first_rounds_are_looked_at(monkeypatch, pace):
    class Counted(call.Watch):
        def __enter__(self):
            looks.append(self)
            return super().__enter__()

    def step(s, grad, p):
        yield push(s.x - p.lr * grad(s.x))
        inbox = yield arrived("newest")
        return State(s.x + inbox.sum(inbox.weights)[0], s.t)

    monkeypatch.setattr(call, "Watch", Counted)
    method = entry(step, asynchronous=pace) if pace else entry(round_coin)
    looks, counts = [], []
    for rounds in (5, 40):
        looks.clear()
        played(method, rounds=rounds)
        counts.append(len(looks))
    assert counts[0] == counts[1] > 0


def test_what_a_gradient_draws_is_not_the_algorithms(own_draws):
    assert not np.allclose(played(entry(round_coin), noisy_gradient)[-1], 0)


def test_what_a_library_draws_while_it_is_imported_is_not_the_algorithms(
    own_draws, tmp_path, monkeypatch
):
    (tmp_path / "shuffles_at_import.py").write_text("import random\nrandom.random()\n")
    monkeypatch.syspath_prepend(tmp_path)

    def late(s, grad, p):
        import shuffles_at_import  # noqa: F401

        return State((yield gossip(s.x - p.lr * grad(s.x))), s.t + 1)

    before = random.getstate()
    played(entry(late))
    assert random.getstate() != before


def test_a_generator_of_the_rounds_number_is_every_blocks_own():
    whole = played(entry(round_coin))
    assert np.array_equal(played(entry(round_coin), blocks=[1, 1, 2]), whole)
    heard = [np.random.default_rng([7, t]).random() < 0.5 for t in range(4)]
    assert 0 < sum(heard) < 4  # both happen


def test_what_a_client_starts_with_may_depend_on_the_parameters():
    """Adaptive methods begin with a number of their own: here every step is as long as that."""

    def of_size(s, grad, p):
        x = yield gossip(s.x - p.lr * s.t)
        return State(x, s.t)

    method = entry(of_size, start=lambda x0, p: State(x0, torch.full_like(x0, p.size)))
    params = dataclasses.make_dataclass(
        "P", [("lr", float), ("size", float, 2.0)], frozen=True, kw_only=True
    )
    method = dataclasses.replace(method, params=params)
    np.testing.assert_allclose(played(method)[-1], 1 - 4 * 0.1 * 2)
    np.testing.assert_allclose(played(method, size=0.5)[-1], 1 - 4 * 0.1 * 0.5)


def beside(draws):
    """A method, and another thread that draws in some of the times when a round is played."""
    done, count = threading.Event(), itertools.count()
    thread = threading.Thread(target=done.wait)
    thread.start()

    def step(s, grad, p):
        if draws(next(count)):
            np.random.rand()  # noqa: NPY002  stands for what the other thread draws
        x = yield gossip(s.x - p.lr * grad(s.x))
        return State(x, s.t + 1)

    try:
        return played(entry(step), rounds=8)
    finally:
        done.set()
        thread.join()


def test_what_another_thread_may_have_drawn_is_not_told_as_the_rounds(own_draws):
    for when in (0, 1, 2, 3):
        beside(lambda number, when=when: number == when)
    for first in (0, 1, 2):
        with pytest.raises(AlgorithmError, match=r"in step: draws from numpy.random"):
            beside(lambda number, first=first: number >= first)


def test_a_round_may_be_an_object_that_is_called_and_equals_others(own_draws):
    @dataclasses.dataclass
    class Method:
        share: float
        draws: bool = False
        __name__ = "method"

        def __call__(self, s, grad, p):
            if self.draws:
                torch.rand(())
            x = yield gossip(s.x - self.share * p.lr * grad(s.x))
            return State(x, s.t + 1)

    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        played(entry(Method(0.5)), rounds=8)
        with pytest.raises(AlgorithmError, match="draws from torch"):
            played(entry(Method(0.5, draws=True)), rounds=8)
    finally:
        done.set()
        thread.join()


def test_models_are_not_computed_to_see_that_a_state_has_kept_its_shape():
    def models(state):
        asked.append(state)
        return state.x / 2

    def step(s, grad, p):
        x = yield gossip(s.x)
        return State(x, s.t + 1)

    asked, own = [], entry(step, model=models)
    x = torch.ones(2, 3)
    assert call._wrong_state(State(x + 1, 4), State(x, 3), own, 2) is None
    assert asked == []
    told = r"the models must stay \[2, 3\] of float32, got \[2, 3\] of float64"
    assert re.fullmatch(told, call._wrong_state(State(x.double(), 4), State(x, 3), own, 2))


def test_a_layer_that_is_made_in_a_round_is_told_what_to_do(own_draws):
    def step(s, grad, p):
        layer = nn.Linear(3, 3)
        x = yield gossip(s.x - p.lr * grad(s.x) * layer.weight.sum())
        return State(x, s.t + 1)

    with pytest.raises(AlgorithmError, match=r"when it is made \(nn.Linear\(...\)\): make it outs"):
        played(entry(step))
