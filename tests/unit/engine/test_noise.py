"""Noise is that of its keys, whether or not it was drawn before anybody asked for it."""

from concurrent.futures import Future

import numpy as np
import pytest
import torch

from p2pqg.base.seeding import rng
from p2pqg.engine import noise as drawing
from p2pqg.engine.noise import Noise

CPU = torch.device("cpu")


def drawn(keys, width, dtype):
    return np.stack([rng(3, "privacy", *key).standard_normal(width, dtype) for key in keys])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("numbers", [(0, 1, 2), (5, 5, 2, 3, 9)], ids=str)
def test_rows_are_those_of_their_keys_in_whichever_order_they_come(dtype, numbers, monkeypatch):
    monkeypatch.setattr(drawing, "TASK", 10)  # two rows a task
    noise = Noise(3, "privacy", CPU)
    for number in numbers:
        for clients in (range(5), range(5, 8)):
            keys = [(client, number) for client in clients]
            found = noise.rows(keys, 5, dtype, ahead=True).numpy()
            assert (found == drawn(keys, 5, found.dtype)).all()
            assert found.dtype == (np.float64 if dtype == torch.float64 else np.float32)


def test_the_next_rows_are_drawn_once_and_no_more_than_there_is_room_for(monkeypatch):
    every = []  # threads of the tests before may still draw what nobody asked for
    monkeypatch.setattr(drawing, "rng", lambda *key: every.append(key) or rng(*key))
    monkeypatch.setattr(drawing, "AHEAD_BYTES", 4 * 2 * 7)  # two rows of seven
    noise = Noise(3, "of this test", CPU)
    for number in range(4):
        for client in (0, 2, 4):  # pairs, of which one fits
            noise.rows([(client, number), (client + 1, number)], 7, torch.float32, ahead=True)
    noise.rows([(0, 4), (1, 4)], 7, torch.float32, ahead=False)
    asked = [tuple(key) for _, purpose, *key in every if purpose == "of this test"]
    assert sorted(asked) == sorted({*asked})
    assert {key for key in asked if key[1] > 3} == {(0, 4), (1, 4)}


def test_in_a_process_that_was_forked_there_are_threads_again(monkeypatch):
    """Those of its parent do not come along: it waited for them without an end."""
    noise = Noise(3, "privacy", CPU)
    noise.rows([(0, 0)], 7, torch.float32, ahead=True)
    noise._threads().shutdown()
    (drawing_ahead,) = noise._ahead().values()
    drawing_ahead[1][:] = [Future()]  # which nobody completes
    monkeypatch.setattr("os.getpid", lambda: 0)
    found = noise.rows([(0, 1)], 7, torch.float32, ahead=True).numpy()
    assert (found == drawn([(0, 1)], 7, found.dtype)).all()
