"""What a block answers when its algorithm asks something of the network.

From its own rows where it hosts all that is needed, otherwise by handing parcels to the engine and
waiting for others'.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.effects import (
    AllReduce,
    Decide,
    Effect,
    Exchange,
    Gossip,
    Neighbors,
    Peers,
)
from p2pqg.algorithms.gossip_rules import GossipRule
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.seeding import rng
from p2pqg.base.uploading import uploaded
from p2pqg.engine.clock import Clock
from p2pqg.engine.lying import Liars, Lying, lied_about
from p2pqg.engine.mixer import Arrivals, Gather, Mixer
from p2pqg.engine.noise import Noise
from p2pqg.engine.parts import Later, Spare, below
from p2pqg.engine.robust import RuleMixer
from p2pqg.engine.routes import EdgeRoutes, Leg, Routing, RowRoutes, everyone
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import laid_out
from p2pqg.engine.traffic import Taken, exact_mean, weighed
from p2pqg.topology import Mixing

Parcel = tuple[Tensor, ...]

Wait = tuple[list[Parcel], Leg]
"""What other blocks need of this one, and where the like of it comes from."""

Answer = Generator[Wait, list[Parcel], tuple[Any, ...]]
"""Gives what others need, takes what came in, and returns the reply to a request."""


class Answers:
    """The network as k clients meet it in a round; the rounds themselves are those of `Block`.

    Attributes:
        clock: notes where the time goes.
        rule, routing: what they run, in which network; index: of their block.
        clients: the hosted clients, consecutive.
        state: the algorithm's state, tensors [k, ...].
        round: the next round, or the one that runs.
        parts: of the clients, which play a round one after the other; usually a single one.
        bytes_sent: by the hosted clients to others, since the start.
        exchanges: times that rows were mixed with W, since the start.
        drift: [params], how far the hosted clients' mixing has moved the mean of all models where
            it does not keep it; empty as long as nothing went wrong in the network.
        past: for each gossip of a round, what was sent in the last rounds, newest first.
    """

    parts: list[slice]

    def __init__(
        self, rule: Rule, routing: Routing, index: int, x0: Tensor, clock: Clock | None
    ) -> None:
        self.clock = clock or Clock(on=False)
        self.rule, self.routing, self.index = rule, routing, index
        self.clients = range(routing.bounds[index], routing.bounds[index + 1])
        self.state = laid_out(rule.start(x0))
        self.round = 0
        self.bytes_sent = 0.0
        self.exchanges = 0
        self.drift = x0.new_zeros(0)
        self.past: list[list[Parcel]] = []
        self._mixers: dict[Any, tuple[Any, Any]] = {}  # what was made of routes, see `_kept`
        self._sent: list[Taken] = []  # in this round, see `Traffic`
        self._slot = 0  # which gossip of the round is next
        self._told = 0  # exchanges of the round so far
        self._spare = Spare()
        self._normals = Noise(rule.seed, "noise", x0.device)

    @property
    def x(self) -> Tensor:
        """[k, params]: the clients' models."""
        return self.rule.model(self.state)

    @property
    def W(self) -> Mixing:
        """The network of the next round, or of the one that runs."""
        return self.routing.schedule.mixing(self.round)

    def mine(self, mask: np.ndarray | None) -> Tensor | None:
        """[k], bool: the hosted clients' part of a mask [clients]; None where it is true of all."""
        if mask is None:
            return None
        part = torch.from_numpy(mask[self.clients.start : self.clients.stop])
        return uploaded(part, self.x.device)

    def _answer(self, effect: Effect) -> Answer:
        match effect:
            case Gossip():
                return (yield from self._gossip(effect))
            case Exchange():
                return (yield from self._exchange(effect))
            case AllReduce():
                return (yield from self._allreduce(effect))
            case Decide():
                return (yield from self._decide(effect))
            case Neighbors():
                return (self._neighbors(),)
        raise AssertionError(effect)  # a `Call` lets nothing else through

    def _gossip(self, effect: Gossip) -> Answer:
        routes = self.routing.rows(self.round)
        mixer = self._mixer(routes, effect.tensors[0])
        self._count(effect, mixer)
        liars, everybody, sent = self._liars(), None, effect.tensors
        if liars is not None:
            sent = liars.sent(sent, self._before(), self._normal, models=effect.models)
            if liars.needs_everybody:
                everybody = yield from self._reveal(effect.tensors)
        columns = self._with_past(sent, routes.memory)
        if not routes.leg.silent:
            with self.clock("exchange"):
                parcels = [tuple(t[own] for t in columns) for own in mixer.parcels]
            arrived = yield parcels, routes.leg
            # What the parts have sent lies where there is room for what comes in.
            roomy = len(self.parts) > 1 and columns is effect.tensors and not self.rule.is_led
            with self.clock("exchange"):
                parts = zip(columns, *arrived, strict=True)
                columns = tuple(
                    below(own, more) if roomy else torch.cat([own, *more]) for own, *more in parts
                )
        rule = effect.rule or self.rule.gossip_rule
        perfect = routes.mixing.is_perfect and rule is None and liars is None
        if perfect and len(self.parts) > 1 and not self.rule.is_led and mixer.dense is None:
            self._spare.lend(effect.tensors)
            return tuple(Later(partial(self._mixed, mixer, t)) for t in columns)
        with self.clock("mixing"):
            if liars is not None:
                mixed = self._deceived(columns, effect.tensors, everybody, routes, liars, rule)
            elif rule is None:
                mixed = tuple(mixer(t) for t in columns)
            else:
                robust = self._robust(routes, rule, columns[0])
                mixed = tuple(robust(t, self.rule.over(self.round)) for t in columns)
        return mixed if perfect else self._disturbed(effect, mixed, mixer)

    def _count(self, effect: Gossip, mixer: Mixer) -> None:
        """A gossip and its bytes, before it takes place: liars send as much as anybody."""
        self.exchanges += 1
        if isinstance(effect.message_bytes, Tensor):  # of each client's message
            each = effect.message_bytes.cpu().numpy().astype(np.float64)
            self.bytes_sent += float(each @ mixer.out_degrees)
            self._sent.append(("gossip", tuple(each.tolist())))
            return
        kind, size = weighed(effect)
        self.bytes_sent += size * int(mixer.out_degrees.sum())
        self._sent.append((kind, size))

    def _mixed(self, mixer: Mixer, rows: Tensor, part: slice) -> Tensor:
        with self.clock("mixing"):
            return mixer.gather(rows, part)

    def _with_past(self, tensors: Parcel, memory: int) -> Parcel:
        """The rows, and where messages may be late, below them those of `memory` rounds before."""
        if memory == 0:
            self.past.clear()
            return tensors
        slot, self._slot = self._slot, self._slot + 1
        self.past += [[]] * (slot >= len(self.past))
        sent = [tensors, *self.past[slot]][: memory + 1]
        self.past[slot] = sent
        sent = sent + [sent[-1]] * (memory + 1 - len(sent))  # at first, the oldest message there is
        return tuple(torch.cat(ages) for ages in zip(*sent, strict=True))

    def _disturbed(self, effect: Gossip, mixed: Parcel, mixer: Mixer) -> Parcel:
        """What gossip gives where things go wrong: noise is added, the drift is put on record."""
        if mixer.noise is not None:
            mixed = tuple(t + mixer.noise * self._noise(t, i) for i, t in enumerate(mixed))
        if not effect.models:
            return mixed
        present = self.W.present
        n = self.routing.num_clients if present is None else int(present.sum())
        drift = (mixed[0] - effect.tensors[0]).flatten(1).sum(0) / n
        self.drift = drift if len(self.drift) == 0 else self.drift + drift
        return mixed

    def _noise(self, like: Tensor, number: int) -> Tensor:
        """Standard normal numbers, keyed by client, round, and which exchange and tensor it is."""
        keys = [(client, self.round, self.exchanges, number) for client in self.clients]
        normal = self._normals.rows(keys, like[:1].numel(), torch.float64)
        return uploaded(normal.view(like.shape), like)

    def _liars(self) -> Liars | None:
        """The liars of this round; None: there are none."""
        lies = self.routing.lies(self.round)
        return Liars(lies, self.clients) if lies else None

    def _before(self) -> Tensor:
        """[k, ...]: what clients would send of the models that they had before the round."""
        return self.rule.personal.shared(self.x) if self.rule.personal else self.x

    def _normal(self, row: int, number: int, like: Tensor) -> Tensor:
        """Standard normal numbers for a liar, keyed by client, round, exchange and tensor."""
        client, at = self.clients[row], self.exchanges
        draw = rng(self.rule.seed, "attack", client, self.round, at, number)
        return uploaded(torch.from_numpy(draw.standard_normal(like.shape)), like)

    def _reveal(self, tensors: Parcel) -> Answer:
        """[clients, ...] each: the rows of all, which a user's attack wants to see."""
        leg = everyone(self.routing.num_blocks)
        if leg.silent:
            return tensors
        arrived = yield [tensors], leg
        parts = [*arrived[: self.index], tensors, *arrived[self.index :]]
        return tuple(torch.cat(rows) for rows in zip(*parts, strict=True))

    def _deceived(
        self,
        columns: Parcel,
        honest: Parcel,
        everybody: Parcel | None,
        routes: RowRoutes,
        liars: Liars,
        rule: GossipRule | None,
    ) -> Parcel:
        """What clients come to whose neighbors lie."""
        like, over = columns[0], self.rule.over(self.round)
        key = tuple(self.routing.attacks.index(attack) for attack in liars.attacks)
        lying = self._kept(("lies", key), routes, lambda: Lying(routes, self.index, liars, like))

        def make() -> Gather | RuleMixer:
            if rule is None:
                return Gather.of(lying.arrivals, like)
            return RuleMixer(lying.arrivals, rule, like)

        mixer = self._kept(("lies", key, rule and rule.key), routes, make)
        about = lied_about(honest, self._before())
        W = routes.mixing.dense() if liars.needs_everybody else None
        mixed = []
        for number, (rows, own) in enumerate(zip(columns, honest, strict=True)):
            if number not in about:  # a push-sum weight, say
                mixed.append(self._mixer(routes, like)(rows))
                continue
            seen = everybody[number] if everybody else None
            keys = self.round, self.exchanges, number
            draws = int(rng(self.rule.seed, "attack of one's own", *keys).integers(2**63))
            rows = torch.cat([rows, lying.more(rows, own, seen, W, self.round, draws)])
            mixed.append(mixer(rows, over) if isinstance(mixer, RuleMixer) else mixer(rows))
        return tuple(mixed)

    def _mixer(self, routes: RowRoutes, like: Tensor) -> Mixer:
        return self._kept("sum", routes, lambda: Mixer(routes, self.index, like))

    def _robust(self, routes: RowRoutes, rule: GossipRule, like: Tensor) -> RuleMixer:
        def make() -> RuleMixer:
            return RuleMixer(Arrivals.of(routes, self.index), rule, like)

        return self._kept(rule.key, routes, make)

    def _kept(self, what: Any, routes: RowRoutes | EdgeRoutes, make: Callable[[], Any]) -> Any:
        """What was made of these routes before, or is made now."""
        key = what, self.routing.schedule.turn(self.round) or 0
        made_from, made = self._mixers.get(key, (None, None))
        if made_from is not routes:
            made = make()
            self._mixers[key] = routes, made
        return made

    def _exchange(self, effect: Exchange) -> Answer:
        routes: EdgeRoutes = self.routing.edges(self.round)
        me, tensors = self.index, effect.tensors
        _check_slots(effect, routes)
        if (liars := self._liars()) is not None:
            tensors = liars.sent(tensors, self._before(), self._normal, anywhere=True)
        degrees = routes.mixing.out_degrees()[self.clients.start : self.clients.stop]
        message = _row_bytes(tuple(t[:, :1] for t in effect.tensors))
        self._sent.append(("gossip", message))
        self.bytes_sent += message * int(degrees.sum())
        edges = self._kept("edges", routes, lambda: self._edges(routes))
        parcels = {
            b: tuple(t[row, slot if t.shape[1] > 1 else 0] for t in tensors)
            for (a, b), (row, slot, *_) in edges.items()
            if a == me
        }
        at_home = {me: parcels.pop(me)} if me in parcels else {}
        arrived = [] if routes.leg.silent else (yield list(parcels.values()), routes.leg)
        addresses = routes.leg.addresses[me]
        sources = at_home | {a: p for (a, _), p in zip(addresses, arrived, strict=True)}
        inbox = tuple(t.new_zeros(len(t), routes.num_slots, *t.shape[2:]) for t in effect.tensors)
        for a, parcel in sources.items():
            _, _, row, slot = edges[a, me]
            for box, received in zip(inbox, parcel, strict=True):
                box[row, slot] = received
        self._told += 1
        if routes.mixing.noise:
            for number, box in enumerate(inbox):
                self._add_noise(box, routes, number)
        return inbox

    def _edges(self, routes: EdgeRoutes) -> dict[tuple[int, int], list[Tensor]]:
        """The columns of `EdgeRoutes.edges` that concern the block, on the device."""
        return {
            pair: [uploaded(torch.from_numpy(column), self.x.device) for column in edges.T.copy()]
            for pair, edges in routes.edges.items()
            if self.index in pair
        }

    def _add_noise(self, box: Tensor, routes: EdgeRoutes, number: int) -> None:
        """To every message of a tensor [clients, slots, ...] that came, keyed by who heard it."""
        if not box.is_floating_point():
            return
        for row, client in enumerate(self.clients):
            heard = int((routes.senders[client] >= 0).sum())
            draw = rng(self.rule.seed, "noise of messages", client, self.round, self._told, number)
            normal = draw.standard_normal((heard, *box.shape[2:]))
            box[row, :heard] += routes.mixing.noise * uploaded(torch.from_numpy(normal), box)

    def _neighbors(self) -> Peers:
        routes = self.routing.edges(self.round)
        peers: Peers = self._kept("peers", routes, lambda: self._peers(routes))
        return peers

    def _peers(self, routes: EdgeRoutes) -> Peers:
        mine = slice(self.clients.start, self.clients.stop)
        like, device = self.x, self.x.device
        return Peers(
            uploaded(torch.from_numpy(routes.receivers[mine]), device),
            uploaded(torch.from_numpy(routes.senders[mine]), device),
            uploaded(torch.from_numpy(routes.weights[mine]), like),
            torch.arange(self.clients.start, self.clients.stop, device=device),
        )

    def _allreduce(self, effect: AllReduce | Decide) -> Answer:
        active, mine = self.W.active, None
        n = self.routing.num_clients if active is None else max(1, int(active.sum()))
        if active is not None:  # the places, not a mask: a GPU would have to be asked how many
            places = np.flatnonzero(active[self.clients.start : self.clients.stop])
            mine = uploaded(torch.from_numpy(places), self.x.device)
        tensors = effect.tensors
        if isinstance(effect, AllReduce) and not effect.free and (liars := self._liars()):
            tensors = liars.sent(tensors, self._before(), self._normal, anywhere=True)
        if not effect.free:
            kind, size = exact_mean(effect)
            self._sent.append((kind, size))
            # A ring sends 2 (n - 1) / n of a vector per client, or n - 1 of the others' messages.
            num_senders = len(self.clients) if mine is None else len(mine)
            shares = 2 * (n - 1) / n if kind == "allreduce" else n - 1
            self.bytes_sent += size * num_senders * shares
        ours = tensors if mine is None else tuple(t.index_select(0, mine) for t in tensors)
        sums = tuple(t.sum(0, keepdim=True) for t in ours)
        leg = everyone(self.routing.num_blocks)
        if not leg.silent:
            arrived = yield [sums], leg
            sums = total([*arrived[: self.index], sums, *arrived[self.index :]])
        return tuple((s / n).expand_as(t) for s, t in zip(sums, effect.tensors, strict=True))

    def _decide(self, effect: Decide) -> Answer:
        (means,) = yield from self._allreduce(effect)
        return (float(means[0]),)


def _check_slots(effect: Exchange, routes: EdgeRoutes) -> None:
    """AlgorithmError where messages do not fit the slots, or may be old."""
    if routes.mixing.ages is not None:
        raise AlgorithmError(
            "exchange(...) knows no messages of earlier rounds; leave impairments.delay out"
        )
    for t in effect.tensors:
        if t.shape[1] not in (1, routes.num_slots) and len(t):
            raise AlgorithmError(
                f"exchange(...) was given a tensor of shape {list(t.shape)}; its slots must be the "
                f"neighbors, [clients, {routes.num_slots}, ...], or one for all of them"
            )


def total(in_order: list[Parcel]) -> Parcel:
    """Sum of the blocks' sums, always in the same order: every block gets the same bits."""
    return tuple(torch.cat(parts).sum(0, keepdim=True) for parts in zip(*in_order, strict=True))


def _row_bytes(tensors: tuple[Tensor, ...]) -> int:
    """Bytes of one client's rows of these tensors, one message."""
    return sum(t[:1].numel() // max(len(t[:1]), 1) * t.element_size() for t in tensors)
