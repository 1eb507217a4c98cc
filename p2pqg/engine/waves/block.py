"""A block of clients that do not wait: their rows, their gradients and mail, and their waves.

A gradient depends on nothing but the model as it stood when its client began. So it need not be
computed when it is done: those of several waves are computed together, in one stacked call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.asynchronous import Arrived, Meet, Push
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.uploading import uploaded
from p2pqg.engine.answers import Parcel
from p2pqg.engine.block import to_numpy
from p2pqg.engine.call import CONTRACT, Ask, Call, bare, called, guarded
from p2pqg.engine.clock import Clock
from p2pqg.engine.routes import Leg
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot, loaded
from p2pqg.engine.waves.calls import Asks, met, pace_of, step
from p2pqg.engine.waves.computed import Computed
from p2pqg.engine.waves.cut import Knife, Portion
from p2pqg.engine.waves.journal import Journal
from p2pqg.engine.waves.mail import Delivered, Mail
from p2pqg.engine.waves.pairs import averaged, averaged_with
from p2pqg.engine.waves.planner import Planner, timeline_of
from p2pqg.engine.waves.pushes import LetterTimeline
from p2pqg.engine.waves.routing import WaveRouting, meeting_rates
from p2pqg.engine.waves.rows import StateRows, Table
from p2pqg.engine.waves.timeline import Timeline, Window
from p2pqg.engine.waves.wave import MeetingWave, PostWave, Stage, Wave

K = TypeVar("K", Meet, Push, Arrived)

NO_TIME = 1e-300
"""Seconds that stand for none where they are divided by."""

Gradient = Callable[[Tensor, np.ndarray, np.ndarray], Computed]
"""gradient(x [rows, params], rows, steps): each row's gradient at x, of that step of its client."""


