"""What does not come along into a process that was forked is made anew there."""

import os

import pytest
import torch

from p2pqg.base.forked import OfProcess, computes, threads


def test_a_process_makes_it_once_and_who_was_forked_its_own(monkeypatch):
    made = OfProcess(list)
    of_parent = made()
    of_parent.append("a thread")
    assert made() is of_parent
    monkeypatch.setattr(os, "getpid", lambda: 0)
    assert made() == []
    assert made() is made()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .*multi-threaded:DeprecationWarning")
def test_who_is_forked_from_a_process_that_has_computed_computes_alone():
    """It hung in its first large product."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        computes()
        if not (child := os.fork()):
            os._exit(10 * torch.get_num_threads() + threads(2))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 11
        assert torch.get_num_threads() == threads(2) == 2
    finally:
        torch.set_num_threads(before)
