"""How gradients are computed on a card: the fastest way that is right, found out by trying.

Whoever finds out keeps it (`remembered.py`), so a run of the same kind begins at once, and sixteen
actors on one card try once. Before a way is used here, its numbers on this run's own inputs are
compared with eager ones. Whatever speaks against it, the run goes on eagerly, and says why.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from p2pqg.base.errors import ClusterError
from p2pqg.base.own_version import own_version
from p2pqg.models._capture import Capture
from p2pqg.models.stacked.captured import Args, Captured
from p2pqg.models.stacked.lanes import STREAMS
from p2pqg.models.stacked.probe import tried_elsewhere
from p2pqg.models.stacked.remembered import BEGAN, WORKED, Remembered
from p2pqg.models.stacked.stacked import EVALUATED_AT_ONCE, Stacked
from p2pqg.models.stacked.trying import (
    Job,
    Tried,
    allowed,
    compared,
    first,
    recorder_for,
)
from p2pqg.models.stacked.ways import EAGER, WAYS, name_of, named, ways_for

FORMAT = 2
"""Of what is remembered: another number where captured steps have changed."""


class Choice(NamedTuple):
    """What was chosen.

    Attributes:
        way: its name, for a checkpoint; "eager": nothing is captured.
        told: the same for people, with what it was chosen by.
    """

    way: str
    told: str


class Examples(NamedTuple):
    """This run's own inputs.

    Attributes:
        args: of a step of as many clients as are ever taken at once, made by `Stacked.batch`.
        rest: clients of a last, smaller step; 0: there is none.
        tests: [samples, ...] each, inputs of the passes of an evaluation, one of each length.
        vectorised: vmap can run the network.
        own_pace: steps may be of any number of clients, for these do not wait for each other.
    """

    args: Args
    rest: int = 0
    tests: tuple[Tensor, ...] = ()
    vectorised: bool = True
    own_pace: bool = False

    def numbers(self, most: int) -> list[int]:
        """Clients of the steps that are to be captured, in recordings of so many at most; 0: all.

        Where any number of clients may come, half of them and so on: less than half of the places
        of a recording are ever idle.
        """
        k = len(self.args[0])
        found = [k, self.rest] if self.rest else [k]
        n = min(k, most or k)
        while self.own_pace and n > 1:
            n = -(-n // 2)
            found.append(n)
        return found


def choose(
    stacked: Stacked,
    examples: Examples,
    capture: Capture,
    wish: str = "",
    attempt: Callable[[Job], list[Tried]] | None = None,
) -> Choice:
    """Choose a way for a network, and have it compute so from now on.

    Args:
        stacked: the network.
        examples: what it will compute with.
        capture: whether to.
        wish: what was chosen when the run began, if it goes on; "": nothing.
        attempt: tries the ways of a job; default: in a process of its own.

    Raises:
        ClusterError: what worked in another process failed in this one, which is of no use any
            more; the next one knows, and computes eagerly.
    """
    if why := stacked.never_alike:
        return eagerly(why)
    if wish == EAGER:
        return eagerly("as when the run began")
    before = named(wish)
    ways = ways_for(stacked, examples.args[2], examples.vectorised)
    job = _job(stacked, examples, capture, ways)
    memory = Remembered(_key(stacked, job, capture, examples.own_pace))
    with memory.alone():
        memory.read()
        try:
            if not memory.tried:
                memory.write(tried=(attempt or tried_elsewhere)(job))
        except ValueError as error:
            return eagerly(str(error), memory.notes)
        tried = {one.way: one for one in memory.tried}
        best, why = _best(tried, ways, before)
        if best is None:
            return eagerly(why, memory.notes)
        if memory.use == BEGAN:
            told = f"the last process that used it ended (delete {memory.path} to try again)"
            return eagerly(told, memory.notes)
        if memory.use not in ("", WORKED):
            return eagerly(memory.use, memory.notes)
        if memory.use == "":  # the first one goes alone: if it fails, the others know
            return _used(stacked, examples, capture, tried, best, memory)
    return _used(stacked, examples, capture, tried, best, memory)


def eagerly(why: str, notes: Sequence[str] = ()) -> Choice:
    """Nothing is captured, for this reason; `notes`: what else should be known."""
    return Choice(EAGER, "; ".join([f"gradients computed eagerly: {why}", *notes]))


def _best(
    tried: dict[str, Tried], ways: Sequence[str], before: tuple[str, int] | None
) -> tuple[Tried | None, str]:
    """The way that was chosen before, or the fastest one, if it is right; or why it is none."""
    if before and before[0] in tried and not tried[before[0]].why:
        best, part = tried[before[0]], before[1]
        fits = part and (best.part == 0 or part < best.part)
        return (best._replace(part=part) if fits else best), ""
    right = [tried[way] for way in ways if way in tried and not tried[way].why]
    if not right:
        whys = [f"{way}: {tried[way].why}" for way in ways if way in tried]
        return None, "; ".join(dict.fromkeys(whys)) or "nothing was tried"
    best = min(right, key=lambda one: one.ms)
    if best.ms >= tried[EAGER].ms:
        return None, f"{tried[EAGER].ms:.3g} ms, replayed {best.ms:.3g} ({best.way})"
    return best, ""


def _used(
    stacked: Stacked,
    examples: Examples,
    capture: Capture,
    tried: dict[str, Tried],
    best: Tried,
    memory: Remembered,
) -> Choice:
    """Capture it here, compare it with eager numbers, and put it in the strategy's place."""
    on_card = _on_card(stacked, capture)
    size = best.size * (2 if examples.own_pace else 1)  # with that of half as many, and so on
    if on_card and (free := torch.cuda.mem_get_info()[0]) < 1.1 * size:
        told = f"{best.way} needs {size / 2**30:.1f} GiB, free are {free / 2**30:.1f}"
        return eagerly(told, memory.notes)
    plain, eager = stacked.run, tried[EAGER]
    assert not isinstance(plain, Captured)
    alone = memory.use == ""
    if alone:
        memory.write(use=BEGAN)
    recorder = recorder_for(stacked.device, capture.mode == "rehearse")
    run = WAYS[best.way].run(stacked)
    captured = Captured(run, plain, recorder, best.part)
    x, buffers, _, _ = examples.args
    try:
        steps = [first(examples.args, n) for n in examples.numbers(best.part)]
        for step in steps:
            captured.capture_gradients(*step, scale=stacked.scale)
        few = slice(EVALUATED_AT_ONCE)
        captured.capture_logits(x[few], buffers[few], *examples.tests)
        replayed, own = stacked.gradients_by(captured), stacked.gradients_by(run)
        most = allowed(stacked.dtype, eager)
        wrongs = (compared(replayed, own, step, most, stacked)[1] for step in steps)
        wrong = next(filter(None, wrongs), "")
    except Exception as error:
        told = f"a captured step failed ({type(error).__name__}: {str(error).strip()[:200]})"
        memory.write(use=told)
        if not on_card:
            return eagerly(told, memory.notes)
        raise ClusterError(f"{told}; a new process computes eagerly") from error
    if wrong:
        memory.write(use=wrong)
        return eagerly(wrong, memory.notes)
    if alone:
        memory.write(use=WORKED)
    stacked.use(captured)
    name = name_of(best.way, best.part)
    told = f"gradients replayed from a {recorder.what} of {name.removeprefix('captured ')}"
    times = f"{best.ms:.3g} ms when tried, eagerly {eager.ms:.3g}"
    return Choice(name, "; ".join([f"{told}, {times}", *memory.notes]))


