"""The Ray engine: the driver's side of the actors; rows travel through the object store.

The driver sends calls and object references only, never waits for a round, and never sees a row:
it knows from its own block of no clients (`itinerary`) what the hosts will hand out, and names
those objects as arguments of the next call. A Ray actor runs its calls in the order they came.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from p2pqg.algorithms.effects import Decide
from p2pqg.base.lazy import torch
from p2pqg.base.pieces import Pieces
from p2pqg.base.registry import Entry
from p2pqg.engine.on_ray.actor_group import ActorGroup
from p2pqg.engine.on_ray.actors import Step, unfetched
from p2pqg.engine.on_ray.carry import carry
from p2pqg.engine.on_ray.failures import received, told_if_ray_ends, wait_for
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import itinerary
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.spec import AnyRouting, HostSpec, Report, Stop
from p2pqg.engine.waves.routing import WaveRouting

if TYPE_CHECKING:
    from p2pqg.engine.waves.scout import WaveScout


SECONDS_TO_BEGIN = 10.0
"""Within which actors mostly have started."""

SECONDS_OF_SILENCE = 300.0
SILENCE = (
    "nothing has come from the actors for 5 minutes; a round may take as long, or Ray's object "
    "store is full, and so is the disk for what does not fit into it"
)


class RayEngine:
    """One actor per host. The cluster is there already (`cluster.py`)."""

    max_in_flight = 2
    tell: Callable[[str], None] | None = None

    def __init__(
        self,
        specs: Sequence[HostSpec],
        test: tuple[np.ndarray, np.ndarray],
        num_params: int,
        gpus_per_actor: float,
        snapshot: Snapshot | None = None,
        transport: str | None = None,
    ) -> None:
        self.rule, self.routing = specs[0].rule, specs[0].routing
        network = [specs[0].own_network] if specs[0].own_network else []
        for part in (*_parts(self.rule, self.routing), *specs[0].task.entries, *network):
            carry(part)
        self.group = ActorGroup(specs, test, gpus_per_actor, transport)
        self.branch = 0
        self.chooses = specs[0].capture.concerns(specs[0].device)
        self.round = 0
        self.steps = 0
        self.told = set[str]()
        self._unheard: list[ray.ObjectRef[Any]] = []  # what returns nothing, or why it failed
        self.scout: Any = None
        if len(specs) > 1 or not self.rule.algorithm.is_ours:
            # A mistake in `start` is told here, not by an actor.
            self.scout = self.rule.start(torch.empty(0, num_params))
        self.waves: WaveScout | None = None
        if len(specs) > 1 and isinstance(self.routing, WaveRouting):
            self.waves = _scout_of(self.rule, self.routing, num_params, specs[0].task.dtype)
        if snapshot is not None:
            self.load(snapshot)

    def _all(self, method: str, *args: Any) -> list[ray.ObjectRef[Any]]:
        """Call every actor."""
        return [getattr(actor, method).remote(self.branch, *args) for actor in self.group.actors]

    def submit(self, stops: list[Stop]) -> list[ray.ObjectRef[Any]]:
        """Send all calls that lead through the stops; returns at once."""
        with self._told_if_ray_ends():
            return self._submitted(stops)

    def _submitted(self, stops: list[Stop]) -> list[ray.ObjectRef[Any]]:
        if len(self.group.actors) == 1:
            self.round = stops[-1].round
            return self._all("advance", stops)
        for stop in stops:
            (self._send_waves if self.waves else self._send_rounds)(stop.round)
            if stop.measure:
                mean = self.group.actors[0].mean.remote(self.branch, *self._all("sums"))
                for actor in self.group.actors:  # `collect` tells what comes of it
                    actor.measure.options(num_returns=0).remote(self.branch, mean, stop.evaluate)
        return self._all("collect", sum(stop.measure for stop in stops))

    def _send_rounds(self, until: int) -> None:
        assert isinstance(self.routing, Routing)
        trip = itinerary(self.rule, self.scout, self.round, until)
        arriving: list[list[ray.ObjectRef[Any]]] = [[] for _ in self.group.actors]
        decided = None
        try:
            while True:
                ask, effect = trip.send(decided)
                decided = None
                for leg in self.routing.legs(effect, ask.round):
                    if leg.silent:
                        continue
                    # What the driver has to read goes through the store.
                    direct = bool(self.group.transport) and not isinstance(effect, Decide)
                    step = Step(self.steps, until, direct, ask)
                    shelves = self._step(step, arriving, leg.num_parcels)
                    arriving = [[shelves[a][p] for a, p in wanted] for wanted in leg.addresses]
                    if isinstance(effect, Decide):
                        decided = self._decide(shelves)
        except StopIteration as end:
            self.scout = end.value
        self._step(Step(self.steps, until, False, None), arriving, (0,) * len(self.group.actors))
        self.round = until

    def _send_waves(self, until: int) -> None:
        """Send the waves of clients that do not wait; which rows travel is known beforehand."""
        assert self.waves is not None
        arriving: list[list[ray.ObjectRef]] = [[] for _ in self.group.actors]
        for ask, leg in self.waves.legs(until):
            step = Step(self.steps, until, bool(self.group.transport), ask)
            shelves = self._step(step, arriving, leg.num_parcels)
            arriving = [[shelves[a][p] for a, p in wanted] for wanted in leg.addresses]
        self._step(Step(self.steps, until, False, None), arriving, (0,) * len(self.group.actors))
        self.round = until

    def _step(
        self,
        step: Step,
        arriving: list[list[ray.ObjectRef[Any]]],
        num_parcels: tuple[int, ...],
    ) -> list[list[ray.ObjectRef[Any]]]:
        """Hand every actor what arrives for it; references to each parcel that it then hands out.

        Parcels that travel `direct`ly are one object, to which all their references point.
        """
        shelves, packed = [], step.packed()
        self.steps += 1
        for actor, arrived, parcels in zip(self.group.actors, arriving, num_parcels, strict=True):
            how: dict[str, Any] = {"num_returns": parcels}
            if step.direct and parcels:
                how = {"tensor_transport": self.group.transport}
            returned = actor.step.options(**how).remote(self.branch, packed, *arrived)
            shelves.append(returned if isinstance(returned, list) else [returned] * parcels)
        return shelves

    def _decide(self, shelves: list[list[ray.ObjectRef[Any]]]) -> float:
        """The number that the actors will come to: here the driver must wait."""
        from p2pqg.engine.answers import total  # brings torch, as does the scout

        sums = self._get([shelf[0] for shelf in shelves])
        (together,) = total([(torch.from_numpy(s.copy()),) for (s,) in sums])
        assert isinstance(self.routing, Routing)
        active = self.routing.schedule.mixing(self.round).active
        n = self.routing.num_clients if active is None else max(1, int(active.sum()))
        return float(together[0] / n)

    def fetch(self, ticket: list[ray.ObjectRef[Any]]) -> list[Report]:
        """Wait for the reports of what was submitted, one per host."""
        return self._get(ticket)

    def rewire(self, rule: Rule, routing: AnyRouting) -> None:
        """From the next round on, another network with the same borders, or other parameters."""
        self.rule, self.routing = rule, routing
        for part in _parts(rule, routing):
            carry(part)
        if self.waves:
            assert isinstance(routing, WaveRouting)
            self.waves.rewire(rule, routing)
        self._unheard += self._all("rewire", rule, routing)

    def snapshot(self, pieces: bool = False) -> Snapshot:
        """All that the clients carry on, when everything submitted has been fetched.

        Args:
            pieces: large arrays are to be fetched a piece at a time, before anything else is done.
        """
        parts = self._get(self._all("snapshot", pieces))
        return Snapshot.join(
            [
                dataclasses.replace(
                    part, rows={n: self._to_be_fetched(actor, n, r) for n, r in part.rows.items()}
                )
                for part, actor in zip(parts, self.group.actors, strict=True)
            ]
        )

    def _to_be_fetched(self, actor: Any, name: str, rows: Any) -> Any:
        """Rows that an actor has kept back; others as they are."""
        if not isinstance(rows, Pieces):
            return rows

        def fetch(first: int, last: int) -> np.ndarray:
            return self._get([actor.fetch.remote(self.branch, name, first, last)])[0]

        return dataclasses.replace(rows, fetch=fetch)

    def timeline(self) -> Mapping[str, np.ndarray]:
        """Where all clients stand that do not wait; see `engine.waves.timeline`."""
        return self._get([self.group.actors[0].timeline.remote(self.branch)])[0]

    def ways(self) -> list[str]:
        """How each actor computes gradients; waits for all of them, if there is much to say."""
        if not self.chooses:
            return [""] * len(self.group.actors)
        return self._get(self._all("way"))

    def load(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot."""
        self.round = snapshot.round
        if self.scout is not None:
            nobody = {name: np.asarray(a[:0]) for name, a in snapshot.rows.items()}
            self.scout = self.rule.state_of(nobody, snapshot.numbers)
        if self.waves:
            self.waves.load(snapshot)
        bounds = self.routing.bounds
        for index, actor in enumerate(self.group.actors):
            part = snapshot.cut(bounds[index], bounds[index + 1])
            for name, rows in part.rows.items():
                self._send_in_pieces(actor, name, rows)
            rows = {name: unfetched(r) for name, r in part.rows.items()}
            part = dataclasses.replace(part, rows=rows)
            self._unheard.append(actor.load.remote(self.branch, part))

    def _send_in_pieces(self, actor: Any, name: str, rows: Any) -> None:
        """Send rows that are in pieces: the next one when the one before has arrived."""
        done = 0
        for piece in rows if isinstance(rows, Pieces) else ():
            sent = actor.receive.remote(self.branch, name, rows.shape, done, piece)
            done += len(piece)
            del piece
            with self._told_if_ray_ends():
                wait_for([sent], self.group.node)
            self._unheard.append(sent)

    def fork(self) -> RayEngine:
        """An engine with the same clients, in the same actors, which go their own way from here."""
        twin = copy.copy(self)
        twin.branch = self.group.fork(self.branch)
        twin.waves = self.waves and self.waves.fork()
        twin._unheard = self._unheard.copy()
        return twin

    def _get(self, references: list[ray.ObjectRef[Any]]) -> list[Any]:
        """What the actors returned, or why they did not as an error of ours."""
        with self._told_if_ray_ends():
            group = self.group
            bounds = self.routing.bounds
            self.told = set()
            asked = [*references, *self._unheard]
            found = received(asked, group.actors, bounds, group.node, self._waiting)
        self._unheard = []
        return found[: len(references)]

    def _waiting(self, seconds: float) -> None:
        """Nothing has come from the actors for so long: say why, once, if it can be told."""
        if self.tell is None or seconds < SECONDS_TO_BEGIN:
            return
        told = self.group.no_room() or (SILENCE if seconds > SECONDS_OF_SILENCE else "")
        if told and told not in self.told:
            self.told.add(told)
            self.tell(told)

    def _told_if_ray_ends(self) -> AbstractContextManager[None]:
        return told_if_ray_ends(self.group.node)

    def parameters(self) -> np.ndarray:
        """[clients, params]."""
        return np.concatenate(self._get(self._all("parameters")))

    def close(self) -> None:
        """Let go of the actors; the last simulation that does ends them."""
        self.group.release(self.branch)


def _scout_of(rule: Rule, routing: WaveRouting, num_params: int, dtype: torch.dtype) -> WaveScout:
    from p2pqg.engine.waves.scout import WaveScout  # brings torch

    return WaveScout.at_start(rule, routing, num_params, dtype)


def _parts(rule: Rule, routing: Routing | WaveRouting) -> list[Entry]:
    """What of them may be a user's own code."""
    attacks = routing.attacks if isinstance(routing, Routing) else ()
    return [*rule.parts, *(attack.lie.entry for attack in attacks)]
