"""Blocks answer what an algorithm asks, count bytes, and agree however clients are hosted."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from unfiled import State as Counting
from unfiled import unfiled

from p2pqg.algorithms import allreduce, exchange, gossip, neighbors
from p2pqg.base.errors import AlgorithmError
from p2pqg.engine.block import Block, lockstep
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import batches_per_round, first_traffic, itinerary
from p2pqg.topology import build


class State(NamedTuple):
    x: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float = 1.0


def blocks_of(play, topology, sizes, x0):
    method = unfiled(play, params=Params, start=State)
    rule = Rule(method, Params(), lambda round: 1.0, seed=0)
    bounds = (0, *torch.tensor(sizes).cumsum(0).tolist())
    routing = Routing(build(topology, allow_disconnected=True), bounds)
    return [
        Block(rule, routing, b, x0[bounds[b] : bounds[b + 1]], lambda x, step, again=False: x)
        for b in range(len(sizes))
    ]


def x_of(blocks):
    return torch.cat([block.x for block in blocks])


def start(n, width=3):
    return torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


HOSTING = [[6], [2, 4], [1] * 6]


@pytest.mark.parametrize("sizes", HOSTING)
def test_allreduce_gives_everyone_the_mean(sizes):
    def mean(s, grad, p):
        x = yield allreduce(s.x)
        return State(x)

    x0 = start(6)
    blocks = blocks_of(mean, "ring6", sizes, x0)
    lockstep(blocks, 1)
    torch.testing.assert_close(x_of(blocks), x0.mean(0).expand(6, -1), rtol=0, atol=1e-15)
    ring_allreduce = 2 * (6 - 1) * 3 * 8  # 2 (n - 1) / n vectors of 3 float64 from each of n
    assert sum(block.bytes_sent for block in blocks) == pytest.approx(ring_allreduce)


@pytest.mark.parametrize("sizes", HOSTING)
def test_gossip_of_two_tensors_is_one_message_with_both(sizes):
    def both(s, grad, p):
        x, y = yield gossip(s.x, s.x[:, :1])
        return State(torch.cat([x[:, :2], y], 1))

    x0 = start(6)
    blocks = blocks_of(both, "ring6", sizes, x0)
    lockstep(blocks, 1)
    mixed = torch.from_numpy(build("ring6").mixing(0).dense()) @ x0
    expected = torch.cat([mixed[:, :2], mixed[:, :1]], 1)
    torch.testing.assert_close(x_of(blocks), expected, rtol=0, atol=1e-15)
    assert sum(block.bytes_sent for block in blocks) == 6 * 2 * (3 + 1) * 8


@pytest.mark.parametrize("sizes", HOSTING)
def test_exchange_delivers_to_each_neighbor_its_own_message(sizes):
    """On a chain, slot 0 goes left (right, for the first client), slot 1 right."""

    def swap(s, grad, p):
        inbox = yield exchange(torch.stack([s.x, 10 * s.x], 1))
        return State(inbox.sum(1))

    x0 = start(6)
    blocks = blocks_of(swap, "chain6", sizes, x0)
    lockstep(blocks, 1)
    from_left = torch.cat([torch.zeros(1, 3), x0[:1], 10 * x0[1:5]])  # client 0 has one slot
    from_right = torch.cat([x0[1:], torch.zeros(1, 3)])
    torch.testing.assert_close(x_of(blocks), from_left + from_right, rtol=0, atol=1e-15)
    assert sum(block.bytes_sent for block in blocks) == 2 * 5 * 3 * 8  # every edge, both ways


@pytest.mark.parametrize("said", [lambda n: torch.full((n,), 5.0), lambda n: np.int64(5)])
@pytest.mark.parametrize("sizes", HOSTING)
def test_compressed_messages_count_what_they_say(sizes, said):
    def small(s, grad, p):
        x = yield gossip(s.x, message_bytes=said(len(s.x)))
        return State(x)

    blocks = blocks_of(small, "ring6", sizes, start(6))
    lockstep(blocks, 3)
    assert sum(block.bytes_sent for block in blocks) == 3 * 6 * 2 * 5


def test_blocks_without_links_do_not_wait_for_each_other():
    def mix(s, grad, p):
        x = yield gossip(s.x)
        return State(x)

    x0 = start(6)
    blocks = blocks_of(mix, np.eye(6), [2, 4], x0)
    lockstep(blocks, 2)
    torch.testing.assert_close(x_of(blocks), x0, rtol=0, atol=0)


def test_the_scout_asks_what_the_blocks_ask():
    """The driver's block of no clients sees the same requests, round by round."""

    def sometimes(s, grad, p):
        x = yield gossip(s.x)
        if s.t % 3 == 2:
            x = yield allreduce(x)
        return Counting(x, s.t + 1)

    rule = Rule(unfiled(sometimes, params=Params), Params(), lambda t: 1.0, seed=0)
    asked = [
        (ask.round, ask.kind) for ask, _ in itinerary(rule, rule.start(torch.empty(0, 3)), 0, 4)
    ]
    gossips = [(t, "gossip") for t in range(4)]
    assert asked == [*gossips[:3], (2, "allreduce"), gossips[3]]