def _on_card(stacked: Stacked, capture: Capture) -> bool:
    """Whether recordings are graphs of a card."""
    return stacked.device.type == "cuda" and capture.mode != "rehearse"


def _job(stacked: Stacked, examples: Examples, capture: Capture, ways: tuple[str, ...]) -> Job:
    return Job(
        module=stacked.template,
        precision=stacked.precision,
        device=str(stacked.device),
        strategy=stacked.strategy,
        objective=stacked.objective,
        ways=ways,
        args=examples.args,
        tests=examples.tests,
        share=capture.share,
        rehearse=capture.mode == "rehearse",
        num_threads=torch.get_num_threads(),
    )


def _key(stacked: Stacked, job: Job, capture: Capture, own_pace: bool) -> dict[str, object]:
    """All that the answer depends on."""
    on_card = stacked.device.type == "cuda"
    named_tensors = [(n, str(p.shape), p.requires_grad) for n, p in job.module.named_parameters()]
    model = f"{job.module}{named_tensors}{job.objective.entry.name}{job.objective.params}"
    return {
        "format": FORMAT,
        "p2pqg": own_version(),
        "model": hashlib.blake2b(model.encode(), digest_size=12).hexdigest(),
        "session": capture.session,
        "shapes": [list(t.shape) for t in job.args],
        "tests": [list(test.shape) for test in job.tests],
        "precision": job.precision,
        "strategy": job.strategy,
        "own_pace": own_pace,
        "ways": list(job.ways),
        "streams": STREAMS,
        "share": job.share,
        "rehearse": job.rehearse,
        "card": torch.cuda.get_device_name(stacked.device) if on_card else platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if on_card else None,
        "cudnn": torch.backends.cudnn.version() if on_card else None,
    }
