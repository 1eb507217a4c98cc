"""One round of an algorithm under way: its requests are checked, its mistakes told with their line.

Anybody may write an algorithm; a mistake in it should not look like one of ours.
"""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from pathlib import Path
from traceback import walk_tb
from types import CodeType, GeneratorType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

from p2pqg.algorithms.asynchronous import Arrived, Meet, Push
from p2pqg.algorithms.effects import AllReduce, Effect, Exchange, Gossip, Neighbors
from p2pqg.base.draws import Watch
from p2pqg.base.errors import AlgorithmError, P2pqgError
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry
from p2pqg.engine.snapshot import leaves

ENGINE = Path(__file__).parent
TOGETHER, APART = (Gossip, Exchange, AllReduce, Neighbors), (Meet, Push, Arrived)
REQUESTS: dict[tuple[type, ...], str] = {
    TOGETHER: "gossip(...), exchange(...) or allreduce(...)",
    APART: "meet(...), push(...) or arrived()",
}
"""What a round asks for, and what a step of clients that do not wait."""
ON_NO_CLIENTS = "the block of no clients that the driver plays to know what will travel"

OR_EACH = ", or a tensor [clients]"
LOOKS = 3
"""First rounds in which a user's algorithm is looked at, whether it draws."""
NO_GRADIENT = (
    "computes no gradient, and so has no loss; every round computes one, and may gossip several "
    "times: x = yield gossip(x), and again"
)
CONTRACT = "what a round yields must not depend on values, only on its number and on the parameters"


class Ask(NamedTuple):
    """A request as every block must make it, and where in the algorithm's file it stands."""

    round: int
    kind: str
    place: str


@dataclass(eq=False)
class Call:
    """One round of an algorithm under way.

    Attributes:
        requests: what it asks of the network, checked; takes the replies, returns the next state.
        own: the generator that the algorithm itself wrote.
    """

    requests: Generator[Effect, Any, Any]
    own: GeneratorType[Any, Any, Any]

    @classmethod
    def of(
        cls,
        algorithm: Entry,
        own: Any,
        num_clients: int,
        watch: Watch | None = None,
        state: Any = None,
    ) -> Call:
        """A round that begins.

        Args:
            algorithm: whose round it is.
            own: what its function returned; must be a generator.
            num_clients: rows of every tensor that it may send.
            watch: sees whether it draws, see `watched`.
            state: that the round was given; None: what it returns is not looked at.

        Raises:
            AlgorithmError: it is none. While it runs: it raised something, sends something that
                cannot be sent, draws, or returns no next state. Errors of the gradient pass as they
                are.
        """
        if not isinstance(own, GeneratorType):
            raise AlgorithmError(
                f"{_first_line(algorithm)}: has no yield; a round asks the network, as in "
                "x = yield gossip(half)"
            )
        theirs = None if algorithm.is_ours else state
        return cls(_checked(algorithm, own, num_clients, watch, theirs), own)

    def send(self, reply: Any) -> Effect:
        """Answer a request (None at first); returns the next one.

        Raises:
            StopIteration: the round is over; its value is the next state.
        """
        return self.requests.send(reply)

    def ask(self, round: int, effect: Effect) -> Ask:
        """What it asks now, for comparing."""
        return Ask(round, type(effect).__name__.lower(), _line_of(self.own))


def _checked(
    algorithm: Entry,
    own: GeneratorType[Any, Any, Any],
    num_clients: int,
    watch: Watch | None,
    state: Any,
) -> Generator[Effect, Any, Any]:
    allowed = APART if algorithm.traits.get("asynchronous") else TOGETHER
    reply = None
    while True:
        try:
            with watch or nullcontext():
                effect = own.send(reply)
        except StopIteration as end:
            _check_draws_nothing(watch, algorithm)
            if problem := _wrong_state(end.value, state, algorithm, num_clients):
                raise AlgorithmError(f"{_first_line(algorithm)}: {problem}") from None
            return end.value
        except Exception as error:
            blame(error, algorithm)
            raise
        _check_draws_nothing(watch, algorithm)
        if wrong := _wrong(effect, num_clients, allowed):
            raise AlgorithmError(f"{_line_of(own)}: {wrong}")
        handed = [effect]
        del effect, reply  # as large as the models: not kept while the network works
        reply = yield handed.pop()


def watched(
    algorithm: Entry, grad: Callable[..., Any], round: int
) -> tuple[Callable[..., Any], Watch | None]:
    """Look whether a user's round draws from what a process shares; in the first rounds only.

    Args:
        algorithm: whose round it is.
        grad: its gradient, which may draw: dropout does, and a noisy oracle.
        round: which.

    Returns:
        The gradient as the round has to be given it; and what `Call.of` looks with, if it has to.
    """
    late = round >= LOOKS and _suspected.get(_function_of(algorithm)) != round - 1
    if late or algorithm.is_ours:
        return grad, None
    watch = Watch(round)
    return watch.except_in(grad), watch


