"""A simulation in a user's process computes with its own number of threads, and leaves theirs."""

from threading import Event, Thread

import pytest
import torch
from toys import TOY

import p2pqg
from p2pqg.engine.guest import with_threads
from p2pqg.engine.host import Host


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
@pytest.mark.parametrize("algorithm", ["qg-dsgdm-n", "ad-psgd"])
def test_a_script_has_its_threads_again_and_those_of_a_simulation_are_its_own(
    algorithm, monkeypatch
):
    """On how many there are the last bits of sums depend."""
    seen = []

    def measure(self, *given, really=Host.measure):
        seen.append(torch.get_num_threads())
        really(self, *given)

    monkeypatch.setattr(Host, "measure", measure)
    made = {**TOY, "algorithm": algorithm, "rounds": 4, "network": {"compute": "1 s"}}
    with p2pqg.Simulation(**made, engine="local") as sim:
        assert sim.placement.num_threads == 1
        assert torch.get_num_threads() == 3
        sim.advance(2)
        branch = sim.fork()
        assert torch.get_num_threads() == 3
        branch.advance(2)
    assert torch.get_num_threads() == 3
    assert set(seen) == {1}


@pytest.mark.usefixtures("three_threads")
def test_of_simulations_in_threads_the_last_one_leaves_what_the_first_one_found():
    seen, began, ended = [], Event(), Event()

    def first():
        with with_threads(1):
            began.set()
            ended.wait(10)
            seen.append(torch.get_num_threads())

    def second():
        with with_threads(2):
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())
        ended.set()

    threads = [Thread(target=first), Thread(target=second)]
    threads[0].start()
    began.wait(10)
    threads[1].start()
    for thread in threads:
        thread.join()
    new = Thread(target=lambda: seen.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert seen == [2, 3, 1, 3]


@pytest.mark.usefixtures("three_threads")
def test_who_leaves_first_leaves_the_others_theirs():
    seen, (began, came, left) = [], (Event(), Event(), Event())

    def first():
        with with_threads(1):
            began.set()
            came.wait(10)
        left.set()

    def second():
        began.wait(10)
        with with_threads(2):
            came.set()
            left.wait(10)
            seen.append(torch.get_num_threads())

    threads = [Thread(target=first), Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    new = Thread(target=lambda: seen.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert seen == [2, 3]
