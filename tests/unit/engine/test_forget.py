"""What a generator that waits will not read again is let go of; all else stays."""

import sys
import weakref

import pytest

from p2pqg.engine.forget import READ_BY_US, forget

forgets = pytest.mark.skipif(
    sys.version_info[:2] >= READ_BY_US[1],
    reason="frames of this Python keep what they are told to forget",
)


class Large:
    """Something that is seen to go."""


def alive(made):
    return [one() is not None for one in made]


def noted(made):
    one = Large()
    made.append(weakref.ref(one))
    return one


@forgets
def test_only_what_is_read_again_stays():
    made = []

    def own():
        g, half, kept = noted(made), noted(made), noted(made)
        _ = g, half
        del _
        x = yield
        yield x, kept

    waiting = own()
    next(waiting)
    assert alive(made) == [True, True, True]
    forget(waiting)
    assert alive(made) == [False, False, True]
    assert waiting.send(5) == (5, made[2]())


def test_what_another_turn_of_a_loop_reads_stays():
    made = []

    def own():
        total, last = noted(made), None
        for _ in range(2):
            yield last
            last = total
            total = noted(made)

    waiting = own()
    next(waiting)
    forget(waiting)
    assert alive(made) == [True]
    assert next(waiting) is made[0]()


@forgets
def test_it_reaches_those_to_which_a_round_hands_over():
    made = []

    def inner(half):
        mixed = yield
        return mixed

    def own():
        x = yield from inner(noted(made))
        yield x

    waiting = own()
    next(waiting)
    forget(waiting)
    assert alive(made) == [False]
    assert waiting.send(3) == 3


def test_nothing_is_forgotten_where_errors_are_handled_or_others_may_read():
    made = []

    def handles():
        one = noted(made)
        try:
            yield
        except ValueError:
            yield one

    def shares():
        one = noted(made)
        yield lambda: one

    waiting, shared = handles(), shares()
    next(waiting)
    read = next(shared)
    forget(waiting)
    forget(shared)
    assert alive(made) == [True, True]
    assert waiting.throw(ValueError()) is made[0]()
    assert read() is made[1]()


def test_a_generator_that_is_over_has_nothing_to_forget():
    waiting = iter(())
    over = (x for x in waiting)
    assert list(over) == []
    forget(over)
