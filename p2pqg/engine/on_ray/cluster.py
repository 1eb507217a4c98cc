"""The Ray cluster: an own small one on this machine, or a running one that is joined."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from p2pqg.base.errors import ClusterError, ConfigError
from p2pqg.engine.interrupts import uninterrupted
from p2pqg.engine.machine import cores, has_a_gpu_driver
from p2pqg.engine.on_ray import private_ray
from p2pqg.engine.on_ray.keeper import Keeper
from p2pqg.engine.on_ray.own_folder import OwnFolder
from p2pqg.engine.on_ray.pulse import knock, what_ended
from p2pqg.engine.placement import Machine

SECONDS_TO_BECOME_A_NODE = 10.0
"""How long a machine may take for that, from when the cluster is there."""


class Cluster:
    """A Ray cluster for the length of a run; what was started here is shut down here.

    Simulations in several threads share it: it starts, is shared and ends under one lock.

    Attributes:
        running: that which was started or joined here and is shared by all simulations.
        notes: what a user should know of it, a line each.
    """

    running: ClassVar[Cluster | None] = None
    lock: ClassVar[threading.RLock] = threading.RLock()

    @classmethod
    def at(cls, address: str | None = None, num_gpus: int | None = None) -> Cluster:
        """The one that runs here already if it will do, or a new one.

        Args:
            address: "auto", "host:port" or "ray://..."; None: a Ray of our own on this machine.
            num_gpus: of our own one; None: those that Ray finds by itself.

        Raises:
            ConfigError: nothing answers at the address, or the one that runs will not do.
            ClusterError: our own does not start.
        """
        with cls.lock:
            if not (cls.running and ray.is_initialized()):
                return cls(address, num_gpus)
            if address not in (None, cls.running.address):
                raise ConfigError(
                    f"address {address!r}: this process uses another Ray cluster already; close "
                    "the simulations on it first"
                )
            if num_gpus and (there := cls.running.machine().num_gpus) < num_gpus:
                raise ConfigError(
                    f"device cuda: the Ray that runs here was started with {there} of {num_gpus} "
                    "GPUs; close the simulations on it first"
                )
            return cls.running.share()

    def __init__(self, address: str | None = None, num_gpus: int | None = None) -> None:
        """Start a local Ray, or join a running one; see `at`."""
        self.address, self.num_gpus = address, num_gpus
        self.users = 1
        self.notes: list[str] = []
        self.owned = not ray.is_initialized()
        self._keeper: Keeper | None = None
        self._folder: OwnFolder | None = None
        with Cluster.lock:
            self._start()

    def _start(self) -> None:
        if not self.owned:
            _check_it_is_the_same(self.address)
            return
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        try:
            if self.address:
                _check_we_are_let_in(self.address)
                with _signals_stay_ours(), private_ray.no_dump_when_stopped():
                    ray.init(address=self.address, **quiet)
            else:
                self._folder, self._keeper = OwnFolder(), Keeper()
                own = {"num_cpus": len(cores()), "num_gpus": self.num_gpus}
                folder, settings = self._folder, own | quiet
                self.notes = self._keeper.call(lambda: private_ray.start(folder, **settings))
        except BaseException as error:  # whatever kinds of it a version of Ray raises
            self._stop()
            if isinstance(error, ConfigError) or not isinstance(error, Exception):
                raise
            first = _why(error)
            if self.address:
                raise _nobody(f"address {self.address!r}", first) from None
            raise ClusterError(
                f"Ray does not start on this machine ({first}); --engine local does without"
            ) from error
        Cluster.running = self
        private_ray.let_ray_print(False)

    def _stop(self) -> None:
        """Shut down, or leave, what has been started or joined here, as far as it has."""
        with uninterrupted():
            Cluster.running = None
            private_ray.stop()
            if self._keeper:
                self._keeper.end()
            if self._folder:
                self._folder.remove()
            self._keeper = self._folder = None
            private_ray.let_ray_print(True)

    def machine(self) -> Machine:
        """What the whole cluster has; GPUs count where there is a driver for them."""
        total = ray.cluster_resources()
        memory = int(total["memory"]) if "memory" in total else None
        num_gpus = int(total.get("GPU", 0))
        if num_gpus and self.address:
            num_gpus = self._gpus_with_a_driver(num_gpus)
        return Machine(int(total.get("CPU", 1)), num_gpus, memory)

    def _gpus_with_a_driver(self, claimed: int) -> int:
        """How many of the GPUs that a joined cluster claims can be used."""
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
        look = ray.remote(num_cpus=0)(has_a_gpu_driver)
        found = ray.get(
            [
                look.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote()
                for node in nodes
            ]
        )
        usable = sum(
            int(node["Resources"]["GPU"]) for node, has in zip(nodes, found, strict=True) if has
        )
        if usable < claimed:
            note = f"the Ray cluster claims {claimed} GPUs; {usable} of them have a driver"
            self.notes = [*(n for n in self.notes if n != note), note]
        return usable

    def share(self) -> Cluster:
        """This cluster, for one more simulation that will close it."""
        with Cluster.lock:
            self.users += 1
        return self

    def revive(self) -> None:
        """Start it again if it is gone, as far as it was started here.

        Raises:
            ClusterError: it is gone, and somebody else's.
        """
        with Cluster.lock:
            if self._is_there():
                return
            # A joined one that is lost could be waited for, for ever.
            if not self.owned or (self.address and what_ended(private_ray.node())):
                raise ClusterError("the Ray cluster is gone")
            with private_ray.not_by_itself():  # should another thread ask something of it now
                self._stop()
                try:
                    self._start()
                except ConfigError:
                    raise ClusterError(f"nothing answers at {self.address} any more") from None

    def _is_there(self) -> bool:
        if what_ended(private_ray.node()):
            return False
        try:
            ray.cluster_resources()
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, OSError):
            return False
        return True

    def close(self) -> None:
        """One user less; the last one shuts down what was started here."""
        with Cluster.lock:
            self.users -= 1
            if self.users == 0 and self.owned and Cluster.running is self:
                self._stop()


@atexit.register  # after Ray's own, so it comes before that
def _leave_nothing() -> None:
    """The program ends with simulations that nobody has closed."""
    if Cluster.running:
        Cluster.running._stop()


def _check_we_are_let_in(address: str) -> None:
    """Look whether a Ray cluster answers at the address, and to us; Ray itself takes its time.

    Raises:
        ConfigError: none does.
    """
    auto = address == "auto"
    wanted = os.environ.get("RAY_ADDRESS", address) if auto else address
    where = f"RAY_ADDRESS {wanted!r}" if auto and wanted != address else f"address {address!r}"
    if wanted.startswith("ray://"):
        _check_somebody_listens(where, wanted.removeprefix("ray://"))
        return
    try:
        found = private_ray.address_of(wanted)
    except ValueError as error:
        raise _nobody(where, str(error)) from None
    if found is None:
        raise _nobody(where, "none was started on this machine, and RAY_ADDRESS is not set")
    _check_somebody_listens(where, found)
    if not private_ray.admits(found, auto):
        how = "asks for a token"
        if os.environ.get("RAY_AUTH_MODE") == "token":
            how = "asks for another token"
        raise ConfigError(
            f"{where}: the Ray cluster {how}; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to what "
            "`ray get-auth-token` prints on its head node"
        )
    _check_we_are_part_of_it(where, found)


def _check_we_are_part_of_it(where: str, found: str) -> None:
    """A driver is served by a node on its own machine, which may have been started just now.

    Raises:
        ConfigError: there is none.
    """
    deadline = time.monotonic() + SECONDS_TO_BECOME_A_NODE
    while not private_ray.has_a_node_here(found):
        if time.monotonic() > deadline:
            raise ConfigError(
                f"{where}: no node of that Ray cluster runs on this machine (one of another user "
                "or in a container serves only there); start one with "
                f"`ray start --address={found}`, or start the run on a node, or by `ray job submit`"
            )
        time.sleep(0.5)


def _check_it_is_the_same(address: str | None) -> None:
    """Somebody has started or joined a Ray in this process: is it the one that is asked for?

    Raises:
        ConfigError: no.
    """
    if address is None or address == "auto":
        return
    here = ray.get_runtime_context().gcs_address
    with suppress(ValueError):
        if private_ray.address_of(address.removeprefix("ray://")) == here:
            return
    raise ConfigError(f"address {address!r}: this process uses a Ray at {here} already")


def _check_somebody_listens(where: str, host_and_port: str) -> None:
    """Ray itself would knock for ten minutes and more at an address where nobody is, or no Ray."""
    try:
        knock(host_and_port)
    except (OSError, ValueError, OverflowError) as error:
        raise _nobody(where, str(error)) from None


def _why(error: BaseException) -> str:
    """A line of what Ray says: its first, or what that announces, at the end of a traceback."""
    first, *others = str(error).strip().splitlines() or ["no answer"]
    return others[-1].strip() if others and first.endswith(":") else first


def _nobody(where: str, reason: str) -> ConfigError:
    return ConfigError(
        f"{where}: no Ray cluster answers ({reason}); start one with `ray start --head`, or leave "
        "--address out"
    )


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
