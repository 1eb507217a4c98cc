"""What GPUs there are, without torch: that takes seconds to import, and a context on each card.

NVIDIA's management library (NVML, comes with the driver) tells in milliseconds. Where it cannot
tell what CUDA will see, torch is asked.
"""

from __future__ import annotations

import ctypes
import os
import runpy
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from p2pqg.base.lazy import torch

LIBRARY = "libnvidia-ml.so.1"

AMPERE = 8
"""Major number of the compute capability from which on cards multiply in bfloat16 themselves."""


class Cards(NamedTuple):
    """The cards that CUDA sees in this process.

    Attributes:
        number: how many.
        memory: bytes of all together; where only some of unequal ones are visible, at least so
            many: which ones, the two libraries number differently.
        oldest: major number of the lowest compute capability of this machine's; None: not known.
    """

    number: int
    memory: int
    oldest: int | None = None

    @property
    def slow_in_bf16(self) -> bool:
        """Whether one of them is known to have no bfloat16 of its own; torch then does without."""
        return self.oldest is not None and self.oldest < AMPERE


class _Memory(ctypes.Structure):
    """nvmlMemory_t."""

    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def cards() -> Cards:
    """The cards of this machine, by NVML, or else by torch."""
    with suppress(OSError, AttributeError):  # no library, or an old one
        if (found := told_by(ctypes.CDLL(LIBRARY))) is not None:
            return found
    seen = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    oldest = min((one.major for one in seen), default=None)
    return Cards(len(seen), sum(one.total_memory for one in seen), oldest)


def told_by(nvml: Any) -> Cards | None:
    """What NVML tells; None: something is as only CUDA itself can tell.

    Raises:
        AttributeError: it is too old.
    """
    number = ctypes.c_uint()
    if nvml.nvmlInit_v2():
        return None
    try:
        if nvml.nvmlDeviceGetCount_v2(ctypes.byref(number)):
            return None
        sizes = [_size(nvml, index) for index in range(number.value)]
        ages = [_age(nvml, index) for index in range(number.value)]
    finally:
        nvml.nvmlShutdown()
    visible = visible_of(len(sizes), os.environ.get("CUDA_VISIBLE_DEVICES"))
    if visible is None or None in sizes:
        return None
    known = [size for size in sizes if size is not None]
    memory = sum(known) if visible == len(known) else visible * min(known, default=0)
    return Cards(visible, memory, min((age for age in ages if age is not None), default=None))


def _size(nvml: Any, index: int) -> int | None:
    """Bytes of a card; None: it cannot be asked, or is cut into several (MIG)."""
    card, memory = ctypes.c_void_p(), _Memory()
    mode, later = ctypes.c_uint(), ctypes.c_uint()
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(card)):
        return None
    if not nvml.nvmlDeviceGetMigMode(card, ctypes.byref(mode), ctypes.byref(later)) and mode.value:
        return None
    failed = nvml.nvmlDeviceGetMemoryInfo(card, ctypes.byref(memory))
    return None if failed else int(memory.total)


def _age(nvml: Any, index: int) -> int | None:
    """Major number of a card's compute capability; None: it cannot be asked."""
    card, major, minor = ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(card)):
        return None
    wanted = ctypes.byref(major), ctypes.byref(minor)
    return None if nvml.nvmlDeviceGetCudaComputeCapability(card, *wanted) else major.value


def visible_of(count: int, said: str | None) -> int | None:
    """How many of the cards CUDA_VISIBLE_DEVICES shows; None: it names them otherwise.

    CUDA takes numbers up to the first one that is none of a card's.

    >>> visible_of(4, None), visible_of(4, "2,0"), visible_of(4, "0,7,1"), visible_of(4, "")
    (4, 2, 1, 0)
    >>> visible_of(4, "-1"), visible_of(4, "GPU-8932f937"), visible_of(4, "1,1")
    (0, None, None)
    """
    if said is None:
        return count
    words = [word.strip() for word in said.split(",")] if said.strip() else []
    if not all(word.removeprefix("-").isdigit() for word in words):
        return None
    taken: list[int] = []
    for number in map(int, words):
        if not 0 <= number < count:
            break
        taken.append(number)
    return len(taken) if len(set(taken)) == len(taken) else None


def torch_knows_cuda() -> bool:
    """Whether the installed torch was built for CUDA."""
    with suppress(Exception):  # whatever another version of torch keeps in that file
        spec = find_spec("torch")
        assert spec is not None
        assert spec.origin is not None
        return runpy.run_path(str(Path(spec.origin).with_name("version.py")))["cuda"] is not None
    return torch.version.cuda is not None
