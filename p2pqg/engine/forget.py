"""Let a generator that waits forget what it will not read again.

`half` in `x = yield gossip(half)` lives in the generator's frame until the round is over, as large
as a model, though nobody reads it again. Which variables these are its bytecode says; where it is
not as simple as that of a round usually is (handlers of errors, code of an unknown Python), nothing
is forgotten: that costs memory and nothing else. If it were ever wrong, the round would stumble
over None, not compute something else.
"""

from __future__ import annotations

import ctypes
import dis
import sys
from functools import lru_cache
from types import CodeType, FrameType, GeneratorType
from typing import Any

READ_BY_US = (3, 10), (3, 14)
"""Versions of Python from the one to before the other: frames of 3.14 keep old values, too."""

ENDS = {"RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE"}
JUMPS = {"JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT", "JUMP_ABSOLUTE"}
"""Instructions after which the next one is not reached."""


def forget(generator: GeneratorType[Any, Any, Any]) -> None:
    """Set what it will not read again to None; of those that it has handed over to, too."""
    waiting: Any = generator
    while isinstance(waiting, GeneratorType) and waiting.gi_frame is not None:
        frame = waiting.gi_frame
        if names := _dead(frame.f_code, frame.f_lasti):
            _clear(frame, names)
        waiting = waiting.gi_yieldfrom


def _clear(frame: FrameType, names: frozenset[str]) -> None:
    variables = frame.f_locals
    for name in names.intersection(variables):
        variables[name] = None
    if sys.version_info < (3, 13):  # before, they are a copy
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
        variables.clear()  # else it would hold what is forgotten later


@lru_cache(maxsize=1024)
def _dead(code: CodeType, at: int) -> frozenset[str]:
    """The variables of a function that are not read after the instruction at an offset."""
    least, below = READ_BY_US
    if not least <= sys.version_info[:2] < below:
        return frozenset()
    steps = list(dis.get_instructions(code))
    number = {step.offset: i for i, step in enumerate(steps)}
    after = [_after(steps, i, number) for i in range(len(steps))]
    if not _is_simple(steps, after):
        return frozenset()
    needed = [frozenset[str]()] * len(steps)  # before each instruction
    changed = True
    while changed:
        changed = False
        for i in reversed(range(len(steps))):
            reads, writes = _touched(steps[i])
            live = frozenset[str]().union(*(needed[j] for j in after[i])) - writes | reads
            changed |= live != needed[i]
            needed[i] = live
    live = frozenset[str]().union(*(needed[j] for j in after[number[at]]))
    return frozenset(code.co_varnames) - live - {*code.co_cellvars, *code.co_freevars}


def _after(steps: list[dis.Instruction], i: int, number: dict[int, int]) -> list[int]:
    """What may be executed after an instruction."""
    step = steps[i]
    jumps = step.opcode in dis.hasjrel or step.opcode in dis.hasjabs
    found = [number[step.argval]] if jumps else []
    ends = step.opname in ENDS or step.opname in JUMPS or i + 1 == len(steps)
    return found if ends else [*found, i + 1]


def _is_simple(steps: list[dis.Instruction], after: list[list[int]]) -> bool:
    """Whether errors are not handled: the rest is reached by going on and jumping."""
    if any(step.opname.startswith("SETUP_") for step in steps):
        return False
    reached, new = {0}, [0]
    while new:
        found = {j for i in new for j in after[i]} - reached
        reached |= found
        new = list(found)
    others = [i for i in range(len(steps)) if i not in reached]
    return not any("FAST" in steps[i].opname or steps[i].opname in JUMPS for i in others)


def _touched(step: dis.Instruction) -> tuple[frozenset[str], frozenset[str]]:
    """The variables that an instruction reads and then writes; where in doubt, it reads."""
    if "FAST" not in step.opname:
        return frozenset(), frozenset()
    names = (step.argval,) if isinstance(step.argval, str) else tuple(step.argval)
    if step.opname == "STORE_FAST_LOAD_FAST":
        return frozenset(names[1:]) - {names[0]}, frozenset(names[:1])
    if step.opname in ("STORE_FAST", "STORE_FAST_STORE_FAST"):
        return frozenset(), frozenset(names)
    return frozenset(names), frozenset()
