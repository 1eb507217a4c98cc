"""A block of clients that do not wait: their rows, their gradients and mail, and their waves.

A gradient depends on nothing but the model as it stood when its client began. So it need not be
computed when it is done: as soon as a wave needs one that is not there, those of all clients that
have begun are computed together, in one stacked call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.asynchronous import Arrived, Meet, Push
from p2pqg.base.errors import AlgorithmError
from p2pqg.engine.block import Parcel, to_numpy
from p2pqg.engine.call import CONTRACT, Ask, Call
from p2pqg.engine.clock import Clock
from p2pqg.engine.routes import Leg
from p2pqg.engine.rule import Rule, bare
from p2pqg.engine.snapshot import Snapshot, leaves, with_leaves
from p2pqg.engine.waves.calls import Asks, met, pace_of, step
from p2pqg.engine.waves.computed import Computed
from p2pqg.engine.waves.cut import Knife, MeetingWave, PostWave, Wave, num_waves, transfers
from p2pqg.engine.waves.journal import Journal, journals
from p2pqg.engine.waves.letters import LetterTimeline
from p2pqg.engine.waves.mail import Delivered, Mail
from p2pqg.engine.waves.meetings import MeetingTimeline
from p2pqg.engine.waves.routing import WaveRouting, meeting_rates
from p2pqg.engine.waves.timeline import Timeline, Window

K = TypeVar("K", Meet, Push, Arrived)

Gradient = Callable[[Tensor, np.ndarray, np.ndarray], Computed]
"""gradient(x [rows, params], rows, steps): each row's gradient at x, of that step of its client."""


def timeline_of(routing: WaveRouting, asks: Asks) -> Timeline:
    """The timeline of an algorithm on a network, at its start."""
    return (MeetingTimeline if asks.kind == "meet" else LetterTimeline)(routing, asks)


