"""Streams on which the kernels of several clients run side by side, where there is a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

STREAMS = 16
"""As many streams as were measured; PyTorch has no more than 32 to give."""

_streams: dict[torch.device, list[torch.cuda.Stream]] = {}
"""Of all lanes of this process: others stay for captures, see `cuda_graphs.py`."""

Lane = Callable[[int], AbstractContextManager[object]]
"""Client -> what its work is done inside."""


def streams_of(device: torch.device) -> list[torch.cuda.Stream]:
    """`STREAMS` streams, always the same."""
    if device not in _streams:
        _streams[device] = [torch.cuda.Stream(device) for _ in range(STREAMS)]
    return _streams[device]


class Lanes:
    """So many streams, taken in turns; none: all work is done where it is asked for."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    @contextmanager
    def forked(self, device: torch.device, clients: int) -> Iterator[Lane]:
        """Lanes that begin after all that was asked for, and have ended before what comes next.

        What outlives them must be made outside: memory belongs to the stream that asked for it.
        """
        number = min(self.number, clients) if device.type == "cuda" else 0
        if number < 2:
            yield lambda client: nullcontext()
            return
        streams, here = streams_of(device)[:number], torch.cuda.current_stream(device)
        for stream in streams:
            stream.wait_stream(here)
        try:
            yield lambda client: torch.cuda.stream(streams[client % number])
        finally:
            for stream in streams:
                here.wait_stream(stream)
