"""Ledger: bytes and messages per link."""

import pickle
import sys
from dataclasses import replace
from threading import Event, Thread

import networkx as nx
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from p2pqg.network import ledger as module
from p2pqg.network.ledger import Ledger
from p2pqg.network.links import link_codes
from p2pqg.topology import RULES, build

MB = 1_000_000
RING = build("ring8").mixing(0)
DIRECTED_RING = RULES["uniform"].build(nx.cycle_graph(6, create_using=nx.DiGraph))


def test_a_ledger_books_every_message_to_its_link():
    ledger = Ledger()
    for _ in range(3):
        ledger.gossip(DIRECTED_RING, MB)
    ledger.gossip(RULES["uniform"].build(nx.path_graph(6)), 10.0)
    books = ledger.arrays()
    there = {
        (s, r): (b, m) for s, r, b, m in zip(*(a.tolist() for a in books.values()), strict=True)
    }
    assert there[5, 0] == (3 * MB, 3)
    assert there[0, 1] == (3 * MB + 10, 4)
    assert there[1, 0] == (10, 1)
    assert len(there) == 11
    assert books["bytes"].sum() == 6 * 3 * MB + 100


def test_a_ledger_leaves_out_who_sits_out_and_who_sends_nothing():
    ledger = Ledger()
    ledger.gossip(replace(RING, active=np.arange(8) != 3), MB)
    assert ledger.arrays()["messages"].sum() == 16 - 4
    ledger.gossip(RING, 0.0)
    assert ledger.arrays()["messages"].sum() == 16 - 4


def test_a_ledger_books_an_allreduce_along_its_ring():
    ledger = Ledger()
    ledger.allreduce(MB, np.array([0, 2, 5, 7]))
    books = ledger.arrays()
    assert_array_equal(books["sender"], [7, 0, 2, 5])
    assert_array_equal(books["receiver"], [0, 2, 5, 7])
    assert_array_equal(books["bytes"], 1.5 * MB)
    assert_array_equal(books["messages"], 6)
    ring = Ledger()
    ring.allgather(MB, np.array([0, 2, 5]))
    assert_array_equal([*ring.arrays().values()], [[5, 0, 2], [0, 2, 5], [2 * MB] * 3, [2] * 3])
    ledger.allgather(MB, np.array([5, 2]))  # one message each way
    books = ledger.arrays()
    assert_array_equal(books["sender"], [7, 0, 5, 2, 5])
    assert_array_equal(books["bytes"], MB * np.array([1.5, 1.5, 1, 2.5, 1.5]))
    ledger.allreduce(MB, np.array([5, 2]))  # and there and back half of the tensor
    assert_array_equal(ledger.arrays()["bytes"], MB * np.array([1.5, 1.5, 2, 3.5, 1.5]))


def test_who_is_alone_in_a_ring_sends_nothing():
    ledger = Ledger()
    ledger.allreduce(100.0, np.array([3]))
    ledger.allgather(100.0, np.array([3]))
    assert [len(column) for column in ledger.arrays().values()] == [0] * 4


def test_a_ledger_that_comes_back_from_its_arrays_goes_on():
    ledger, whole = Ledger(), Ledger()
    sizes = 7.0 + np.arange(8)  # by sender
    ledger.gossip(RING, sizes)
    ledger.gossip(DIRECTED_RING, 5.0)
    assert_array_equal(ledger.arrays()["bytes"][:3], [8.0, 5.0, 14.0])  # to 0, of 1, 5 and 7
    ledger = Ledger.of(ledger.arrays())
    ledger.gossip(DIRECTED_RING, 5.0)
    ledger.allreduce(3.0, np.arange(8))
    whole.gossip(RING, sizes)
    whole.gossip(DIRECTED_RING, 5.0)
    whole.gossip(DIRECTED_RING, 5.0)
    whole.allreduce(3.0, np.arange(8))
    for name, column in whole.arrays().items():
        assert_array_equal(ledger.arrays()[name], column)
    assert Ledger.of(Ledger().arrays()).arrays()["sender"].size == 0


