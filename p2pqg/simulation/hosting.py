"""Where a simulation computes: machine or cluster, device, and which actor has which clients."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2pqg.base.errors import ConfigError
from p2pqg.engine.cards import cards, torch_knows_cuda
from p2pqg.engine.machine import this_machine
from p2pqg.engine.mps import mps_runs, of_mps
from p2pqg.engine.placement import Machine, Placement, check_memory, on_what_is_left, place
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot
from p2pqg.network import Network
from p2pqg.recipe.settings import RunConfig
from p2pqg.simulation.experiment import Experiment

if TYPE_CHECKING:  # brings torch, and Ray
    from p2pqg.engine.local import LocalEngine
    from p2pqg.engine.on_ray.cluster import Cluster
    from p2pqg.engine.on_ray.engine import RayEngine


@dataclass
class Hosting:
    """Where a simulation computes.

    Attributes:
        machine: what there was at the beginning, by which clients are packed.
        device: cpu or cuda.
        placement: which clients live in which actor.
        cluster: of Ray; None: everything is in this process.
        session: a name for this simulation and its forks, which no other one has.
        said: what a user should know of the settings, a line each.
    """

    machine: Machine
    device: str
    placement: Placement
    cluster: Cluster | None = None
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    said: tuple[str, ...] = ()

    @classmethod
    def of(cls, experiment: Experiment) -> Hosting:
        """What the settings ask for; Ray is started, or joined, once all else has been checked.

        Raises:
            ConfigError: there is no such device, or less memory than the models need.
        """
        config = experiment.config
        on_ray = config.engine == "ray"
        address = config.address if on_ray else None
        # Only a cluster that is joined knows what it has; all else is checked before Ray starts.
        cluster = _cluster(address) if address else None
        try:
            machine = cluster.machine() if cluster else this_machine(config.device)
            device = resolve_device(config.device, machine)
            placement = placed(experiment, machine, device)
            if on_ray and not cluster:
                cluster = _cluster(num_gpus=machine.num_gpus or None)
            said = (*of_precision(config.precision, device, address), *without_ray(config))
            return cls(machine, device, placement, cluster, said=said)
        except BaseException:
            if cluster:
                cluster.close()
            raise

    def placed(self, experiment: Experiment) -> Placement:
        """How the clients of an experiment that has more of them by now are packed."""
        return placed(experiment, self.machine, self.device)

    def engine(
        self, experiment: Experiment, rule: Rule, network: Network, snapshot: Snapshot | None
    ) -> RayEngine | LocalEngine:
        """Hosts that stand where the snapshot stands; None: at the start."""
        placement = self.placement
        hosts = experiment.hosts(placement, self.device, rule, network, self.session)
        if self.cluster is None:
            from p2pqg.engine.local import LocalEngine

            return LocalEngine(hosts, experiment.test, snapshot)
        from p2pqg.engine.on_ray.engine import RayEngine  # brings Ray

        return RayEngine(
            hosts,
            experiment.test,
            experiment.cost.num_params,
            placement.gpus_per_actor,
            snapshot,
            placement.transport,
        )

    def revive(self, experiment: Experiment) -> None:
        """Be ready for new actors, on what is left of the cluster."""
        assert self.cluster is not None
        self.cluster.revive()
        self.placement = on_what_is_left(self.placed(experiment), self.cluster.machine())

    @property
    def notes(self) -> list[str]:
        """What a user should know of where it computes, a line each."""
        return [*self.said, *(self.cluster.notes if self.cluster else [])]

    @property
    def sharing(self) -> str:
        """How actors share a card of this machine; "" if they do not, or it is not known."""
        share = self.placement.gpus_per_actor
        if not share or self.cluster is None or self.cluster.address:
            return ""
        return of_mps(min(round(1 / share), self.placement.num_actors), mps_runs())

    def share(self) -> Hosting:
        """This hosting for a fork; the cluster ends with the last who needs it."""
        return dataclasses.replace(self, cluster=self.cluster and self.cluster.share())

    def close(self) -> None:
        """Leave the cluster, and end it if it was started here and nobody needs it any more."""
        if self.cluster:
            self.cluster.close()


def _cluster(address: str | None = None, num_gpus: int | None = None) -> Cluster:
    from p2pqg.engine.on_ray.cluster import Cluster  # brings Ray

    return Cluster.at(address, num_gpus)


def placed(experiment: Experiment, machine: Machine, device: str) -> Placement:
    """Which clients live in which actor; always the same, whatever becomes of the machine.

    Raises:
        ConfigError: the models need more memory than there is.
    """
    config, n = experiment.config, experiment.num_clients
    packing: int | str = config.clients_per_actor
    alone = config.engine == "local"
    if packing == "auto" and alone:
        packing = n  # without actors there is nothing to spread
    if device == "cuda":  # how large the GPUs of a cluster are, nobody tells
        found = None if config.address and not alone else cards()
        memory = found and found.memory
        if found and alone:  # on one of them
            memory = found.memory // max(1, found.number)
        machine = dataclasses.replace(machine, memory=memory)
    smallest = n * experiment.cost.num_params  # floats; counting on needs torch
    if machine.memory and 400 * smallest + 4 * experiment.batch_bytes > machine.memory:
        check_memory(n, config.batch_size, experiment.memory_bytes(device), machine)
    flops = experiment.flops_per_client()
    direct = config.transport == "direct" and not alone
    if direct:
        from p2pqg.engine.on_ray.transport import check_available  # brings Ray

        check_available()
    return place(n, packing, machine, flops, device, experiment.is_dense, direct)


def of_precision(precision: str, device: str, address: str | None) -> tuple[str, ...]:
    """A line if a card of this machine has to do without what the precision asks for."""
    if precision != "bf16" or device != "cuda" or address or not cards().slow_in_bf16:
        return ()
    return (
        "precision bf16: a GPU here is older than NVIDIA's Ampere, so torch computes it slowly; "
        "fp16 and float32 are faster",
    )


def without_ray(config: RunConfig) -> Iterator[str]:
    """A line on each setting of Ray's that the engine makes no use of.

    They are no mistake: recipes that go to clusters are tried out without one.
    """
    if config.engine == "ray":
        return
    if config.address is not None:
        yield f"address {config.address} is ignored: engine local computes in this process"
    if config.transport == "direct":
        yield "transport direct is ignored: engine local has no actors to carry rows between"


def resolve_device(device: str, machine: Machine) -> str:
    """The device of a run: auto is cuda where the machine or cluster has a GPU, else cpu.

    Raises:
        ConfigError: cuda was asked for and there is none.
    """
    has_gpu = machine.num_gpus > 0 and torch_knows_cuda()
    if device == "cuda" and not has_gpu:
        raise ConfigError("device must be auto or cpu here, got cuda: no GPU is visible")
    return "cuda" if has_gpu and device != "cpu" else "cpu"