_suspected: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""Rounds of users' algorithms -> in which something was drawn, by them or by another thread."""


def _function_of(algorithm: Entry) -> Any:
    """What lives as long as the algorithm does: a method of an object is made anew each time.

    Of an object that is called, and cannot be a key, its class.
    """
    function = getattr(algorithm.build, "__func__", algorithm.build)
    try:
        hash(ref(function))
    except TypeError:
        return type(function)
    return function


def _check_draws_nothing(watch: Watch | None, algorithm: Entry) -> None:
    """Refuse a round that draws.

    Where there are other threads, one of them may have drawn: then it must be seen twice, in this
    round or in the next one.
    """
    if not (watch and watch.drawn):
        return
    if threading.active_count() > 1:
        before = _suspected.get(_function_of(algorithm))
        _suspected[_function_of(algorithm)] = watch.round
        if before not in (watch.round - 1, watch.round):
            watch.drawn.clear()
            return
    _suspected.pop(_function_of(algorithm), None)
    layers = (
        "; a layer draws its weights when it is made (nn.Linear(...)): make it outside of the round"
        if "torch" in watch.drawn
        else ""
    )
    raise AlgorithmError(
        f"{_first_line(algorithm)}: draws from {' and '.join(sorted(watch.drawn))}, which each "
        "process has for itself; say @algorithm(..., draws=True) and take draw(purpose, size), "
        f"or what all clients share from the round, np.random.default_rng([0, s.t]){layers}"
    )


def disagreement(one: Ask | None, other: Ask | None, who: str, others: str) -> str | None:
    """What is wrong where two blocks of one network wait for unlike things; None: nothing.

    Args:
        one: what the one block asks; None: it is done with its rounds.
        other: what the other block asks.
        who: the clients of the one block.
        others: those of the other.
    """
    if (one and one[:2]) == (other and other[:2]):
        return None
    if one is None or (other is not None and other.round < one.round):
        # The block that is further on has left out what the other one asks.
        one, who, others = other, others, who
    assert one is not None  # or both would be done
    return (
        f"{one.place}: the {one.kind} of round {one.round} is asked for by {who} and not by "
        f"{others}; {CONTRACT}"
    )


def guarded(algorithm: Entry, part: Callable[..., Any], *args: Any) -> Any:
    """`part(*args)`, a function of the algorithm's; its errors become AlgorithmErrors."""
    try:
        return part(*args)
    except Exception as error:
        blame(error, algorithm)
        raise


def blame(error: Exception, algorithm: Entry) -> None:
    """Raise the error as an AlgorithmError with file and line, if the algorithm is to blame.

    It is not to blame for errors in our own code that it calls, such as the gradient.
    """
    if isinstance(error, (P2pqgError, MemoryError)) or "OutOfMemory" in type(error).__name__:
        return
    frames = list(walk_tb(error.__traceback__))[1:]  # the first frame is ours
    if any(ENGINE in Path(frame.f_code.co_filename).parents for frame, _ in frames):
        return
    code = _code(algorithm)
    theirs = [f for f in frames if code and f[0].f_code.co_filename == code.co_filename] or frames
    place = _place(theirs[-1][0].f_code, theirs[-1][1]) if theirs else _first_line(algorithm)
    said = (str(error).strip().splitlines() or ["no message"])[0]
    raise AlgorithmError(f"{place}: {type(error).__name__}: {said}") from error


def _wrong(effect: Any, num_clients: int, allowed: tuple[type, ...]) -> str | None:
    """What is wrong with a request, if anything is."""
    if type(effect) not in allowed:
        return f"yielded {_a(effect)}; yield {REQUESTS[allowed]}"
    if isinstance(effect, (Neighbors, Arrived)):
        return None
    name = type(effect).__name__.lower()
    if not effect.tensors:
        return f"{name}() was given nothing to send"
    for t in effect.tensors:
        if not isinstance(t, torch.Tensor):
            return f"{name}(...) takes tensors, got {_a(t)}"
        if not t.ndim or t.shape[0] != num_clients:
            rule = f"its rows must be the clients, [{num_clients}, ...]"
            return f"{name}(...) was given a tensor of shape {list(t.shape)}; {rule}"
        if t.ndim < 2 and isinstance(effect, Exchange):
            return "exchange(...) takes a message per neighbor, [clients, slots, ...]"
        if not t.is_floating_point() and isinstance(effect, Gossip):
            return f"gossip(...) averages, and was given {_kind(t)}; send t.to(s.x), say"
        if t.dtype != effect.tensors[0].dtype and isinstance(effect, Gossip):
            kinds = f"{_kind(effect.tensors[0])} and {_kind(t)}"
            return f"gossip(...) takes tensors of one type, got {kinds}; send t.to(s.x), say"
    size, each = getattr(effect, "message_bytes", None), isinstance(effect, Gossip)
    if isinstance(size, torch.Tensor):
        if each and size.shape != (num_clients,):
            return f"{name}(...): message_bytes must be [{num_clients}], got {list(size.shape)}"
    elif size is not None and not (isinstance(size, Real) and 0 <= float(size) < math.inf):
        return f"{name}(...): message_bytes must be a number >= 0{OR_EACH * each}, got {size!r}"
    return None


