"""Random numbers of users' code: seen, and keyed."""

import random
import threading

import numpy as np
import torch

from p2pqg.base.draws import draws_from, keyed, torch_keyed


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002  as users do


def test_whose_numbers_a_call_takes_is_seen():
    assert draws_from(draw) == {"Python's random", "numpy.random", "torch"}
    assert draws_from(lambda: torch.rand(3)) == {"torch"}
    assert draws_from(lambda: np.random.default_rng(0).random()) == set()


def test_draws_belong_to_a_key_and_leave_no_trace():
    with torch.random.fork_rng(devices=[]):
        with keyed(5):
            there = draw()
            expected = draw()
        with keyed(5):
            assert draw() == there
            with keyed(6):
                assert all(a != b for a, b in zip(draw(), there, strict=True))
            assert draw() == expected

    def within():
        with keyed(7):
            draw()

    assert draws_from(within) == set()


def test_threads_do_not_draw_from_each_others_keys():
    """Two runs may be in threads of one process, and each builds what is the user's."""
    inside, drawn = threading.Event(), []

    def builds():
        with keyed(6):
            inside.set()
            drawn.append(draw())

    with keyed(5):
        expected = draw(), draw()
    with keyed(6):
        of_other = draw()
    other = threading.Thread(target=builds)
    with keyed(5):
        first = draw()
        other.start()
        assert not inside.wait(timeout=0.05)
        assert (first, draw()) == expected
    other.join()
    assert drawn == [of_other]


def test_threads_do_not_drop_out_what_belongs_to_each_others_keys():
    inside = threading.Event()

    def steps():
        with torch_keyed(6):
            inside.set()

    with torch_keyed(5):
        expected = torch.rand(2)
    other = threading.Thread(target=steps)
    before = torch.get_rng_state()
    with torch_keyed(5):
        other.start()
        assert not inside.wait(timeout=0.05)
        assert torch.equal(torch.rand(2), expected)
    other.join()
    assert inside.is_set()
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_drawn_on_a_card_is_keyed_there(monkeypatch):
    """Without a card: its generator is set aside, and every generator there is gets the seed."""
    forked, seeds, fork, seed = [], [], torch.random.fork_rng, torch.manual_seed  # noqa: TID251
    monkeypatch.setattr(torch.random, "fork_rng", lambda of: forked.append([*of]) or fork([]))
    monkeypatch.setattr(torch, "manual_seed", lambda key: seeds.append(key) or seed(key))
    card = torch.device("cuda", 0)
    with keyed(5, card):
        assert (forked, seeds) == ([[card]], [5])
        there = torch.rand(2)
    with keyed(5, torch.device("cpu")):
        assert torch.equal(torch.rand(2), there)
    assert len(forked) == 1
