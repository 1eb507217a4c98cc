"""The Ray cluster: an own small one on this machine, or a running one that is joined."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import ray
from ray._private import worker as ray_worker

from p2pqg.base.errors import ClusterError, ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.memory import available_memory
from p2pqg.engine.on_ray import lean_ray
from p2pqg.engine.on_ray.transport import forget_transfers
from p2pqg.engine.placement import Machine

NVIDIA_DRIVER = ("/dev/nvidiactl", "/dev/dxg")
"""What the driver of NVIDIA GPUs shows of itself, on Linux and inside Windows."""

# When an actor dies, the others stumble; who asks for results is told, nobody else needs to be.
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")


def cores() -> list[int]:
    """Numbers of the cores that this process may use; all, where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def this_machine(device: str) -> Machine:
    """Cores this process may use, the GPUs torch sees, and the memory that is free.

    A run on device cpu counts no GPUs, and nor does one where there is no driver for them: neither
    has to wait for torch.
    """
    num_gpus = 0
    if device != "cpu" and any(map(os.path.exists, NVIDIA_DRIVER)):
        num_gpus = torch.cuda.device_count()
    return Machine(len(cores()), num_gpus, available_memory())


def memory_of_gpus(num_gpus: int) -> int:
    """Bytes that the GPUs of this machine have together."""
    return sum(torch.cuda.get_device_properties(i).total_memory for i in range(num_gpus))


class Cluster:
    """A Ray cluster for the length of a run; what was started here is shut down here.

    Attributes:
        running: that which was started here and is shared by all simulations, if there is one.
    """

    running: ClassVar[Cluster | None] = None

    @classmethod
    def at(cls, address: str | None = None, num_gpus: int | None = None) -> Cluster:
        """The one that runs here already if it will do, or a new one; arguments as of the class."""
        if cls.running and ray.is_initialized() and address in (None, cls.running.address):
            if num_gpus and (there := cls.running.machine().num_gpus) < num_gpus:
                raise ConfigError(
                    f"device cuda: the Ray that runs here was started with {there} of {num_gpus} "
                    "GPUs; close the simulations on it first"
                )
            return cls.running.share()
        return cls(address, num_gpus)

    def __init__(self, address: str | None = None, num_gpus: int | None = None) -> None:
        """Start a local Ray, or join a running one.

        Args:
            address: "auto", "host:port" or "ray://..."; None: a Ray of our own on this machine.
            num_gpus: of our own one; None: those that Ray finds by itself.

        Raises:
            ConfigError: nothing answers at the address.
            ClusterError: our own does not start.
        """
        self.address, self.num_gpus = address, num_gpus
        self.users = 1
        self.owned = not ray.is_initialized()
        self._start()

    def _start(self) -> None:
        if not self.owned:
            return
        address = self.address
        _check_somebody_listens(address)
        quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            with _signals_stay_ours():
                if address:
                    ray.init(address=address, **quiet)
                else:
                    own = {"num_cpus": len(cores()), "num_gpus": self.num_gpus}
                    lean_ray.start(include_dashboard=False, **own, **quiet)
        except Exception as error:  # whatever kinds of it a version of Ray raises
            first = (str(error).strip().splitlines() or ["no answer"])[0]
            if address:
                raise _nobody(address, first) from None
            raise ClusterError(
                f"Ray does not start on this machine ({first}); --engine local does without"
            ) from error
        Cluster.running = self
        forget_transfers()
        _let_ray_print(False)

    def machine(self) -> Machine:
        """What the whole cluster has."""
        total = ray.cluster_resources()
        memory = int(total["memory"]) if "memory" in total else None
        return Machine(int(total.get("CPU", 1)), int(total.get("GPU", 0)), memory)

    def share(self) -> Cluster:
        """The same cluster, for one more simulation that will close it."""
        self.users += 1
        return self

    def revive(self) -> None:
        """Start it again if it is gone, as far as it was started here.

        Raises:
            ClusterError: it is gone, and somebody else's.
        """
        try:
            ray.cluster_resources()
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, OSError):
            if not self.owned:
                raise ClusterError("the Ray cluster is gone") from None
            ray.shutdown()
            self._start()

    def close(self) -> None:
        """One user less; the last one shuts down what was started here."""
        self.users -= 1
        if self.users == 0 and self.owned and ray.is_initialized():
            Cluster.running = None
            ray.shutdown()
            _let_ray_print(True)


def _check_somebody_listens(address: str | None) -> None:
    """Ray itself would knock for ten minutes and more at an address where nobody is."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _nobody(address, str(error)) from None


def _nobody(address: str | None, reason: str) -> ConfigError:
    return ConfigError(
        f"address {address!r}: no Ray cluster answers ({reason}); "
        "start one with `ray start --head`, or leave --address out"
    )


def _let_ray_print(allowed: bool) -> None:
    """What Ray notices, such as dead processes, it prints to stdout; we tell it ourselves.

    Ray has no public switch for that; where a version does not know this one, it prints.
    """
    if hasattr(ray_worker, "_worker_logs_enabled"):
        ray_worker._worker_logs_enabled = allowed


@contextmanager
def _signals_stay_ours() -> Iterator[None]:
    """Ray would end the process at once on SIGTERM, without a word; who began may say more."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, so Ray does not either
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before not in (None, signal.SIG_DFL):
            signal.signal(signal.SIGTERM, before)
