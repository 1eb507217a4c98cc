"""What is torch's for a whole process: that of a block while it computes, then its host's again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import Lock

import torch

from p2pqg.base.forked import computes, threads
from p2pqg.models.stacked.promises import promised

_changing = Lock()
_found: list[int] = []
"""For each one inside, how many threads there were before the first of them came."""


@contextmanager
def with_threads(wanted: int) -> Iterator[None]:
    """As `undisturbed`, and inside, torch computes with that many threads; afterwards as before.

    So neither a script nor another simulation changes by how many a block computes, on which the
    rounding of its sums depends, nor does a block change it for them, however they come and go.

    Args:
        wanted: >= 1; one in a process that was forked from one that computes.
    """
    computes()
    with _changing:
        here = torch.get_num_threads()  # asked for, it is this thread's own: nobody else changes it
        _found.append(_found[0] if _found else here)  # a new thread has the last that was set
        torch.set_num_threads(threads(wanted))
    try:
        with undisturbed():
            yield
    finally:
        with _changing:
            torch.set_num_threads(threads(_found.pop()))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Inside, torch is as in a process of its own, whatever the script around it has chosen.

    It keeps its promises, knows of gradients (within `torch.no_grad()`, too), and makes tensors on
    the CPU. What is computed here is so what actors compute.
    """
    inference = torch.is_inference_mode_enabled()
    learning = torch.inference_mode(False) if inference else torch.enable_grad()
    elsewhere = torch.empty(0).device.type != "cpu"  # PyTorch 2.4 does not tell of `with device`
    here = torch.device("cpu") if elsewhere else nullcontext()  # each call of torch is asked then
    with promised(), learning, here:
        yield
