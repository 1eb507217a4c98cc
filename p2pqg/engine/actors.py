"""The Ray engine: a thin actor around every host; rows travel through the object store.

The driver sends calls and object references only, never waits for a round, and never sees a row:
it knows from its own block of no clients (`itinerary`) what the hosts will hand out, and names
those objects as arguments of the next call. A Ray actor runs its calls in the order they came.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import ray

from p2pqg.algorithms._effects import Decide
from p2pqg.engine.carry import carry, is_foreign
from p2pqg.engine.rule import itinerary
from p2pqg.engine.spec import HostSpec, Report, Stop
from p2pqg.errors import ClusterError, P2pqgError
from p2pqg.lazy import torch

Wire = tuple[np.ndarray, ...]


class HostActor:
    """One host in a process of its own."""

    def __init__(self, spec: HostSpec, test: tuple[Any, Any]) -> None:
        from p2pqg.engine.host import Host  # brings torch, which the driver does without

        # Objects in the store are read-only and stay so: we only ever copy from them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        self.host = Host(spec, test)
        self.device = self.host.learner.device
        self.running = None
        self.failure: Exception | None = None

    def advance(self, stops: list[Stop]) -> Report:
        return self.host.advance(stops)

    def step(self, until: int, *arrived: Wire) -> Any:
        """Go on to the next request of the network; returns the parcels for others."""
        try:
            if self.running is None:
                self.running = self.host.block.rounds(until)
                parcels, _ = next(self.running)
            else:
                parcels, _ = self.running.send([self._unpack(wire) for wire in arrived])
        except StopIteration:
            self.running = None
            return None
        except Exception as error:
            self.failure = error  # this call may have no return value to carry it
            raise
        packed = [self._pack(parcel) for parcel in parcels]
        return packed[0] if len(packed) == 1 else (packed or None)

    def sums(self) -> Wire:
        return self._pack(self.host.sums())

    def mean(self, *sums: Wire) -> Wire:
        return self._pack(self.host.mean([self._unpack(wire) for wire in sums]))

    def measure(self, mean: Wire, evaluate: bool) -> None:
        self.host.measure(self._unpack(mean), evaluate)

    def collect(self) -> Report:
        if self.failure:
            raise self.failure
        return self.host.collect()

    def parameters(self) -> np.ndarray:
        return self.host.parameters()

    def _pack(self, tensors: tuple[torch.Tensor, ...]) -> Wire:
        with self.host.clock("exchange"):
            return tuple(t.cpu().numpy() for t in tensors)

    def _unpack(self, wire: Wire) -> tuple[torch.Tensor, ...]:
        with self.host.clock("exchange"):
            return tuple(torch.from_numpy(a).to(self.device) for a in wire)


class RayEngine:
    """One actor per host. The cluster is there already (`cluster.py`)."""

    max_in_flight = 2

    def __init__(
        self,
        specs: list[HostSpec],
        test: tuple[np.ndarray, np.ndarray],
        num_params: int,
        cpus_per_actor: float,
        gpus_per_actor: float,
    ) -> None:
        self.rule, self.routing = specs[0].rule, specs[0].routing
        carry(self.rule.algorithm)
        actor = ray.remote(HostActor).options(num_cpus=cpus_per_actor, num_gpus=gpus_per_actor)
        shared = ray.put(test)
        self.actors = [actor.remote(spec, shared) for spec in specs]
        self.round = 0
        if len(specs) > 1 or is_foreign(self.rule.algorithm):  # a bad start should be told here
            self.scout = self.rule.start(torch.empty(0, num_params))

    def submit(self, stops: list[Stop]) -> list[ray.ObjectRef]:
        """Send all calls that lead through the stops; returns at once."""
        if len(self.actors) == 1:
            return [self.actors[0].advance.remote(stops)]
        for stop in stops:
            self._send_rounds(stop.round)
            if stop.measure:
                mean = self.actors[0].mean.remote(*[a.sums.remote() for a in self.actors])
                for actor in self.actors:
                    actor.measure.options(num_returns=0).remote(mean, stop.evaluate)
        return [actor.collect.remote() for actor in self.actors]

    def _send_rounds(self, until: int) -> None:
        trip = itinerary(self.rule, self.scout, self.round, until)
        arriving: list[list[ray.ObjectRef]] = [[] for _ in self.actors]
        decided = None
        try:
            while True:
                round, effect = trip.send(decided)
                decided = None
                leg = self.routing.leg(effect, round)
                if not leg.silent:
                    shelves = self._step(until, arriving, leg.num_parcels)
                    arriving = [[shelves[a][p] for a, p in wanted] for wanted in leg.addresses]
                    if isinstance(effect, Decide):
                        decided = self._decide(shelves)
        except StopIteration as end:
            self.scout = end.value
        self._step(until, arriving, (0,) * len(self.actors))
        self.round = until

    def _step(
        self, until: int, arriving: list[list[ray.ObjectRef]], num_parcels: tuple[int, ...]
    ) -> list[list[ray.ObjectRef]]:
        """Hand every actor what arrives for it; what each then hands out, as references."""
        returned = [
            actor.step.options(num_returns=num_parcels[b]).remote(until, *arriving[b])
            for b, actor in enumerate(self.actors)
        ]
        return [r if isinstance(r, list) else [r] for r in returned]

    def _decide(self, shelves: list[list[ray.ObjectRef]]) -> float:
        """The number that the actors will come to: here the driver must wait."""
        from p2pqg.engine.block import total  # brings torch, as does the scout

        sums = self._get([shelf[0] for shelf in shelves])
        (together,) = total([(torch.from_numpy(s.copy()),) for (s,) in sums])
        return float(together[0] / self.routing.num_clients)

    def fetch(self, ticket: list[ray.ObjectRef]) -> list[Report]:
        """Wait for the reports of what was submitted, one per host."""
        return self._get(ticket)

    def _get(self, references: list[ray.ObjectRef]) -> list[Any]:
        """What the actors returned, or why they did not as an error of ours."""
        try:
            return ray.get(references)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, P2pqgError):
                raise error.cause from None
            raise error.as_instanceof_cause() from None
        except ray.exceptions.RayError as error:
            raise ClusterError(self._obituary(error)) from None

    def _obituary(self, error: Exception) -> str:
        """Which actor died, as far as Ray can tell."""
        bounds = self.routing.bounds
        for index, actor in enumerate(self.actors):
            try:
                ray.get(actor.__ray_ready__.remote(), timeout=2)
            except ray.exceptions.RayError as gone:
                first, last = bounds[index], bounds[index + 1] - 1
                reason = str(gone).strip().splitlines()[-1].strip() if str(gone) else "no reason"
                return f"actor {index} (clients {first} to {last}) died: {reason}"
        return f"Ray failed: {str(error).strip().splitlines()[0]}"

    def parameters(self) -> np.ndarray:
        """[clients, params]."""
        return np.concatenate(ray.get([actor.parameters.remote() for actor in self.actors]))

    def close(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []
