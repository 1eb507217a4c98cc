"""Ways to compute gradients, tried on real inputs: whether they are right, and how long they take.

A way is right if its numbers are those of the eager strategy. How much they may differ: not at all
but by what the order of sums does, which the eager strategy itself shows by its distance from
float64. And a replay must repeat its bits, and must follow its inputs when they change.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from p2pqg.models.judging.losses import Objective
from p2pqg.models.stacked.apart import TOLERANCE, apart
from p2pqg.models.stacked.captured import Args, Captured, Run
from p2pqg.models.stacked.cuda_graphs import CudaGraphs
from p2pqg.models.stacked.loop import untracked
from p2pqg.models.stacked.promises import keep_promises
from p2pqg.models.stacked.recording import Recorder, Rehearsal
from p2pqg.models.stacked.stacked import EVALUATED_AT_ONCE, Stacked
from p2pqg.models.stacked.ways import EAGER, WAYS

ALWAYS = {torch.float32: 1e-6, torch.float64: 1e-12}
"""Relative differences of rows that are always allowed; of a tensor in them: `apart.TOLERANCE`."""

SLACK = 4
"""Further differences that are allowed, in distances of the eager strategy from float64."""

SECONDS = 0.15
"""For timing one way."""

EXACT_CLIENTS = 2
"""Clients whose gradients are computed in float64 too."""


@dataclass(frozen=True)
class Job:
    """What to try, on what.

    Attributes:
        module, precision, device, strategy, objective: of `Stacked`; the strategy is the eager one.
        ways: names, see `ways.WAYS`.
        args: real ones; tests: [samples, ...] each, inputs of the passes of an evaluation.
        share: of the device's memory that may be taken.
        rehearse: without graphs.
        num_threads: of torch.
    """

    module: nn.Module
    precision: str
    device: str
    strategy: str
    objective: Objective
    ways: tuple[str, ...]
    args: Args
    tests: tuple[Tensor, ...]
    share: float = 1.0
    rehearse: bool = False
    num_threads: int = 1


class Tried(NamedTuple):
    """What came of a way.

    Attributes:
        way: of the job's, or "eager".
        ms: of all clients' gradients, in and out of the recording included.
        difference: from the eager strategy's numbers, relative; of that itself: from float64.
        part: clients in one recording; 0: all.
        size: bytes that the recording keeps.
        why: it cannot be used; "": it can.
        tensors: as `difference`, of the worst tensor instead of the rows, see `apart`.
    """

    way: str
    ms: float = 0.0
    difference: float = 0.0
    part: int = 0
    size: int = 0
    why: str = ""
    tensors: float = 0.0


class Allowed(NamedTuple):
    """How far two ways may be apart, relative.

    Attributes:
        rows: all of a row.
        tensors: each of its tensors, see `apart`.
    """

    rows: float
    tensors: float


def recorder_for(device: torch.device, rehearse: bool) -> Recorder:
    """What makes recordings there."""
    return Rehearsal() if rehearse else CudaGraphs(device)


def trials(job: Job) -> Iterator[Tried]:
    """Try them all, the eager strategy first.

    Raises:
        Exception: a way cannot be captured; the process is of no use any more.
    """
    device = torch.device(job.device)
    torch.set_num_threads(job.num_threads)
    if device.type == "cuda":
        keep_promises()
    stacked = Stacked(
        job.module,
        device=device,
        precision=job.precision,
        strategy=job.strategy,
        objective=job.objective,
    )
    x, buffers, inputs, targets = (t.to(device) for t in job.args)
    args = (x, buffers, *stacked.batch(inputs, targets))
    tests = [stacked.batch(test.to(device), targets[0])[0] for test in job.tests]
    eager = stacked.gradients_by(stacked.run)
    exact = Stacked(
        job.module, device=device, precision="float64", strategy="loop", objective=job.objective
    )
    few = first(args, EXACT_CLIENTS)
    g = eager(*few)[1].double()
    x, buffers, inputs, targets = (t.double() if t.is_floating_point() else t for t in few)
    right = exact.gradients(x, buffers, inputs, targets)[1]
    of_tensors = apart(g, right, stacked.layouts[1], stacked.dtype)
    errors = difference(g, right), max(of_tensors.values(), default=0.0)
    # Without numbers no way will be right.
    error, of_tensor = (one if math.isfinite(one) else 0.0 for one in errors)
    del exact, right, x, buffers, inputs, targets
    itself = Tried(
        EAGER, milliseconds(lambda: eager(*args), device), difference=error, tensors=of_tensor
    )
    yield itself
    for way in job.ways:
        yield _tried(way, job, stacked, args, tests, allowed(stacked.dtype, itself))
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _tried(
    way: str, job: Job, stacked: Stacked, args: Args, tests: list[Tensor], most: Allowed
) -> Tried:
    run, plain, device = WAYS[way].run(stacked), stacked.run, stacked.device
    assert not isinstance(plain, Captured)
    part, why = 0, ""
    if device.type == "cuda":
        part, why = _fitting(run, WAYS[way].lanes, args, stacked.scale, job)
    if why:
        return Tried(way, why=why)
    before = torch.cuda.memory_reserved() if device.type == "cuda" else 0
    captured = Captured(run, plain, recorder_for(device, job.rehearse), part)
    captured.capture_gradients(*args, scale=stacked.scale)
    captured.capture_logits(*_few(args), *tests)
    size = torch.cuda.memory_reserved() - before if device.type == "cuda" else 0
    replayed, eager = stacked.gradients_by(captured), stacked.gradients_by(plain)
    far, why = compared(replayed, eager, args, most, stacked)
    for test in () if why else tests:
        with untracked(run):
            answers = captured.logits(*_few(args), test), plain.logits(*_few(args), test)
        off = difference(*(a.flatten(1) for a in answers))
        why = why or ("" if off <= most.rows else f"its answers differ by {off:.1e}")
    if why:
        return Tried(way, 0.0, far, part, size, why)
    return Tried(way, milliseconds(lambda: replayed(*args), device), far, part, size)


def _few(args: Args) -> tuple[Tensor, Tensor]:
    """Rows and buffers of the clients that are evaluated at once."""
    return args[0][:EVALUATED_AT_ONCE], args[1][:EVALUATED_AT_ONCE]


def first(args: Args, clients: int) -> Args:
    """The arguments of a step of the first clients only."""
    x, buffers, inputs, targets = args
    return x[:clients], buffers[:clients], inputs[:clients], targets[:clients]


def compared(
    replayed: Callable[..., tuple[Tensor, ...]],
    eager: Callable[..., tuple[Tensor, ...]],
    args: Args,
    most: Allowed,
    stacked: Stacked,
) -> tuple[float, str]:
    """How far replayed results are from eager ones, and what is wrong with them; "": nothing.

    Args:
        replayed: gradients.
        eager: those of the same arguments that they should be.
        args: real ones; others are made of them, too.
        most: differences that are allowed.
        stacked: whose they are.
    """
    x, buffers, inputs, targets = args
    moved = inputs * 0.75 if inputs.is_floating_point() else inputs
    others = (x * 1.01, buffers, moved, targets.roll(1, 0))
    largest = 0.0
    for some in (args, others, args):
        found, wanted = replayed(*some), eager(*some)
        for mine, right, layout in zip(found, wanted, stacked.layouts, strict=True):
            far = difference(mine, right)
            largest = max(largest, far)
            if not far <= most.rows:
                return far, f"its numbers differ by {far:.1e}, allowed are {most.rows:.1e}"
            for name, off in apart(mine, right, layout, stacked.dtype).items():
                if not off <= most.tensors:
                    told = f"differ by {off:.1e} in {name}, allowed are {most.tensors:.1e}"
                    return far, f"its numbers {told}"
    again = replayed(*args)
    if not all(torch.equal(a, b) for a, b in zip(replayed(*args), again, strict=True)):
        return largest, "it does not repeat its bits"
    return largest, ""


def difference(found: Tensor, right: Tensor) -> float:
    """The largest over the rows of ||found - right|| / ||right||; NaN where there is one.

    What has one dimension is one row.
    """
    if not right.numel():
        return 0.0
    found, right = found.double(), right.double()
    if right.dim() == 1:
        found, right = found[None], right[None]
    apart = (found - right).norm(dim=1)
    return float((apart / right.norm(dim=1).clamp_min(1e-30)).max())


def allowed(dtype: torch.dtype, eager: Tried) -> Allowed:
    """How far another way may be from the eager one, of which it is known how far it is off."""
    return Allowed(
        max(ALWAYS[dtype], SLACK * eager.difference), max(TOLERANCE[dtype], SLACK * eager.tensors)
    )


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """The median of a few runs, after one that does not count."""

    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work()
    settle()
    seconds: list[float] = []
    began = time.perf_counter()
    while len(seconds) < 3 or (len(seconds) < 20 and time.perf_counter() - began < SECONDS):
        start = time.perf_counter()
        work()
        settle()
        seconds.append(time.perf_counter() - start)
        if time.perf_counter() - began > 2:  # slow as it is, it will not be chosen for a fifth
            break
    return 1e3 * sorted(seconds)[len(seconds) // 2]


def _fitting(run: Run, lanes: int, args: Args, scale: float, job: Job) -> tuple[int, str]:
    """Clients in one recording so that it fits into the memory, 0: all; or why none would."""
    k = len(args[0])
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    x, buffers, inputs, targets = first(args, 1) if lanes else args
    run.gradients(x, buffers, inputs, targets, scale=scale)
    torch.cuda.synchronize()
    needed = max(1, torch.cuda.max_memory_allocated() - before)
    free, total = torch.cuda.mem_get_info()
    room = 0.8 * min(free, job.share * total)
    each = needed if lanes else needed / k  # a stream keeps what a client needs to itself
    side_by_side = min(k, lanes) if lanes else k
    limit = k
    if room < each * min(side_by_side, limit):
        limit = int(room / each)
    if limit < 1:
        return 0, f"a client needs {each / 2**30:.1f} GiB, free are {room / 2**30:.1f}"
    return (0 if limit >= k else -(-k // -(-k // limit))), ""
