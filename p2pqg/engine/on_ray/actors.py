"""The actors: a thin shell around every host, which plays what the driver tells it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from p2pqg.base.ending import end_with_the_parent
from p2pqg.base.errors import AlgorithmError, ClusterError
from p2pqg.base.forked import computes, threads
from p2pqg.base.lazy import torch, without_collection
from p2pqg.base.pieces import Pieces
from p2pqg.engine.call import ON_NO_CLIENTS, Ask, disagreement
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.spec import AnyRouting, HostSpec, Report, Stop

if TYPE_CHECKING:
    from p2pqg.engine.host import Host

Wire = tuple[np.ndarray, ...]
"""A parcel as an object in the store."""
Shelf = list[Any]
"""All parcels of a block, tensors, as an object that travels directly."""


class Step(NamedTuple):
    """What the driver wants of a host until it next waits for others.

    Attributes:
        number: of steps before, in this simulation.
        until: rounds that are to be done, over several steps.
        direct: the parcels travel without the object store.
        ask: the request at which the driver expects it to wait; None: to be done with the rounds.
    """

    number: int
    until: int
    direct: bool
    ask: Ask | None

    def packed(self) -> tuple[Any, ...]:
        """Without classes, which would take five times as long to send."""
        return (*self[:-1], self.ask and tuple(self.ask))

    @classmethod
    def unpacked(cls, packed: tuple[Any, ...]) -> Step:
        number, until, direct, ask = packed
        return cls(number, until, direct, ask and Ask(*ask))


class MissedStepError(ClusterError):
    """A step never reached an actor, as what should have arrived with it never came."""


@dataclass
class Branch:
    """One simulation's host in an actor, and how far it is in what the driver asked of it.

    Attributes:
        steps: taken so far.
        picks: which parcel of each shelf that arrives next is for this host.
        failure: what ended it.
        unmeasured: why it could not be measured, which leaves the clients as they are.
        received: rows of a snapshot that is about to be loaded.
    """

    host: Host
    steps: int = 0
    running: Generator[Any, Any, None] | None = None
    picks: Sequence[int] = ()
    failure: Exception | None = None
    unmeasured: Exception | None = None
    received: dict[str, torch.Tensor] = field(default_factory=dict)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Inside is what nobody asks the outcome of, before the rounds are collected."""
        try:
            yield
        except Exception as error:
            self.unmeasured = error
            raise

    def check(self, step: Step) -> None:
        """Whether it waits where the driver expects it to."""
        block = self.host.block
        if wrong := disagreement(block.ask, step.ask, block.who, ON_NO_CLIENTS):
            raise AlgorithmError(wrong)