class WaveBlock:
    """k clients that do not wait.

    Attributes:
        clients: the hosted clients, consecutive.
        round: the next round.
        planner: of the timeline of all clients of the network.
        mail: messages for the hosted clients.
        bytes_sent: by the hosted clients, since the start.
        traffic: of each window not yet taken, for the books; the first block's only.
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
        self.planner = Planner(timeline_of(routing, self.asks), rule, self._portions)
        self._rows = StateRows(rule.start(x0), rule.algorithm.name)
        self.round = 0
        self._stage: Stage | None = None  # whose gradients are here
        self._computed: Computed
        self.mail = Mail()
        self._x = next((t for t in self._rows.tables.values() if t.tensor is self.x), None)
        if self.asks.kind == "meet" and pace_of(rule).met is None and self._x is None:
            raise AlgorithmError(
                f"{rule.algorithm.name}: what is met is state.x, and its model is another one; say "
                "what happens, OwnPace(met=...)"
            )
        self._begun = self._x if self._stays and self._x is not None else Table(x0.clone())
        self.bytes_sent = 0.0
        self.drift = x0.new_zeros(0)
        self.traffic: list[Journal] = []
        self.ask: Ask | None = None
        self._fit()

    def _fit(self) -> None:
        """Parameters that depend on the network."""
        self.params, self._pace = self.rule.params, pace_of(self.rule)
        if self._pace.fit:
            self.params = self._pace.fit(self.params, meeting_rates(self.routing.network))
        # Algorithms count time in gradients, as long as the harmonic mean of the clients': who
        # computes faster does so more often.
        seconds = self.routing.timing.compute.fixed
        self._unit = len(seconds) / float((1 / np.maximum(seconds, NO_TIME)).sum())

    @property
    def step(self) -> int:
        """Steps that a client makes on average until the round is over, the cursor of the data."""
        return self.round

    @property
    def gradients(self) -> int:
        """The same, without the steps that the end of the clock took from the round."""
        return self.round - self.planner.missing

    most_on_batch = 1

    @property
    def timeline(self) -> Timeline:
        """Where all clients of the network stand."""
        return self.planner.timeline

    @timeline.setter
    def timeline(self, timeline: Timeline) -> None:
        self.planner.begin(timeline)

    @property
    def who(self) -> str:
        """The hosted clients, for messages."""
        return called(self.clients)

    @property
    def _stays(self) -> bool:
        """A model stays as it is while its gradient is computed: it need not be kept twice."""
        return self.asks.kind == "push"

    @property
    def begun(self) -> Tensor:
        """[k, params], the model at which each one's gradient is taken."""
        return self._begun.tensor

    @property
    def state(self) -> Any:
        """The algorithm's state."""
        return self._rows.state

    @property
    def x(self) -> Tensor:
        """[k, params]: the clients' models."""
        return self.rule.model(self.state)

    def mine(self, mask: np.ndarray | None) -> Tensor | None:
        """[k], bool: the hosted clients' part of a mask [clients]; None where it is true of all."""
        if mask is None:
            return None
        return uploaded(torch.from_numpy(mask[self._here]), self.begun.device)

    @property
    def _here(self) -> slice:
        return slice(self.clients.start, self.clients.stop)

    def rewire(self, rule: Rule, routing: WaveRouting) -> None:
        """From the next round on, another network with the same borders, or other parameters."""
        self.rule, self.routing = rule, routing
        self.planner.rewire(rule, routing)
        self._fit()

    def snapshot(self, pieces: Any = None) -> Snapshot:
        """All that the hosted clients carry on; copies, which nobody changes any more."""
        rows = {name: to_numpy(table.tensor) for name, table in self._rows.tables.items()}
        rows |= {"begun": to_numpy(self.begun)}
        return Snapshot(
            round=self.round,
            step=0,
            exchanges=0,
            rows=rows,
            numbers={},
            totals={"bytes_sent": np.array([self.bytes_sent]), "moved": to_numpy(self.drift)[None]},
            firsts=np.array([self.clients.start]),
            timeline=self.timeline.data(),
            mail=self.mail.data(),
        )

    def load(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the hosted clients."""
        rows, device = snapshot.rows, self.begun.device
        self._rows.load(rows)
        begun = loaded(rows["begun"], device)
        if self._stays and self._x is not None and torch.equal(begun, self._x.tensor):
            self._begun = self._x
        else:
            self._begun = Table(begun)
        self.round = snapshot.round
        self.bytes_sent = float(snapshot.totals["bytes_sent"].sum())
        self.planner.load(snapshot.timeline)
        self.mail.load(snapshot.mail, self._wanted(), self.begun)

    def _wanted(self) -> np.ndarray:
        """Numbers of the messages that the hosted clients will read."""
        if not isinstance(self.timeline, LetterTimeline):
            return np.empty(0, dtype=np.int64)
        letters = self.timeline.mail.then(self.timeline.held)
        here = (self.clients.start <= letters.receiver) & (letters.receiver < self.clients.stop)
        return np.unique(letters.serial[here])

    def rounds(self, until: int) -> Generator[tuple[list[Parcel], Leg], list[Parcel], None]:
        """Run up to round `until`; yields what other blocks need, takes what this one needs."""
        while self.round < until:
            with self.clock("planning"):
                last, portion = self.planner.take(until)
            with self.clock("update"):
                self._begin_anew(portion.fresh)
            self.mail.portion, meets = portion.number, self.asks.kind == "meet"
            params = dataclasses.replace(self.params, lr=self.rule.lr(self.round))
            for number, wave in enumerate(portion.waves):
                self.ask = None
                if not wave.leg.silent:
                    self.ask = Ask(self.round, self.asks.kind, f"wave {number}")
                yield from (self._meet if meets else self._post)(wave, params)
            self.ask = None
            if portion.journal is not None:
                self.traffic.append(portion.journal)
            self.bytes_sent += self.asks.message_bytes * portion.sent
            self.round = last

    def _portions(self, window: Window) -> list[Portion]:
        """What the block does in each portion of a window."""
        told = self._elapsed if self._pace.elapsed else None
        knife = Knife(window, self.routing.bounds, self.index, self.begun, told)
        journals: Iterable[Journal | None] = repeat(None, len(window.portions))
        if self.index == 0:  # all hosts would tell the same
            journals = Journal.of(window, self.routing.num_clients, self.asks.message_bytes)
        return knife.portions(self.mail, journals)

    def _elapsed(self, seconds: Tensor) -> Tensor:
        """What the algorithm is told about time that has passed; see `OwnPace`."""
        units, asked = seconds / self._unit, self._pace.elapsed
        if not callable(asked):
            return units
        return guarded(self.rule.algorithm, asked, self.params, units)

    def _begin_anew(self, fresh: np.ndarray) -> None:
        """Who is new, or back, begins a gradient at its model as it is."""
        if len(fresh) and self._begun is not self._x:
            rows = uploaded(torch.from_numpy(fresh), self.begun.device)
            self._begun.put(rows, self.x.index_select(0, rows))

    def _gradients(self, wave: Wave, x: Tensor) -> Tensor:
        """The gradients of the clients whose step it is; x: what the algorithm asks for."""
        if x.shape[0] != len(wave.at) or x.shape[1:] != self.begun.shape[1:]:
            wanted = [len(wave.at), *self.begun.shape[1:]]
            raise AlgorithmError(
                f"{self.rule.algorithm.name}: grad takes the clients' models, {wanted}, got "
                f"{list(x.shape)}"
            )
        if self._stage is not wave.stage:
            with self.clock("compute"):
                self._compute(wave.stage)
        return self._computed.g[wave.part]

    def _compute(self, stage: Stage) -> None:
        """The gradients of all who make a step in some waves."""
        x = self._begun.take(stage.rows)
        self._computed, self._stage = self.gradient(x, stage.at, stage.numbers), stage

    def _meet(self, wave: MeetingWave, params: Any) -> Generator[Any, list[Parcel], None]:
        """A wave of meetings."""
        active = passive = None
        mine: Parcel = ()
        theirs: Parcel = ()
        with self.clock("update"):
            if len(wave.at):
                taken = self.rows_of(wave.rows)
                active = _Part(taken, self._step(wave, taken, params))
                mine = self._asked(active.call, Meet).tensors
            if len(wave.met) and self._pace.met is None:
                theirs = (self.x.index_select(0, wave.met),)
            elif len(wave.met):
                taken = self.rows_of(wave.met)
                passive = _Part(taken, met(self.rule, taken, params, wave.met_elapsed))
                theirs = self._asked(passive.call, Meet).tensors
            if wave.leg.silent:
                mine, theirs = averaged(mine, theirs, wave.joint)
        if not wave.leg.silent:
            with self.clock("exchange"):
                pool = _stacked([part for part in (mine, theirs) if part])
                parcels = [tuple(t[at] for t in pool) for at in wave.parcels]
            arrived = yield parcels, wave.leg
            if pool:
                with self.clock("mixing"):
                    pool = _stacked([pool, *arrived])
                    mine, theirs = averaged_with(pool, wave.other, len(wave.at))
        with self.clock("update"):
            if passive is not None:
                self._rows.put(wave.met, self._end(passive.call, bare(theirs)), passive.taken)
            elif theirs:
                assert self._x is not None
                self._x.put(wave.met, theirs[0])
            if active is not None:
                self._done(wave, self._end(active.call, bare(mine)), active.taken)

    def _post(self, wave: PostWave, params: Any) -> Generator[Any, list[Parcel], None]:
        """A wave of messages."""
        active: _Part | None = None
        sent: Parcel = ()
        with self.clock("update"):
            if len(wave.at):
                taken = self.rows_of(wave.rows)
                active = _Part(taken, self._step(wave, taken, params))
                sent = self._asked(active.call, Push).tensors
                some = sent
                if len(wave.write) < len(wave.at):  # otherwise all of it is read here
                    some = tuple(t.index_select(0, wave.write) for t in sent)
                self.mail.put(wave.to, some)
        if not wave.leg.silent:
            arrived = yield [tuple(t[at] for t in sent) for at in wave.parcels], wave.leg
            with self.clock("exchange"):
                if arrived:
                    self.mail.put(wave.incoming, _stacked(arrived))
        if active is None:
            return
        with self.clock("update"):
            reply: Any = wave.kept
            if self.asks.keep is not None:
                self._asked(active.call, Arrived, reply)
                reply = Delivered(
                    self.mail.rows,
                    wave.reads,
                    wave.offsets,
                    wave.weights,
                    wave.ages,
                    wave.weight,
                )
            self._done(wave, self._end(active.call, reply), active.taken)

    def _step(self, wave: Wave, state: Any, params: Any) -> Call:
        """The step of the clients whose gradients are done."""
        return step(
            self.rule,
            state,
            lambda x: self._gradients(wave, x),
            params,
            wave.clients,
            wave.numbers,
            wave.elapsed,
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

    def _done(self, wave: Wave, new: Any, taken: Any) -> None:
        """Their step is made: they begin the next one."""
        if self._stage is wave.stage and self._computed.more:
            more = {name: value[wave.part] for name, value in self._computed.more.items()}
            self.on_step(wave, more)
        self._rows.put(wave.rows, new, taken)
        if self._begun is not self._x:
            self._begun.put(wave.rows, self.rule.model(new))

    def rows_of(self, rows: Tensor) -> Any:
        """Some rows of the state, as they are given to a step; `p2pqg.testing` listens here."""
        return self._rows.take(rows)


class _Part(NamedTuple):
    """What some clients do in a wave: rows of the state, and the call that was given these."""

    taken: Any
    call: Call


def _stacked(parcels: list[Parcel]) -> Parcel:
    """One below the other."""
    if len(parcels) == 1:
        return parcels[0]
    return tuple(torch.cat(parts) for parts in zip(*parcels, strict=True))
