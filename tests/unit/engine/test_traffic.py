"""What a round takes: put together from hosts, and weighed from what an algorithm sends."""

import pytest
import torch

from p2pqg.algorithms.effects import AllReduce, Decide, Exchange, Gossip
from p2pqg.engine.traffic import computed, of_all, weighed

UNEVEN = (("gradient", 1), ("gossip", (4.0, 8.0)))
EVEN = (("gradient", 1), ("gossip", 8.0))


@pytest.mark.parametrize(
    ("parts", "clients", "whole"),
    [
        ([EVEN], [3], EVEN),
        ([EVEN, EVEN], [3, 1], EVEN),
        ([UNEVEN], [2], UNEVEN),
        ([UNEVEN, UNEVEN], [2, 2], (("gradient", 1), ("gossip", (4.0, 8.0, 4.0, 8.0)))),
        ([EVEN, UNEVEN], [3, 2], (("gradient", 1), ("gossip", (8.0, 8.0, 8.0, 4.0, 8.0)))),
        ([(("gossip", (8.0, 8.0)),), (("gossip", 8.0),)], [2, 1], (("gossip", 8.0),)),
    ],
)
def test_sizes_of_all_hosts_are_told_client_by_client_only_where_they_differ(parts, clients, whole):
    assert of_all([[part] for part in parts], clients) == [whole]


def test_gradients_one_after_the_other_are_one_entry():
    taken = []
    computed(taken, 2)
    computed(taken, 3)
    taken.append(("gossip", 8.0))
    computed(taken, 1)
    assert taken == [("gradient", 5), ("gossip", 8.0), ("gradient", 1)]


def test_messages_weigh_what_one_client_sends_of_its_rows_or_what_the_algorithm_says():
    x, y = torch.zeros(4, 10), torch.zeros(4, 3, dtype=torch.float64)
    slots = torch.zeros(4, 2, 10)  # [clients, neighbors, params]
    assert weighed(Gossip((x, y))) == ("gossip", 64.0)
    assert weighed(Gossip((x,), message_bytes=7)) == ("gossip", 7.0)
    assert weighed(Exchange((slots,))) == ("gossip", 40.0)
    assert weighed(AllReduce((x, y))) == ("allreduce", 64.0)
    assert weighed(AllReduce((x,), message_bytes=7)) == ("allgather", 7.0)
    assert weighed(Decide(torch.zeros(4))) == ("allreduce", 4.0)
