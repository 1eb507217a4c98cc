"""The actors of a simulation and of its forks, which share them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray

from p2pqg.base.wording import counted
from p2pqg.engine.on_ray.actors import HostActor
from p2pqg.engine.on_ray.private_ray import id_of, node, not_started
from p2pqg.engine.on_ray.pulse import what_ended
from p2pqg.engine.on_ray.transport import connect, disconnect
from p2pqg.engine.spec import HostSpec


class ActorGroup:
    """The actors of a simulation and of its forks; they end when the last of these closes.

    Attributes:
        actors: one per block of clients.
        branches: numbers of the simulations that they host.
        transport: what carries rows directly from actor to actor, if anything.
        node: of the Ray that has them.
        gpus_per_actor: of each, perhaps a fraction of one.
    """

    def __init__(
        self,
        specs: Sequence[HostSpec],
        test: tuple[Any, Any],
        gpus_per_actor: float,
        transport: str | None = None,
    ) -> None:
        self.transport, self.node = transport, node()
        self.gpus_per_actor = gpus_per_actor
        # Cores are shared, not reserved: a second simulation need not wait for the first one, nor
        # an actor for ever, because no node has as much as its share left.
        remote: Any = ray.remote
        if transport:
            remote = ray.remote(enable_tensor_transport=True)  # type: ignore[call-overload]
        actor = remote(HostActor).options(
            num_cpus=0, num_gpus=gpus_per_actor, scheduling_strategy="SPREAD"
        )
        shared = ray.put(test)
        self.actors: list[Any] = [actor.remote(spec, shared) for spec in specs]
        self.branches = {0}
        self._group = connect(self.actors, transport) if transport else None

    def fork(self, branch: int) -> int:
        """A new branch, as that one is when the actors come to it; returns its number."""
        twin = max(self.branches) + 1
        self.branches.add(twin)
        for actor in self.actors:
            actor.fork.options(num_returns=0).remote(branch, twin)
        return twin

    def no_room(self) -> str:
        """Which actors are still to be started, as GPUs are not free, in words; "": none."""
        share = self.gpus_per_actor
        with suppress(Exception):  # nothing but a remark
            late = share and not_started() & set(map(id_of, self.actors))
            if late and (free := ray.available_resources().get("GPU", 0.0)) < share:
                many, there = counted(len(self.actors), "actor"), ray.cluster_resources()
                return (
                    f"Ray has yet to start {len(late)} of {many}: each wants {share:g} of a GPU, "
                    f"and {free:g} of {there.get('GPU', 0.0):g} are free"
                )
        return ""

    def release(self, branch: int) -> None:
        """A simulation needs them no longer."""
        self.branches.discard(branch)
        if what_ended(self.node):
            self.actors, self._group = [], None  # they ended with it
            return
        if self.branches:
            for actor in self.actors:
                actor.forget.options(num_returns=0).remote(branch)
            return
        for actor in self.actors:
            ray.kill(actor)
        if self._group:  # last: an actor that waits for a dead one would not answer
            disconnect(self._group)
        self.actors, self._group = [], None