class HostActor:
    """One block of clients in a process of its own; once for every branch of a forked simulation.

    Branches share the process, the samples and nothing else.
    """

    def __init__(self, spec: HostSpec, test: tuple[Any, Any]) -> None:
        with without_collection():  # brings torch, which the driver does without
            from p2pqg.engine.waves.host import host_of
            from p2pqg.models.stacked.promises import keep_promises

        # With the node, at once; Ray takes seconds. A driver that is killed takes the node along in
        # the same way, where Ray was started by it.
        end_with_the_parent()
        # Objects in the store are read-only and stay so: we only ever copy from them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        computes()
        torch.set_num_threads(threads(spec.num_threads))
        keep_promises()
        self.branches = {0: Branch(host_of(spec, test))}
        self.unborn: dict[int, Exception] = {}

    def fork(self, branch: int, twin: int) -> None:
        try:
            parent = self._branch(branch)
            self.branches[twin] = Branch(parent.host.fork(), parent.steps)
        except Exception as error:  # nobody waits for this call: the next one tells
            self.unborn[twin] = error

    def forget(self, branch: int) -> None:
        self.branches.pop(branch, None)
        self.unborn.pop(branch, None)

    def _branch(self, number: int) -> Branch:
        if number in self.unborn:
            raise self.unborn[number]
        return self.branches[number]

    def advance(self, branch: int, stops: list[Stop]) -> Report:
        return self._branch(branch).host.advance(stops)

    def step(self, branch: int, packed: tuple[Any, ...], *arrived: Wire | Shelf) -> Any:
        """Go on to the next request of the network; returns the parcels for others."""
        me, step = self._branch(branch), Step.unpacked(packed)
        try:
            if me.failure:
                raise me.failure
            if me.steps != step.number:
                raise MissedStepError("an actor waits for what another one did not send")
            me.steps += 1
            parcels = self._go_on(me, step, arrived)
        except Exception as error:
            me.failure = error  # this call may have no return value to carry it
            raise
        if step.direct:
            return parcels or None
        wires = [_pack(me.host, parcel) for parcel in parcels]
        return wires[0] if len(wires) == 1 else (wires or None)

    def _go_on(self, me: Branch, step: Step, arrived: Sequence[Wire | Shelf]) -> list[Any]:
        """To the next request, and no other than the driver expects; its parcels."""
        try:
            if me.running is None:
                me.running = me.host.block.rounds(step.until)
                parcels, leg = next(me.running)
            else:
                mine = zip(arrived, me.picks, strict=True)
                wires = [a[pick] if isinstance(a, list) else a for a, pick in mine]
                parcels, leg = me.running.send([_unpack(me.host, wire) for wire in wires])
            me.picks = [parcel for _, parcel in leg.addresses[me.host.block.index]]
        except StopIteration:
            me.running, parcels = None, []
        me.check(step)
        return parcels

    def sums(self, branch: int) -> Wire:
        me = self._branch(branch)
        with me.measured():
            return _pack(me.host, me.host.sums())

    def mean(self, branch: int, *sums: Wire) -> Wire:
        me = self._branch(branch)
        with me.measured():
            return _pack(me.host, me.host.mean([_unpack(me.host, wire) for wire in sums]))

    def measure(self, branch: int, mean: Wire, evaluate: bool) -> None:
        me = self._branch(branch)
        with me.measured():
            me.host.measure(_unpack(me.host, mean), evaluate)

    def collect(self, branch: int, measured: int) -> Report:
        """What became of the rounds, in which it was to be measured so often."""
        me = self._branch(branch)
        if me.failure:
            raise me.failure
        report = me.host.collect()
        if len(report.measurements) != measured:
            why, me.unmeasured = me.unmeasured, None
            raise why or MissedStepError("an actor was not told of what another one has measured")
        return report

    def rewire(self, branch: int, rule: Rule, routing: AnyRouting) -> None:
        self._branch(branch).host.rewire(rule, routing)

    def timeline(self, branch: int) -> Mapping[str, np.ndarray]:
        return self._branch(branch).host.timeline()

    def way(self, branch: int) -> str:
        return self._branch(branch).host.way()

    def snapshot(self, branch: int, pieces: bool) -> Snapshot:
        found = self._branch(branch).host.snapshot(pieces)
        return dataclasses.replace(found, rows={n: unfetched(r) for n, r in found.rows.items()})

    def fetch(self, branch: int, name: str, first: int, last: int) -> np.ndarray:
        return self._branch(branch).host.fetch(name, first, last)

    def receive(self, branch: int, name: str, shape: Sequence[int], at: int, piece: Any) -> None:
        """A piece of the rows that `load` will put in their place, a piece after the other."""
        rows, piece = self._branch(branch).received, torch.from_numpy(piece)
        if name not in rows:
            device = self._branch(branch).host.learner.device
            rows[name] = torch.empty(tuple(shape), dtype=piece.dtype, device=device)
        rows[name][at : at + len(piece)] = piece

    def load(self, branch: int, snapshot: Snapshot) -> None:
        me = self._branch(branch)
        received, me.received = me.received, {}
        me.host.load(dataclasses.replace(snapshot, rows={**snapshot.rows, **received}))

    def parameters(self, branch: int) -> np.ndarray:
        return self._branch(branch).host.parameters()


def _nowhere(first: int, last: int) -> np.ndarray:
    raise AssertionError("the actor has them")


def unfetched(rows: Any) -> Any:
    """What travels of rows that the actor keeps back: their shape and type."""
    return dataclasses.replace(rows, fetch=_nowhere) if isinstance(rows, Pieces) else rows


def _pack(host: Host, tensors: tuple[torch.Tensor, ...]) -> Wire:
    with host.clock("exchange"):
        return tuple(t.cpu().numpy() for t in tensors)


def _unpack(host: Host, wire: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
    with host.clock("exchange"):
        return tuple(torch.as_tensor(a, device=host.learner.device) for a in wire)
