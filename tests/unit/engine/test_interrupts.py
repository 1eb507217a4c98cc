"""Ctrl-C comes when it does no harm, and to who insists at once."""

import signal

import pytest

from p2pqg.engine.interrupts import INSISTENT, to_the_end, uninterrupted


def press(times=1):
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def write(presses, done):
    """Something that must not be interrupted, and is asked to stop."""
    with uninterrupted():
        press(presses)
        done.append("written")


def test_what_is_inside_runs_to_its_end_and_then_it_comes_once():
    done = []
    with pytest.raises(KeyboardInterrupt):
        write(3, done)
    assert done == ["written"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_presses_often_enough_means_at_once():
    done = []
    with pytest.raises(KeyboardInterrupt):
        write(INSISTENT, done)
    assert done == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_insists_is_heard_within_others_too_and_all_are_told_that_they_are_torn():
    done, torn = [], []

    def all_of_it():
        with uninterrupted(torn=lambda: torn.append("outer")):
            with uninterrupted(torn=lambda: torn.append("before")):
                press()
            write(INSISTENT - 2, done)
            with uninterrupted(torn=lambda: torn.append("inner")):
                press()
                done.append("too much")

    with pytest.raises(KeyboardInterrupt):
        all_of_it()
    assert done == ["written"]
    assert torn == ["outer", "inner"]
    write(0, done)  # and nothing is left of it
    assert done == ["written"] * 2


def test_where_a_script_only_notes_that_it_is_to_end_nothing_is_torn():
    noted, torn = [], []
    before = signal.signal(signal.SIGINT, lambda *_: noted.append("soon"))
    try:
        with uninterrupted(torn=lambda: torn.append("torn")):
            press(INSISTENT + 1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (noted, torn) == (["soon"] * 2, [])


def test_once_stopped_nothing_is_stopped_again():
    done = []
    with to_the_end() as stopping:
        try:
            press()
        except KeyboardInterrupt:
            stopping()
            press(2)
            done.append("written")
        press(2)
    assert done == ["written"]


def test_what_has_not_been_stopped_may_be():
    with to_the_end(), pytest.raises(KeyboardInterrupt):
        press()
