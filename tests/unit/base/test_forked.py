"""What does not come along into a process that was forked is made anew there."""

import os

from p2pqg.base.forked import OfProcess


def test_a_process_makes_it_once_and_who_was_forked_its_own(monkeypatch):
    made = OfProcess(list)
    of_parent = made()
    of_parent.append("a thread")
    assert made() is of_parent
    monkeypatch.setattr(os, "getpid", lambda: 0)
    assert made() == []
    assert made() is made()
