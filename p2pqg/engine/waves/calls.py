"""One step of clients that do not wait, and what it asks of the network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pqg.algorithms.asynchronous import Arrived, Meet, OwnPace, Push
from p2pqg.algorithms.effects import Parameter
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.lazy import torch
from p2pqg.base.seeding import rng
from p2pqg.engine.call import LOOKS, Call, guarded, watched
from p2pqg.engine.rule import Rule
from p2pqg.engine.waves.mail import Delivered


def pace_of(rule: Rule) -> OwnPace:
    """What is special about an algorithm whose clients do not wait."""
    pace = rule.algorithm.traits["asynchronous"]
    assert isinstance(pace, OwnPace)
    return pace


def step(
    rule: Rule,
    state: Any,
    grad: Callable[..., torch.Tensor],
    params: Any,
    clients: np.ndarray,
    steps: np.ndarray,
    elapsed: torch.Tensor,
) -> Call:
    """A step of some clients that begins.

    Args:
        rule: the algorithm.
        state: rows of these clients.
        grad: see `Grad`; rows of these clients.
        params: of the algorithm, with the step size of now.
        clients: int64 [rows], who they are.
        steps: int64 [rows], steps that each has done.
        elapsed: see `OwnPace`.
    """
    traits, more = rule.algorithm.traits, list[Any]()

    def draw(purpose: str, size: int) -> torch.Tensor:
        keys = zip(clients.tolist(), steps.tolist(), strict=True)
        rows = [rng(rule.seed, purpose, client, step).random(size) for client, step in keys]
        return torch.from_numpy(np.stack(rows) if rows else np.empty((0, size)))

    if traits["draws"]:
        more.append(draw)
    if traits["shapes"](params):
        row = [("x", (rule.model(state).shape[1],))]  # nobody said what a row is made of
        more.append(Parameter.in_order(rule.shapes or row))
    if pace_of(rule).elapsed:
        more.append(elapsed)
    grad, watch = watched(rule.algorithm, grad, int(steps.min(initial=LOOKS)))
    own = guarded(rule.algorithm, rule.algorithm.build, state, grad, params, *more)
    return Call.of(rule.algorithm, own, len(clients), watch, state)


def met(rule: Rule, state: Any, params: Any, elapsed: torch.Tensor) -> Call:
    """What clients do that are met while they compute; see `OwnPace.met`."""
    pace = pace_of(rule)
    assert pace.met is not None
    more = [elapsed] if pace.elapsed else []
    own = guarded(rule.algorithm, pace.met, state, params, *more)
    return Call.of(rule.algorithm, own, len(elapsed))


@dataclass(frozen=True)
class Asks:
    """What a step asks of the network.

    Attributes:
        kind: "meet" or "push".
        to, patience: of `push`; keep: of `arrived`, None: what comes is not read.
        message_bytes: of one message.
    """

    kind: str
    to: str = "all"
    keep: str | None = "all"
    message_bytes: float = 0.0
    patience: int = 1

    @classmethod
    def of(cls, rule: Rule, num_params: int, dtype: torch.dtype) -> Asks:
        """Play one step on zero rows: the same code asks the same, for free.

        Raises:
            AlgorithmError: it neither meets nor pushes, or does it in another order.
        """
        state, nobody = rule.start(torch.empty(0, num_params, dtype=dtype)), np.empty(0, np.int64)
        elapsed = torch.empty(0, 1, dtype=dtype)
        call = step(rule, state, torch.zeros_like, rule.params, nobody, nobody, elapsed)
        asked, reply = list[Any](), None
        try:
            while True:
                asked.append(call.send(reply))
                reply = _echo(asked)
        except StopIteration:
            pass
        match asked:
            case [Meet(tensors=tensors)]:
                return cls("meet", message_bytes=_row_bytes(tensors))
            case [Push(tensors=tensors) as push]:
                return cls("push", push.to, None, _row_bytes(tensors), push.patience)
            case [Push(tensors=tensors) as push, Arrived(keep=keep)]:
                return cls("push", push.to, keep, _row_bytes(tensors), push.patience)
        got = ", then ".join(type(effect).__name__.lower() for effect in asked)
        raise AlgorithmError(
            f"{rule.algorithm.name}: a step meets once, or it pushes and then asks what has "
            f"arrived; this one asks for {got}"
        )


def _echo(asked: list[Any]) -> Any:
    """What a block of no clients is answered."""
    match asked[-1]:
        case Meet(tensors=tensors):
            return tensors[0] if len(tensors) == 1 else tensors
        case Push(tensors=tensors):
            return tensors[0].new_ones(0, 1)
    sent = next((one.tensors for one in asked if isinstance(one, Push)), ())
    return Delivered.none(sent)


def _row_bytes(tensors: tuple[torch.Tensor, ...]) -> float:
    return float(sum(math.prod(t.shape[1:]) * t.element_size() for t in tensors))
