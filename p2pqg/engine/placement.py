"""How clients are packed into actors: what `clients_per_actor: auto` chooses, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from p2pqg.base.errors import ClusterError, ConfigError
from p2pqg.engine.routes import even_bounds

FLOPS_PER_CORE = 2e10
"""Float32 operations a second that one core does in small layers; a rough figure is enough."""

SHORT_ROUND = 0.02
"""Seconds of one core. Below this, carrying rows between actors costs more than a second core
gives."""

GLOO, CUDA_IPC = "gloo", "cuda_ipc"
"""What Ray's direct transport can carry rows with: between CPUs, and within one GPU."""


@dataclass(frozen=True)
class Machine:
    """What the actors may use: cores and GPUs, of this machine or of the whole Ray cluster."""

    num_cpus: int
    num_gpus: int = 0
    memory: int | None = None
    """Bytes for models and samples, where known: of main memory, or of the GPUs."""


@dataclass(frozen=True)
class Placement:
    """Which clients live together, and what each actor gets.

    Attributes:
        bounds: actor b hosts clients bounds[b] .. bounds[b + 1] - 1.
        gpus_per_actor: of each, perhaps a fraction of one.
        num_threads: of torch in each.
        reason: one line for the log.
        transport: what carries rows directly from actor to actor; None: the object store does.
    """

    bounds: tuple[int, ...]
    gpus_per_actor: float
    num_threads: int
    reason: str
    transport: str | None = None

    @property
    def num_actors(self) -> int:
        return len(self.bounds) - 1


def place(
    num_clients: int,
    clients_per_actor: int | str,
    machine: Machine,
    flops_per_client: float,
    device: str,
    dense: bool = False,
    direct: bool = False,
) -> Placement:
    """Pack clients into actors.

    Args:
        num_clients: all of them.
        clients_per_actor: a number, or "auto": what finishes a round soonest.
        machine: what there is.
        flops_per_client: operations of one gradient of one client.
        device: "cpu" or "cuda".
        dense: the clients' models are one stack of matrix products, which a single process spreads
            over all cores by itself, with no rows to carry.
        direct: rows should not go through the object store, where Ray has another way.

    Raises:
        ConfigError: clients_per_actor is not in 1 .. num_clients.
    """
    slots = machine.num_gpus if device == "cuda" else machine.num_cpus
    what = "GPU" if device == "cuda" else "core"
    seconds = num_clients * flops_per_client / FLOPS_PER_CORE
    short = device == "cpu" and seconds < SHORT_ROUND
    if isinstance(clients_per_actor, str):  # auto
        alone = short or (dense and device == "cpu")
        num_actors = 1 if alone else max(1, min(num_clients, slots))
        if alone and not short:
            why = "dense models are one stack, for all cores"
        elif short:
            why = f"a round takes about {1e3 * seconds:.1f} ms of one core"
        elif num_actors == num_clients:
            why = f"every client has a {what} of its own"
        else:
            why = f"one per {what}"
    else:
        if not 1 <= clients_per_actor <= num_clients:
            raise ConfigError(
                f"clients_per_actor must be auto or in 1 .. {num_clients}, got {clients_per_actor}"
            )
        num_actors = math.ceil(num_clients / clients_per_actor)
        why = "as set"
    actors = "1 actor hosts" if num_actors == 1 else f"{num_actors} actors host"
    override = "; --clients-per-actor N sets it" if clients_per_actor == "auto" else ""
    transport, way = _way(device, machine.num_gpus, num_actors) if direct else (None, "")
    return Placement(
        bounds=even_bounds(num_clients, num_actors),
        gpus_per_actor=_share(machine.num_gpus, num_actors) if device == "cuda" else 0.0,
        # In small products threads spend more time waiting for each other than they save.
        num_threads=1 if short else max(1, machine.num_cpus // num_actors),
        reason=f"{actors} {num_clients} clients: {why}{override}{way}",
        transport=transport,
    )


def _way(device: str, num_gpus: int, num_actors: int) -> tuple[str | None, str]:
    """What carries rows from actor to actor without the object store, if anything; a remark."""
    if num_actors == 1:
        return None, "; no rows travel, so transport direct does nothing"
    if device == "cpu":
        return GLOO, "; rows go by gloo"
    if num_gpus == 1:
        return CUDA_IPC, "; rows stay on the GPU"
    # An actor cannot read the memory of a GPU that it was not given, and NCCL wants one actor each.
    return None, f"; {num_gpus} GPUs: rows go through the object store, direct transport needs one"


def _share(slots: int, num_actors: int) -> float:
    """GPUs of each actor, mostly a fraction: an actor has parts of one GPU, never of two.

    So as many actors share each GPU as there must be on the fullest one.
    """
    if not slots:
        return 0.0
    # Ray counts in ten-thousandths of a GPU; rounded up, the last actor would not fit.
    return math.floor(1e4 / math.ceil(num_actors / slots)) / 1e4


def on_what_is_left(placement: Placement, machine: Machine) -> Placement:
    """The same blocks on a machine or cluster that has lost some of what it had.

    Raises:
        ClusterError: it has lost all its GPUs.
    """
    n = placement.num_actors
    if placement.gpus_per_actor and not machine.num_gpus:
        raise ClusterError("no GPU is left; a run goes on with `p2pqg resume --device cpu`")
    gpus = _share(machine.num_gpus, n) if placement.gpus_per_actor else 0.0
    return replace(placement, gpus_per_actor=gpus)


def check_memory(num_clients: int, batch_size: int, bytes_needed: int, machine: Machine) -> None:
    """Refuse a run whose states, gradients, batches and samples do not fit, before it starts.

    Raises:
        ConfigError: the machine has less.
    """
    if machine.memory is not None and bytes_needed > machine.memory:
        fewer = int(num_clients * 0.8 * machine.memory / bytes_needed)
        raise ConfigError(
            f"{num_clients:,} clients of this model need about {bytes_needed / 2**30:,.0f} GiB; "
            f"there are {machine.memory / 2**30:.0f}. Use --clients {max(fewer, 1)} or fewer, a "
            f"smaller --batch-size than {batch_size:,}, or a smaller model."
        )
