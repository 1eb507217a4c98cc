"""Processes side by side end when they are told to, whatever they have come to by then."""

import signal
import time

import pytest

from p2pqg.engine.machine import cores
from p2pqg.running import pool as pools

WORK = {name: (60,) for name in "abc"}


@pytest.fixture
def pool():
    with pools.Pool(2, cores(), []) as pool:
        yield pool
        began = time.monotonic()
    assert time.monotonic() - began < 20  # none is waited for


def hear(*said): ...


def test_processes_that_are_stopped_while_they_start_end(pool, monkeypatch):
    def interrupted(*_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(pools, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(pool.carry_out(time.sleep, WORK, hear))
    ended = pool.stop()
    assert set(ended) == set(WORK)


def test_ctrl_c_between_two_that_begin_comes_when_all_can_be_stopped(pool, monkeypatch):
    submit = pool._executor.submit

    def submit_and_interrupt(*work):
        future = submit(*work)
        if work[2] == WORK["a"] and not pool._futures:
            signal.raise_signal(signal.SIGINT)
        return future

    monkeypatch.setattr(pool._executor, "submit", submit_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(pool.carry_out(time.sleep, WORK, hear))
    assert sorted(pool._futures.values()) == sorted(WORK)
    pool.stop()