def test_a_wrong_yield_is_named():
    def wrong(s, grad, p):
        yield s.x

    with pytest.raises(AlgorithmError, match=r"line \d+, in wrong: yielded a Tensor; yield gossip"):
        lockstep(blocks_of(wrong, "ring6", [6], start(6)), 1)


def twice(s, grad, p):
    """Two batches, and the second one again at another model."""
    grad(s.x)
    g = grad(s.x)
    again = grad(2 * s.x, again=True)
    x = yield gossip(s.x + g + again)
    return State(x)


def test_a_gradient_asked_for_again_is_that_of_the_last_batch_and_no_batch_is_drawn():
    (block,) = blocks_of(twice, "ring6", [6], start(6))
    asked = []

    def gradient(x, step, again=False):
        asked.append((step, again))
        return torch.zeros_like(x)

    block.gradient = gradient
    lockstep([block], 2)
    assert asked == [(0, False), (1, False), (1, True), (2, False), (3, False), (3, True)]
    assert (block.step, block.gradients) == (4, 6)
    assert block.traffic == [(("gradient", 3), ("gossip", 24.0))] * 2


def test_models_that_were_received_are_tried_on_ones_own_batch():
    """NGC and CGA do so; there every slot is one more gradient."""

    def cross(s, grad, p):
        inbox = yield exchange(s.x[:, None])
        both = grad(inbox)
        return State(both.sum(1))

    x0 = start(6)
    blocks = blocks_of(cross, "ring6", [2, 4], x0)
    for block in blocks:
        client = torch.tensor(list(block.clients))[:, None]
        block.gradient = lambda x, step, again=False, client=client: client * x
    lockstep(blocks, 1)
    neighbors = x0.roll(1, 0) + x0.roll(-1, 0)
    torch.testing.assert_close(x_of(blocks), torch.arange(6)[:, None] * neighbors)
    assert [(block.step, block.gradients) for block in blocks] == [(1, 2)] * 2


def test_a_gradient_asked_for_again_before_any_is_a_mistake_of_the_algorithm():
    def wrong(s, grad, p):
        x = yield gossip(grad(s.x, again=True))
        return State(x)

    with pytest.raises(AlgorithmError, match="comes before any grad"):
        lockstep(blocks_of(wrong, "ring6", [6], start(6)), 1)


def test_the_scout_counts_gradients_as_the_blocks_do():
    (block,) = blocks_of(twice, "ring6", [6], start(6))
    lockstep([block], 1)
    assert first_traffic(block.rule, 3, torch.float64) == block.traffic[0]
    assert batches_per_round(block.rule.algorithm, block.rule.params) == 2


