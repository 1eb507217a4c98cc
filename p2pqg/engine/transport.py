"""Ray's direct transport, which is alpha: rows from actor to actor without the object store.

The object store holds every parcel as an object of its own, in main memory. Tensors that travel
directly stay where they are until the receiver fetches them: on one GPU it reads the sender's
memory ("cuda_ipc"); on CPUs gloo carries them, slower than the object store does: to be tested.

A call hands out one such object, no more: all parcels of a block, of which receivers take theirs.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import ray
from ray._private import worker as ray_worker

from p2pqg.engine.placement import GLOO
from p2pqg.errors import ClusterError


def connect(actors: list[Any], transport: str) -> Any:
    """Let actors reach each other, once all have started; returns their group if they need one.

    Raises:
        ClusterError: they do not.
    """
    from ray.experimental.collective import create_collective_group  # brings torch

    # Of dead actors we tell ourselves, in a line.
    logging.getLogger("ray.experimental.rdt").setLevel(logging.CRITICAL)
    # What was on its way in an earlier cluster would end the thread that watches transfers.
    with contextlib.suppress(AttributeError):  # another version, which perhaps has no such thread
        ray_worker.global_worker.rdt_manager._unmonitored_transfers.queue.clear()
    try:
        return create_collective_group(actors, GLOO) if transport == GLOO else None
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        raise ClusterError(f"the actors do not reach each other by {transport}: {first}") from None


def disconnect(group: Any) -> None:
    """The group's actors are about to end. When one has died, Ray has done it already."""
    from ray.experimental.collective import destroy_collective_group

    with contextlib.suppress(ValueError, ray.exceptions.RayError):
        destroy_collective_group(group)
