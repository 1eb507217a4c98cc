"""The Ray cluster: an own small one on this machine, or a running one that is joined."""

from __future__ import annotations

import logging
import os

import ray

from p2pqg.engine.placement import Machine
from p2pqg.errors import ConfigError


def this_machine() -> Machine:
    """Cores this process may use, and the GPUs torch sees."""
    import torch

    return Machine(len(os.sched_getaffinity(0)), torch.cuda.device_count())


class Cluster:
    """A Ray cluster for the length of a run; what was started here is shut down here."""

    def __init__(self, address: str | None = None) -> None:
        """Start a local Ray, or join the one at `address` ("auto", "host:port", "ray://...").

        Raises:
            ConfigError: nothing answers at the address.
        """
        self.owned = not ray.is_initialized()
        if self.owned:
            try:
                ray.init(
                    address=address or "local",
                    num_cpus=None if address else len(os.sched_getaffinity(0)),
                    include_dashboard=None if address else False,
                    logging_level=logging.ERROR,
                    log_to_driver=False,
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
                raise ConfigError(
                    f"address {address!r}: no Ray cluster answers ({first}); "
                    "start one with `ray start --head`, or leave --address out"
                ) from None

    def machine(self) -> Machine:
        """What the whole cluster has."""
        total = ray.cluster_resources()
        return Machine(int(total.get("CPU", 1)), int(total.get("GPU", 0)))

    def close(self) -> None:
        if self.owned and ray.is_initialized():
            ray.shutdown()
