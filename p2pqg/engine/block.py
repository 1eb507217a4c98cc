"""A block: k >= 1 clients, their rows of the algorithm's state, and their rounds.

Runs the algorithm's generator and answers what it asks of the network: from its own rows where it
hosts all that is needed, otherwise by handing parcels to the engine and waiting for others'.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from p2pqg.algorithms._effects import AllReduce, Decide, Effect, Exchange, Gossip
from p2pqg.engine.clock import Clock
from p2pqg.engine.mixer import Mixer
from p2pqg.engine.routes import EdgeRoutes, Leg, Routing, everyone
from p2pqg.engine.rule import Rule, bare

Parcel = tuple[Tensor, ...]

Gradient = Callable[[Tensor, int], Tensor]
"""gradient(x [clients, params], step) -> [clients, params], weight decay included."""


class Block:
    """k clients and all that they carry from round to round.

    Attributes:
        clients: the hosted clients, consecutive.
        state: the algorithm's state, tensors [k, ...].
        round: the next round; step: gradients drawn so far, the cursor of the data.
        bytes_sent: by the hosted clients to others, since the start.
        exchanges: times that rows were mixed with W, since the start.
    """

    def __init__(
        self,
        rule: Rule,
        routing: Routing,
        index: int,
        x0: Tensor,
        gradient: Gradient,
        clock: Clock | None = None,
    ) -> None:
        self.clock = clock or Clock(on=False)
        self.rule = rule
        self.routing = routing
        self.index = index
        self.clients = range(routing.bounds[index], routing.bounds[index + 1])
        self.gradient = gradient
        self.state = rule.start(x0)
        self.round = 0
        self.step = 0
        self.bytes_sent = 0.0
        self.exchanges = 0
        self._mixers: dict[int, tuple[Any, Mixer]] = {}

    @property
    def x(self) -> Tensor:
        """[k, params]: the clients' models."""
        return self.rule.model(self.state)

    def rounds(self, until: int) -> Generator[tuple[list[Parcel], Leg], list[Parcel], None]:
        """Run up to round `until`; yields what other blocks need, takes what this one needs."""
        while self.round < until:
            call = self.rule.play(self.state, self._grad, self.round, self.clients)
            reply = None
            try:
                while True:
                    with self.clock("update"):
                        effect = call.send(reply)
                    reply = bare((yield from self._answer(effect)))
            except StopIteration as end:
                self.state = end.value
            self.round += 1

    def _grad(self, x: Tensor) -> Tensor:
        with self.clock("compute"):
            g = self.gradient(x, self.step)
        self.step += 1
        return g

    def _answer(self, effect: Effect) -> Generator[Any, Any, tuple[Tensor, ...]]:
        match effect:
            case Gossip():
                return (yield from self._gossip(effect))
            case Exchange():
                return (yield from self._exchange(effect))
            case AllReduce():
                return (yield from self._allreduce(effect))
            case Decide():
                return (yield from self._decide(effect))
        raise AssertionError(effect)  # `watched` lets nothing else through

    def _gossip(self, effect: Gossip):
        routes = self.routing.rows(self.round)
        mixer = self._mixer(routes, effect.tensors[0])
        self.exchanges += 1
        if effect.message_bytes is None:
            self.bytes_sent += _row_bytes(effect.tensors) * int(mixer.out_degrees.sum())
        else:
            self.bytes_sent += float(effect.message_bytes.cpu().numpy() @ mixer.out_degrees)
        columns = effect.tensors
        if not routes.leg.silent:
            with self.clock("exchange"):
                rows_of = routes.parcels[self.index]
                parcels = [tuple(t[rows] for t in effect.tensors) for rows in rows_of]
            arrived = yield parcels, routes.leg
            with self.clock("exchange"):
                parts = zip(effect.tensors, *arrived, strict=True)
                columns = [torch.cat(part) for part in parts]
        with self.clock("mixing"):
            return tuple(mixer(t) for t in columns)

    def _mixer(self, routes: Any, like: Tensor) -> Mixer:
        slot = self.round % (self.routing.schedule.period or 1)
        made_from, mixer = self._mixers.get(slot, (None, None))
        if made_from is not routes:
            mixer = Mixer(routes, self.index, like)
            self._mixers[slot] = routes, mixer
        return mixer

    def _exchange(self, effect: Exchange):
        routes: EdgeRoutes = self.routing.edges(self.round)
        me = self.index
        degrees = routes.out_degrees[self.clients.start : self.clients.stop]
        self.bytes_sent += _row_bytes(tuple(t[:, :1] for t in effect.tensors)) * int(degrees.sum())
        outgoing = {b: edges for (a, b), edges in routes.edges.items() if a == me}
        parcels = {
            b: tuple(t[e[:, 0], e[:, 1] if t.shape[1] > 1 else 0] for t in effect.tensors)
            for b, e in outgoing.items()
        }
        at_home = {me: parcels.pop(me)} if me in parcels else {}
        arrived = [] if routes.leg.silent else (yield list(parcels.values()), routes.leg)
        addresses = routes.leg.addresses[me]
        sources = at_home | {a: p for (a, _), p in zip(addresses, arrived, strict=True)}
        inbox = tuple(t.new_zeros(len(t), routes.num_slots, *t.shape[2:]) for t in effect.tensors)
        for a, parcel in sources.items():
            edges = routes.edges[a, me]
            for box, message in zip(inbox, parcel, strict=True):
                box[edges[:, 2], edges[:, 3]] = message
        return inbox

    def _allreduce(self, effect: AllReduce | Decide):
        n = self.routing.num_clients
        if not effect.free:  # a ring all-reduce sends 2 (n - 1) / n of the vector per client
            self.bytes_sent += _row_bytes(effect.tensors) * len(self.clients) * 2 * (n - 1) / n
        sums = tuple(t.sum(0, keepdim=True) for t in effect.tensors)
        leg = everyone(self.routing.num_blocks)
        if not leg.silent:
            arrived = yield [sums], leg
            sums = total([*arrived[: self.index], sums, *arrived[self.index :]])
        return tuple((s / n).expand_as(t) for s, t in zip(sums, effect.tensors, strict=True))

    def _decide(self, effect: Decide):
        (means,) = yield from self._allreduce(effect)
        return (float(means[0]),)


def total(in_order: list[Parcel]) -> Parcel:
    """Sum of the blocks' sums, always in the same order: every block gets the same bits."""
    return tuple(torch.cat(parts).sum(0, keepdim=True) for parts in zip(*in_order, strict=True))


def _row_bytes(tensors: tuple[Tensor, ...]) -> int:
    """Bytes of one client's rows of these tensors, one message."""
    return sum(t[:1].numel() // max(len(t[:1]), 1) * t.element_size() for t in tensors)


def lockstep(blocks: list[Block], until: int) -> None:
    """Run all blocks of one process up to round `until`, carrying their parcels."""
    running = [block.rounds(until) for block in blocks]
    waiting = [next(rounds, None) for rounds in running]
    while waiting[0] is not None:  # all wait at the same request, or all are done
        shelves = [parcels for parcels, _ in waiting]
        waiting = [
            _send(rounds, [shelves[a][p] for a, p in leg.addresses[block.index]])
            for rounds, block, (_, leg) in zip(running, blocks, waiting, strict=True)
        ]


def _send(rounds: Generator, arrived: list[Parcel]):
    try:
        return rounds.send(arrived)
    except StopIteration:
        return None
