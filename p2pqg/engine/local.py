"""The local engine: all hosts in this process, no Ray. The reference for every other engine."""

from __future__ import annotations

import numpy as np

from p2pqg.engine.block import lockstep
from p2pqg.engine.host import Host
from p2pqg.engine.spec import HostSpec, Report, Stop


class LocalEngine:
    """Hosts side by side in one process; work is done when it is submitted."""

    max_in_flight = 1

    def __init__(self, specs: list[HostSpec], test: tuple[np.ndarray, np.ndarray]) -> None:
        self.hosts = [Host(spec, test) for spec in specs]

    def submit(self, stops: list[Stop]) -> list[Report]:
        """Run through the stops."""
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

    def parameters(self) -> np.ndarray:
        """[clients, params]."""
        return np.concatenate([host.parameters() for host in self.hosts])

    def close(self) -> None:
        """Let go of the models."""
        self.hosts = []
