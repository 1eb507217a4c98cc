"""Captured steps as CUDA graphs.

The rules are those of PyTorch's notes on CUDA graphs: the step runs a few times on a side stream
first, where libraries make their handles and workspaces; it is captured on that same stream, in a
pool of memory of its own. Leaves that need a gradient are made inside the step: one that was made
on another stream would draw that stream into the capture, which then fails.
"""

from __future__ import annotations

import gc

import torch
from torch import Tensor

from p2pqg.base.lazy import without_collection
from p2pqg.models.stacked.recording import Recorder, Recording, Step

WARM_UPS = 3


class CudaGraphs(Recorder):
    """Recordings that share one pool of memory: none is replayed while another one is.

    Results are copied before the next replay, so what a graph leaves in the pool nobody misses.
    """

    what = "CUDA graph"

    def __init__(self, device: torch.device) -> None:
        gc.collect()  # what nobody needs leaves the memory to the recordings
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def record(self, step: Step, *inputs: Tensor) -> Recording:
        """See `Recorder.record`."""
        return _Graph(self, step, inputs)


class _Graph(Recording):
    def __init__(self, recorder: CudaGraphs, step: Step, inputs: tuple[Tensor, ...]) -> None:
        super().__init__(inputs)
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
