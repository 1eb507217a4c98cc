"""Clients from the least to the most."""

from p2pqg.page.ranking import by_accuracy
from p2pqg.page.runs import gather, labels


def test_dots_of_runs_that_are_alike_do_not_cover_each_other(recorded):
    shown = gather([recorded("a", lr=0.1).path, recorded("b", lr=0.2).path])
    paths = [dot.path for dot in by_accuracy(shown, labels(shown)).dots]
    assert len(set(paths)) == len(paths) == 32
