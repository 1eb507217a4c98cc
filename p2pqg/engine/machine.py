"""This machine: the cores and GPUs that a process may use, by the system. Without Ray."""

from __future__ import annotations

import os

from p2pqg.base.memory import available_memory
from p2pqg.engine.cards import cards
from p2pqg.engine.placement import Machine

NVIDIA_DRIVER = ("/dev/nvidiactl", "/dev/dxg")
"""What the driver of NVIDIA GPUs shows of itself, on Linux and inside Windows."""

GPU_DRIVER = (*NVIDIA_DRIVER, "/dev/kfd")
"""What the drivers of NVIDIA's and of AMD's GPUs show of themselves."""


def cores() -> list[int]:
    """Numbers of the cores that this process may use; all, where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def this_machine(device: str) -> Machine:
    """Cores this process may use, the GPUs that CUDA sees, and the memory that is free.

    A run on device cpu counts no GPUs, and nor does one where there is no driver for them.
    """
    num_gpus = 0
    if device != "cpu" and any(map(os.path.exists, NVIDIA_DRIVER)):
        num_gpus = cards().number
    return Machine(len(cores()), num_gpus, available_memory())


def has_a_gpu_driver() -> bool:
    """Whether there is one, of whatever make."""
    return any(map(os.path.exists, GPU_DRIVER))
