"""The local engine: all hosts in this process, no Ray. The reference for every other engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch

from p2pqg.engine.block import lockstep
from p2pqg.engine.guest import with_threads
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.engine.spec import AnyRouting, HostSpec, Report, Stop
from p2pqg.engine.waves.host import host_of


class LocalEngine:
    """Hosts side by side in one process; work is done when it is submitted."""

    max_in_flight = 1
    tell: Callable[[str], None] | None = None  # it waits for nobody

    def __init__(
        self,
        specs: Sequence[HostSpec],
        test: tuple[np.ndarray, np.ndarray],
        snapshot: Snapshot | None = None,
    ) -> None:
        self._num_threads = specs[0].num_threads
        with self._threads():
            self.hosts = [host_of(spec, test) for spec in specs]
        if snapshot is not None:
            self.load(snapshot)

    def _threads(self) -> AbstractContextManager[None]:
        return with_threads(self._num_threads)

    def submit(self, stops: list[Stop]) -> list[Report]:
        """Run through the stops. Ctrl-C waits for them: half a round is no state to go on from."""
        device = self.hosts[0].learner.device.type
        # A script may compute all of its own within `torch.autocast`; a run says its precision.
        with uninterrupted(), self._threads(), torch.autocast(device, enabled=False):
            if len(self.hosts) == 1:
                return [self.hosts[0].advance(stops)]
            for stop in stops:
                lockstep([host.block for host in self.hosts], stop.round)
                if stop.measure:
                    mean = self.hosts[0].mean([host.sums() for host in self.hosts])
                    for host in self.hosts:
                        host.measure(mean, stop.evaluate)
            return [host.collect() for host in self.hosts]

    def fetch(self, ticket: list[Report]) -> list[Report]:
        """The reports of what was submitted, one per host."""
        return ticket

    def rewire(self, rule: Rule, routing: AnyRouting) -> None:
        """From the next round on, another network with the same borders, or other parameters."""
        for host in self.hosts:
            host.rewire(rule, routing)

    def snapshot(self, pieces: bool = False) -> Snapshot:
        """All that the clients carry on, when everything submitted has been fetched.

        Args:
            pieces: large arrays are to be fetched a piece at a time, before anything else is done.
        """
        return Snapshot.join([host.snapshot(pieces) for host in self.hosts])

    def timeline(self) -> Mapping[str, np.ndarray]:
        """Where all clients stand that do not wait; see `engine.waves.timeline`."""
        return self.hosts[0].timeline()

    def ways(self) -> list[str]:
        """How each host computes gradients; "" where there was nothing to choose."""
        with self._threads():
            return [host.way() for host in self.hosts]

    def load(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot."""
        with self._threads():
            for host in self.hosts:
                host.load(snapshot.cut(host.clients.start, host.clients.stop))

    def fork(self) -> LocalEngine:
        """An engine with the same clients, which go their own way from here."""
        twin = copy.copy(self)
        with self._threads():
            twin.hosts = [host.fork() for host in self.hosts]
        return twin

    def parameters(self) -> np.ndarray:
        """[clients, params]."""
        return np.concatenate([host.parameters() for host in self.hosts])

    def close(self) -> None:
        """Let go of the models and samples, at once."""
        for host in self.hosts:
            host.close()
        self.hosts = []
