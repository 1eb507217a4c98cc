"""Captured steps as CUDA graphs.

The rules are those of PyTorch's notes on CUDA graphs: the step runs a few times on a side stream
first, where libraries make their handles and workspaces; it is captured on that same stream, in a
pool of memory of its own. Leaves that need a gradient are made inside the step: one that was made
on another stream would draw that stream into the capture, which then fails.

A graph keeps the address of the workspace that cuBLAS has for a stream, and where PyTorch forgets
one graph it drops the workspaces of the stream that it was captured on, also from under others
(github.com/pytorch/pytorch/issues/193402). So graphs that are forgotten one without the other are
not captured on one stream, nor use it.
"""

from __future__ import annotations

import gc
import threading
import weakref

import torch
from torch import Tensor

from p2pqg.base.lazy import without_collection
from p2pqg.models.stacked.lanes import streams_of
from p2pqg.models.stacked.recording import Recorder, Recording, Step

WARM_UPS = 3

TRIES = 64
"""PyTorch hands out its 32 streams in turns."""

_capturing = threading.Lock()
"""A synchronisation, as in the preparation of another capture, would end one under way."""

_alive: weakref.WeakSet[CudaGraphs] = weakref.WeakSet()


class CudaGraphs(Recorder):
    """Recordings that share one pool of memory: none is replayed while another one is.

    Results are copied before the next replay, so what a graph leaves in the pool nobody misses.
    """

    what = "CUDA graph"

    def __init__(self, device: torch.device) -> None:
        gc.collect()  # what nobody needs leaves the memory to the recordings
        self.stream = own_stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        _alive.add(self)

    def record(self, step: Step, *inputs: Tensor) -> Recording:
        """See `Recorder.record`."""
        with _capturing:
            return _Graph(self, step, inputs)


def own_stream(device: torch.device) -> torch.cuda.Stream:
    """One that neither the lanes use nor other recorders; where there is none, any."""
    taken = [*streams_of(device), *(recorder.stream for recorder in _alive)]
    for _ in range(TRIES):
        stream = torch.cuda.Stream(device)
        if stream not in taken:
            break
    return stream


class _Graph(Recording):
    def __init__(self, recorder: CudaGraphs, step: Step, inputs: tuple[Tensor, ...]) -> None:
        super().__init__(inputs)
        self._recorder = recorder  # whose stream is taken as long as there are graphs of it
        side, here = recorder.stream, torch.cuda.current_stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                step(*self.inputs)
        here.wait_stream(side)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        # Of other threads (Ray's) nothing is asked: "thread_local" lets them be. No garbage is
        # collected inside: a tensor or graph that is freed would end the capture.
        capture = torch.cuda.graph(
            self._graph, pool=recorder.pool, stream=side, capture_error_mode="thread_local"
        )
        with without_collection(), capture:
            self.outputs = step(*self.inputs)
        torch.cuda.synchronize()

    def _replay(self) -> None:
        self._graph.replay()