def wrong_leaf(state: Any, num_clients: int) -> str | None:
    """What cannot be saved of a state, or cut where other clients begin, if anything."""
    try:
        held = leaves(state)
    except AlgorithmError as error:
        return str(error)
    for name, value in held.items():
        if not isinstance(value, torch.Tensor):
            continue
        if value.shape[:1] != (num_clients,):
            return (
                f"{name} must keep a row for each client, [{num_clients}, ...], got "
                f"{list(value.shape)}; what is the same for all is a number, or no part of a state"
            )
        if value.is_complex() or value.dtype == torch.bfloat16:
            return f"{name} is of {_kind(value)}, which is not saved; keep it as real floats"
    return None


def _kind(t: torch.Tensor) -> str:
    return str(t.dtype).removeprefix("torch.")


def _wrong_state(new: Any, old: Any, algorithm: Entry, num_clients: int) -> str | None:
    """What is wrong with what a round returns, if anything is; `old` None: who cares."""
    if new is None:
        return "returned nothing; a round returns the next state"
    if old is None:
        return None
    kind = type(old).__name__  # by name: a notebook's cell may have run again
    if type(new).__name__ != kind:
        return f"returned {_a(new)}; a round returns the next state, here {_a(old)}"
    if wrong := wrong_leaf(new, num_clients):
        return wrong
    before, after = leaves(old), leaves(new)
    if after.keys() != before.keys():
        held, wanted = (", ".join(n.removeprefix("state.") for n in s) for s in (after, before))
        return f"returned {_a(new)} of {held}; the one that it was given has {wanted}"
    for name, value in after.items():
        if isinstance(value, torch.Tensor) and value.requires_grad:
            return f"{name} carries the graph that it was computed by; return {name}.detach()"
    if all(_alike(value, before[name]) for name, value in after.items()):
        return None  # so the models are, too; to ask for them may be to compute them
    model, was = (algorithm.traits["model"](state) for state in (new, old))
    if not isinstance(model, torch.Tensor):
        return f"the models must be a tensor [clients, params], got {_a(model)}"
    if (model.shape, model.dtype) != (was.shape, was.dtype):
        shapes = [f"{list(t.shape)} of {str(t.dtype).removeprefix('torch.')}" for t in (was, model)]
        return f"the models must stay {shapes[0]}, got {shapes[1]}"
    return None


def _alike(one: Any, other: Any) -> bool:
    """Whether two leaves of a state are of one shape and type."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return (one.shape, one.dtype) == (other.shape, other.dtype)
    return type(one) is type(other)


def _a(value: Any) -> str:
    name = type(value).__name__
    if value is None:
        return "nothing"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _code(algorithm: Entry) -> CodeType | None:
    return getattr(inspect.unwrap(algorithm.build), "__code__", None)


def _first_line(algorithm: Entry) -> str:
    code = _code(algorithm)
    return _place(code, code.co_firstlineno) if code else algorithm.name


def _line_of(own: GeneratorType[Any, Any, Any]) -> str:
    """Where a generator waits, or that to which it has handed over with `yield from`."""
    while isinstance(own.gi_yieldfrom, GeneratorType):
        own = own.gi_yieldfrom
    assert own.gi_frame  # it waits
    return _place(own.gi_code, own.gi_frame.f_lineno)


@lru_cache(maxsize=256)
def _place(code: CodeType, line: int) -> str:
    path = Path(code.co_filename)
    name = "notebook cell" if path.parent.name.startswith("ipykernel") else path.name
    return f"{name} line {line}, in {code.co_name}"


def called(clients: range) -> str:
    """Some clients, in a message.

    >>> called(range(3, 5)), called(range(3, 4))
    ('clients 3 to 4', 'client 3')
    """
    if len(clients) == 1:
        return f"client {clients.start}"
    return f"clients {clients.start} to {clients.stop - 1}"


def bare(tensors: tuple[torch.Tensor, ...]) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """The reply to a request: a tensor where one was sent, else a tuple of them."""
    return tensors[0] if len(tensors) == 1 else tensors