def senders_of(name, round=0):
    W = build(name).mixing(round).dense()
    np.fill_diagonal(W, 0)
    return [np.flatnonzero(row) for row in W], [np.flatnonzero(column) for column in W.T]


@pytest.mark.parametrize("sizes", [[8], [3, 5], [1] * 8])
@pytest.mark.parametrize("name", ["exponential8", "onepeer-exponential8", "random-matching8"])
def test_exchange_on_directed_and_changing_networks_goes_to_the_receivers_of_the_round(name, sizes):
    """A message says from whom it is, to whom, and when; what comes in is what was meant."""

    def post(s, grad, p):
        peers = yield neighbors()
        sender = peers.clients[:, None].expand(-1, peers.receivers.shape[1])
        message = torch.stack([sender, peers.receivers], 2).double()
        inbox = yield exchange(message)
        seen.append((peers, inbox))
        return s

    blocks = blocks_of(post, name, sizes, start(8))
    for round in range(4):
        seen = []
        lockstep(blocks, round + 1)
        hears, tells = senders_of(name, round)
        for peers, inbox in seen:
            for row, client in enumerate(peers.clients.tolist()):
                assert peers.senders[row][peers.senders[row] >= 0].tolist() == list(hears[client])
                assert peers.receivers[row][peers.receivers[row] >= 0].tolist() == list(
                    tells[client]
                )
                W = build(name).mixing(round).dense()
                for slot, sender in enumerate(hears[client]):
                    assert inbox[row, slot].tolist() == [sender, client]
                    assert peers.weights[row, slot] == W[client, sender]
                assert not inbox[row, len(hears[client]) :].any()
    messages = sum(len(some) for round in range(4) for some in senders_of(name, round)[1])
    assert sum(block.bytes_sent for block in blocks) == messages * 2 * 8


def test_messages_for_another_number_of_neighbors_are_a_mistake_of_the_algorithm():
    def wrong(s, grad, p):
        inbox = yield exchange(torch.stack([s.x] * 3, 1))
        return State(inbox.sum(1))

    with pytest.raises(AlgorithmError, match=r"\[6, 3, 3\].*must be the neighbors, \[clients, 2"):
        lockstep(blocks_of(wrong, "ring6", [6], start(6)), 1)


def test_an_algorithm_that_asks_for_shapes_is_told_what_a_row_is_made_of():
    def norms(s, grad, p, parameters):
        told.append(parameters)
        x = yield gossip(torch.cat([t.of(s.x).flatten(1) for t in parameters], 1))
        return State(x)

    for shapes, expected in (
        ((("weight", (2, 1)), ("bias", (1,))), [("weight", (2, 1), 0, 2), ("bias", (1,), 2, 3)]),
        ((), [("x", (3,), 0, 3)]),
    ):
        told = []
        (block,) = blocks_of(norms, "ring6", [6], start(6))
        block.rule = Rule(
            unfiled(norms, params=Params, start=State, shapes=True),
            Params(),
            lambda round: 1.0,
            seed=0,
            shapes=shapes,
        )
        lockstep([block], 1)
        ((*found,),) = told
        assert [(t.name, t.shape, t.columns.start, t.columns.stop) for t in found] == expected


@pytest.mark.parametrize("sizes", HOSTING)
def test_a_round_may_ask_for_a_rule_of_its_own(sizes):
    def middle(s, grad, p):
        x, y = yield gossip(s.x, s.x, rule="median")
        plain = yield gossip(s.x)
        return State(x + y + plain)

    x0 = start(6)
    blocks = blocks_of(middle, "ring6", sizes, x0)
    lockstep(blocks, 1)
    three = torch.stack([x0.roll(1, 0), x0, x0.roll(-1, 0)])
    torch.testing.assert_close(x_of(blocks), 2 * three.median(0).values + three.mean(0))
    assert sum(block.bytes_sent for block in blocks) == 6 * 2 * 3 * 8 * 3