class WaveBlock:
    """k clients that do not wait.

    Attributes:
        clients: the hosted clients, consecutive.
        state: the algorithm's state, tensors [k, ...].
        round: the next round.
        timeline: where all clients of the network stand.
        begun: [k, params], the model that each one's gradient is taken at; where `computed`, the
            gradient.
        more: what came with the gradients, see `Computed`.
        mail: messages for the hosted clients.
        bytes_sent: by the hosted clients, since the start.
        traffic: of each round not yet taken.
        ask: what it waits for, if it does.
        on_step: told the rows whose gradients are applied, and what came with these.
    """

    exchanges = 0

    def __init__(
        self,
        rule: Rule,
        routing: WaveRouting,
        index: int,
        x0: Tensor,
        gradient: Gradient,
        clock: Clock | None = None,
        on_step: Callable[[Wave, dict[str, Tensor]], None] = lambda wave, more: None,
    ) -> None:
        self.clock = clock or Clock(on=False)
        self.rule, self.routing, self.index = rule, routing, index
        self.clients = range(routing.bounds[index], routing.bounds[index + 1])
        self.gradient, self.on_step = gradient, on_step
        self.asks = Asks.of(rule, x0.shape[1], x0.dtype)
        self.timeline = timeline_of(routing, self.asks)
        state = rule.start(x0)
        self._check(state)
        self._rows = {name: value.clone() for name, value in leaves(state).items()}
        self.state = with_leaves(state, self._rows)
        self.round = 0
        self.begun = x0.clone()
        self.computed = np.zeros(len(x0), dtype=bool)
        self.more: dict[str, Tensor] = {}
        self.mail = Mail()
        self.bytes_sent = 0.0
        self.drift = x0.new_zeros(0)
        self.traffic: list[Journal] = []
        self.ask: Ask | None = None
        self._fit()

    def _check(self, state: Any) -> None:
        for name, value in leaves(state).items():
            if not isinstance(value, Tensor):
                raise AlgorithmError(
                    f"{self.rule.algorithm.name}: {name} is a number, but clients that do not wait "
                    "count for themselves; make it a tensor [clients, 1]"
                )

    def _fit(self) -> None:
        """Parameters that depend on the network."""
        self.params = self.rule.params
        if fit := pace_of(self.rule).fit:
            self.params = fit(self.params, meeting_rates(self.routing.network))
        seconds = self.routing.timing.compute.fixed
        self._unit = len(seconds) / float((1 / np.maximum(seconds, 1e-300)).sum())

    @property
    def step(self) -> int:
        """Steps that a client has made on average, the cursor of the data."""
        return self.round

    gradients = step

    @property
    def who(self) -> str:
        """The hosted clients, for messages."""
        return f"clients {self.clients.start} to {self.clients.stop - 1}"

    @property
    def x(self) -> Tensor:
        """[k, params]: the clients' models."""
        return self.rule.model(self.state)

    def mine(self, mask: np.ndarray | None) -> Tensor | None:
        """[k], bool: the hosted clients' part of a mask [clients]; None where it is true of all."""
        if mask is None:
            return None
        return torch.from_numpy(mask[self._here]).to(self.begun.device)

    @property
    def _here(self) -> slice:
        return slice(self.clients.start, self.clients.stop)

    def rewire(self, rule: Rule, routing: WaveRouting) -> None:
        """From the next round on, another network with the same borders, or other parameters."""
        self.rule, self.routing = rule, routing
        self.timeline.rewire(routing)
        self._fit()

    def snapshot(self) -> Snapshot:
        """All that the hosted clients carry on; copies, which nobody changes any more."""
        rows = {name: to_numpy(value) for name, value in self._rows.items()}
        rows |= {"begun": to_numpy(self.begun), "computed": self.computed.copy()}
        rows |= {f"more.{name}": to_numpy(value) for name, value in self.more.items()}
        return Snapshot(
            round=self.round,
            step=0,
            exchanges=0,
            rows=rows,
            numbers={},
            totals={"bytes_sent": np.array([self.bytes_sent]), "drift": to_numpy(self.drift)[None]},
            firsts=np.array([self.clients.start]),
            timeline=self.timeline.data(),
            mail=self.mail.data(),
        )

    def load(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the hosted clients."""
        rows, device = snapshot.rows, self.begun.device
        for name, value in self._rows.items():
            value.copy_(torch.tensor(rows[name], device=device))
        self.begun = torch.tensor(rows["begun"], device=device)
        self.computed = rows["computed"].copy()
        self.more = {
            name.removeprefix("more."): torch.tensor(array, device=device)
            for name, array in rows.items()
            if name.startswith("more.")
        }
        self.round = snapshot.round
        self.bytes_sent = float(snapshot.totals["bytes_sent"].sum())
        self.timeline.load(snapshot.timeline)
        self.mail.load(snapshot.mail, self._wanted(), self.begun)

    def _wanted(self) -> np.ndarray:
        """Numbers of the messages that the hosted clients will read."""
        if not isinstance(self.timeline, LetterTimeline):
            return np.empty(0, dtype=np.int64)
        mine = (d.serial for i, d in self.timeline.under_way() if i in self.clients)
        return np.unique(np.fromiter(mine, dtype=np.int64))

    def rounds(self, until: int) -> Generator[tuple[list[Parcel], Leg], list[Parcel], None]:
        """Run up to round `until`; yields what other blocks need, takes what this one needs."""
        while self.round < until:
            last = next_cut(self.rule, self.routing.window, self.round, until)
            with self.clock("update"):
                self._begin_anew()
            self._steps = np.array(self.timeline.steps[self._here])
            with self.clock("planning"):
                window = self.timeline.play(last - self.round)
                knife = Knife(window, self.routing.bounds, self.index, self.begun)
                meets = self.asks.kind == "meet"
                waves: list[Any] = list(knife.meetings() if meets else knife.posts(self.mail))
            params = dataclasses.replace(self.params, lr=self.rule.lr(self.round))
            for number, wave in enumerate(waves):
                self.ask = None
                if not wave.leg.silent:
                    self.ask = Ask(self.round, self.asks.kind, f"wave {number}")
                yield from (self._meet if meets else self._post)(wave, params)
            self.ask = None
            message_bytes = self.asks.message_bytes
            self.traffic += journals(window, self.routing.num_clients, message_bytes)
            senders = np.array(window.senders, dtype=np.int64)
            mine = (self.clients.start <= senders) & (senders < self.clients.stop)
            self.bytes_sent += message_bytes * int(mine.sum())
            self.round = last

    def _begin_anew(self) -> None:
        """Who is new, or back, begins a gradient at its model as it is."""
        fresh = np.flatnonzero(self.timeline.fresh[self._here])
        if len(fresh):
            self._begin(torch.from_numpy(fresh).to(self.begun.device), fresh, self.x)

    def _begin(self, rows: Tensor, at: np.ndarray, x: Tensor) -> None:
        """These rows begin a gradient at x, [k, params] or [rows, params]."""
        self.begun.index_copy_(0, rows, x if len(x) == len(rows) else x.index_select(0, rows))
        self.computed[at] = False

    def _gradients(self, wave: Wave, x: Tensor) -> Tensor:
        """The gradients of the clients whose step it is; x: what the algorithm asks for."""
        if x.shape != (len(wave.rows), self.begun.shape[1]):
            raise AlgorithmError(
                f"{self.rule.algorithm.name}: grad takes the clients' models, "
                f"{[len(wave.rows), self.begun.shape[1]]}, got {list(x.shape)}"
            )
        if not self.computed[wave.clients - self.clients.start].all():
            with self.clock("compute"):
                self._compute()
        return self.begun.index_select(0, wave.rows)

    def _compute(self) -> None:
        """The gradients of all who have begun one."""
        present = self.routing.present()
        waiting = ~self.computed if present is None else ~self.computed & present[self._here]
        rows = np.flatnonzero(waiting)
        everyone = len(rows) == len(self.begun)
        at = torch.from_numpy(rows).to(self.begun.device)
        x = self.begun if everyone else self.begun.index_select(0, at)
        done = self.gradient(x, rows, self._steps[rows])
        if everyone:
            self.begun.copy_(done.g)
        else:
            self.begun.index_copy_(0, at, done.g)
        for name, value in done.more.items():
            if name not in self.more:
                self.more[name] = value.new_zeros(len(self.begun), *value.shape[1:])
            self.more[name].index_copy_(0, at, value)
        self.computed[rows] = True

    def _meet(self, wave: MeetingWave, params: Any) -> Generator[Any, list[Parcel], None]:
        """A wave of meetings."""
        steps, count = len(wave.rows), len(wave.rows) + len(wave.met)
        active = passive = None
        offered: list[Parcel] = []
        with self.clock("update"):
            if steps:
                active = self._step(wave, params)
                offered.append(self._asked(active, Meet).tensors)
            if len(wave.met):
                passive = self._met(wave, params)
                offered.append(self._asked(passive, Meet).tensors)
            pool = _stacked(offered)
        if not wave.leg.silent:
            arrived = yield [tuple(t[at] for t in pool) for at in wave.parcels], wave.leg
            with self.clock("exchange"):
                pool = _stacked([pool, *arrived] if pool else arrived)
        if not count:
            return
        with self.clock("mixing"):
            # Both add the same two numbers: they leave with the same bits.
            mixed = tuple((t[:count] + t.index_select(0, wave.other)) / 2 for t in pool)
        with self.clock("update"):
            if passive is not None:
                self._put(wave.met, self._end(passive, bare(tuple(t[steps:] for t in mixed))))
            if active is not None:
                self._done(wave, self._end(active, bare(tuple(t[:steps] for t in mixed))))

    def _met(self, wave: MeetingWave, params: Any) -> Call:
        """What those do who are met."""
        return met(self.rule, self.rows_of(wave.met), params, wave.met_elapsed / self._unit)

    def _post(self, wave: PostWave, params: Any) -> Generator[Any, list[Parcel], None]:
        """A wave of messages."""
        active: Call | None = None
        sent: Parcel = ()
        with self.clock("update"):
            if len(wave.rows):
                active = self._step(wave, params)
                sent = self._asked(active, Push).tensors
                self.mail.put(wave.to, tuple(t.index_select(0, wave.write) for t in sent))
        if not wave.leg.silent:
            arrived = yield [tuple(t[at] for t in sent) for at in wave.parcels], wave.leg
            with self.clock("exchange"):
                if arrived:
                    self.mail.put(wave.incoming, _stacked(arrived))
        if active is None:
            return
        with self.clock("update"):
            if self.asks.keep is None:
                self._done(wave, self._end(active, wave.kept))
                return
            self._asked(active, Arrived, wave.kept)
            inbox = Delivered(
                self.mail.rows,
                wave.reads,
                wave.offsets,
                wave.weights,
                wave.seconds,
                wave.behind,
                wave.weight,
            )
            self._done(wave, self._end(active, inbox))

    def _step(self, wave: Wave, params: Any) -> Call:
        """The step of the clients whose gradients are done."""
        return step(
            self.rule,
            self.rows_of(wave.rows),
            lambda x: self._gradients(wave, x),
            params,
            wave.clients,
            wave.numbers,
            wave.elapsed / self._unit,
        )

    def _asked(self, call: Call, kind: type[K], reply: Any = None) -> K:
        """What a step asks next, which must be of this kind."""
        try:
            effect = call.send(reply)
        except StopIteration:
            effect = None
        if isinstance(effect, kind):
            return effect
        raise AlgorithmError(self._unlike(f"did not ask for {kind.__name__.lower()}"))

    def _end(self, call: Call, reply: Any) -> Any:
        """What a step returns after its last reply."""
        try:
            effect = call.send(reply)
        except StopIteration as end:
            return end.value
        raise AlgorithmError(self._unlike(f"asked for {type(effect).__name__.lower()} as well"))

    def _unlike(self, what: str) -> str:
        return f"{self.rule.algorithm.name}: a step {what}, unlike that of no clients; {CONTRACT}"

    def _done(self, wave: Wave, new: Any) -> None:
        """Their step is made: they begin the next one."""
        at = wave.clients - self.clients.start
        if self.more:
            more = {name: value.index_select(0, wave.rows) for name, value in self.more.items()}
            self.on_step(wave, more)
        self._put(wave.rows, new)
        self._begin(wave.rows, at, self.rule.model(new))
        self._steps[at] += 1

    def rows_of(self, rows: Tensor) -> Any:
        """Some rows of the state."""
        some = {name: value.index_select(0, rows) for name, value in self._rows.items()}
        return with_leaves(self.state, some)

    def _put(self, rows: Tensor, new: Any) -> None:
        """Put back some rows of the state; those of it that did not change may be missing."""
        for name, value in leaves(new).items():
            self._rows[name].index_copy_(0, rows, value)


def _stacked(parcels: list[Parcel]) -> Parcel:
    """One below the other."""
    if len(parcels) == 1:
        return parcels[0]
    return tuple(torch.cat(parts) for parts in zip(*parcels, strict=True))


def next_cut(rule: Rule, window: int, first: int, until: int) -> int:
    """Where the window that begins with a round ends: all its rounds have one step size."""
    last = min(until, (first // window + 1) * window)
    lr = rule.lr(first)
    return next((round for round in range(first + 1, last) if rule.lr(round) != lr), last)


def legs(window: Window, bounds: tuple[int, ...]) -> list[tuple[int, Leg]]:
    """Waves of a window in which something travels between blocks, and what."""
    found = transfers(window, bounds).legs(num_waves(window))
    return [(number, leg) for number, leg in enumerate(found) if not leg.silent]
