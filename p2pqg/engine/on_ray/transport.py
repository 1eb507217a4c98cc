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

from p2pqg.base.errors import ClusterError, ConfigError
from p2pqg.engine.on_ray.private_ray import has_direct_transport
from p2pqg.engine.placement import GLOO


def check_available() -> None:
    """Whether this Ray has a direct transport.

    Raises:
        ConfigError: it has none.
    """
    if not has_direct_transport():
        raise ConfigError(
            f"transport direct needs a newer Ray than {ray.__version__}; leave transport out, or "
            "pip install -U ray"
        )


def connect(actors: list[Any], transport: str) -> Any:
    """Let actors reach each other, once all have started; returns their group if they need one.

    Raises:
        ClusterError: they do not.
    """
    # Of dead actors we tell ourselves, in a line.
    logging.getLogger("ray.experimental.rdt").setLevel(logging.CRITICAL)
    if transport != GLOO:
        return None
    from ray.experimental.collective import create_collective_group  # brings torch

    try:
        return create_collective_group(actors, GLOO)
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        raise ClusterError(f"the actors do not reach each other by {transport}: {first}") from None


def disconnect(group: Any) -> None:
    """Forget the group of actors that have ended. When one had died, Ray did it already."""
    from ray.experimental.collective import destroy_collective_group

    with contextlib.suppress(ValueError, ray.exceptions.RayError):
        destroy_collective_group(group)