class OneByOne:
    """Adds each message to its link as soon as it is booked."""

    def __init__(self):
        self.sums = {}

    def gossip(self, W, size):
        for sender, receiver in zip(W.senders.tolist(), W.receivers.tolist(), strict=True):
            if sender != receiver:
                self.add(sender, receiver, size, 1)

    def allreduce(self, size, clients):
        n = len(clients)
        for sender, receiver in zip(clients, np.roll(clients, -1), strict=True):
            self.add(sender, receiver, 2 * (n - 1) / n * size, 2 * (n - 1))

    def add(self, sender, receiver, size, messages):
        num_bytes, count = self.sums.get((receiver, sender), (0.0, 0))
        self.sums[receiver, sender] = num_bytes + size, count + messages


@pytest.mark.parametrize("sizes", [[4e6, 0.125], [0.1, 0.1, 0.1], [4e6, 1 / 3], [2.0**40, 0.125]])
@pytest.mark.parametrize("name", ["ring9", "day-and-night16", "random-matching9"])
@pytest.mark.parametrize("few", [0, 100, module.FEW])
def test_what_is_booked_together_sums_to_the_last_bit_as_one_by_one(few, name, sizes, monkeypatch):
    monkeypatch.setattr(module, "FEW", few)
    schedule = build(name)
    ledger, one_by_one = Ledger(), OneByOne()
    for round in range(40):
        for book in (ledger, one_by_one):
            for size in sizes:
                book.gossip(schedule.mixing(round), size)
            if round % 7 == 3:
                book.allreduce(sizes[round % 2], np.arange(0, 9, 2))
        if round == 25:
            ledger = ledger.copy()
    books = ledger.arrays()
    links = sorted(one_by_one.sums)
    assert list(zip(books["receiver"], books["sender"], strict=True)) == links
    assert_array_equal(books["bytes"], [one_by_one.sums[link][0] for link in links])
    assert_array_equal(books["messages"], [one_by_one.sums[link][1] for link in links])


def test_the_links_of_a_w_that_comes_again_are_worked_out_once(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "link_codes", lambda *ends: calls.append(ends) or link_codes(*ends))
    ledger, schedule = Ledger(), build("day-and-night16")
    for round in range(100):
        ledger.gossip(schedule.mixing(round), MB)
    assert len(calls) == 2
    assert ledger.arrays()["messages"].sum() == 50 * (2 * 16) + 50 * (2 * 15)


def test_what_waits_to_be_added_is_no_more_than_there_are_links_or_a_few():
    ledger, schedule = Ledger(), build("random-matching400")
    most = 0
    for round in range(300):
        ledger.gossip(schedule.mixing(round), MB)
        most = max(most, sum(len(booked.codes) for booked in ledger.waiting))
        assert most <= max(module.FEW, len(ledger.codes))
    assert most > module.FEW // 2


def test_another_thread_may_ask_while_rounds_are_booked():
    ledger, done = Ledger(), Event()

    def ask():
        while not done.is_set():
            ledger.arrays()

    every, interval = [Thread(target=ask) for _ in range(2)], sys.getswitchinterval()
    drawn = build("random-ring8")
    sys.setswitchinterval(1e-6)
    try:
        for thread in every:
            thread.start()
        for round in range(2000):
            ledger.gossip(drawn.mixing(round) if round % 2 else RING, 4.0)
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for thread in every:
            thread.join()
    assert ledger.arrays()["messages"].sum() == 2000 * 16
    assert ledger.arrays()["bytes"].sum() == 2000 * 16 * 4


def test_a_ledger_that_travels_takes_its_sums_along_and_knows_no_network():
    ledger = Ledger()
    ledger.gossip(RING, MB)
    other = pickle.loads(pickle.dumps(ledger))
    assert (other.waiting, other._known) == ([], {})
    for one in (ledger, other):
        one.gossip(RING, MB)
    assert_array_equal(other.arrays()["bytes"], ledger.arrays()["bytes"])


def test_rounds_in_which_nothing_is_sent_do_not_gather(monkeypatch):
    monkeypatch.setattr(module, "FEW", 8)
    ledger = Ledger()
    for _ in range(100):
        ledger.gossip(replace(RING, active=np.arange(8) == 3), MB)
        assert len(ledger.waiting) <= 8
    assert len(ledger.arrays()["bytes"]) == 0
