"""What clients that do not wait ask of the network: meet, push, arrived.

One call of the generator is one client-step, and its rows are the clients whose step ends now. The
gradient is that at the model as it stood when the client began: what others did meanwhile has
changed s.x, not g. Then a client either meets one neighbor,

    x = yield meet(x)           both leave with the mean of the two; drawn from W's row

or it sends, and goes on with what has come:

    kept = yield push(half)     to its neighbors, each message takes its own time
    inbox = yield arrived()     what came since its last step
    x = inbox.mix(half)         (1 - sum of weights) half + sum of weights times messages

When things happen is none of an algorithm's business: see `p2pqg.engine.waves`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np

from p2pqg.base.lazy import torch

S = TypeVar("S")

To = Literal["all", "one"]
Keep = Literal["all", "newest", "last"]


@dataclass(frozen=True)
class Meet:
    """Average with one neighbor, both at the same time. Tensors are [clients, ...]."""

    tensors: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Push:
    """Send a message, and wait for nothing. Tensors are [clients, ...]."""

    tensors: tuple[torch.Tensor, ...]
    to: To = "all"
    patience: int = 1


@dataclass(frozen=True)
class Arrived:
    """Ask for what has come."""

    keep: Keep = "all"

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return ()


class Pairs(NamedTuple):
    """Who meets whom how often.

    Attributes:
        num_clients: n.
        a, b: int64 [pairs], a < b.
        rates: float64 [pairs], meetings in the time in which a client makes one gradient on
            average.
    """

    num_clients: int
    a: np.ndarray
    b: np.ndarray
    rates: np.ndarray


@dataclass(frozen=True)
class OwnPace:
    """What is special about an algorithm whose clients do not wait.

    Attributes:
        met: what a client does that is met while it computes: (state, params) -> generator, as a
            step without a gradient. None: its state.x takes part, and takes the mean.
        elapsed: step and `met` take a further argument: [clients, 1], the time since each client's
            last step or meeting, in units in which a client makes one gradient on average. A
            function: what it makes of that, (params, time) -> [clients, ...], is the argument; it
            is called for many steps at once, and params.lr is that of the recipe.
        fit: (params, how often pairs meet) -> params, with what depends on the network filled in.
    """

    met: Callable[..., Generator[Any, Any, Any]] | None = None
    elapsed: bool | Callable[[Any, torch.Tensor], torch.Tensor] = False
    fit: Callable[[Any, Pairs], Any] | None = None


class Inbox(Protocol):
    """The messages that are mixed in a step, of all its clients, one after the other.

    Attributes:
        to: int64 [messages], the row that each is for.
        weights: [messages], what W gives to each: W[receiver, sender] when it was sent.
        seconds: float64 [messages], since each was sent.
        steps: float64 [messages], that its sender has done since.
        weight: [clients, 1], the sum of weights of each client's messages.
        count: [clients, 1], how many messages each has.
    """

    to: torch.Tensor
    weights: torch.Tensor
    seconds: torch.Tensor
    steps: torch.Tensor
    weight: torch.Tensor
    count: torch.Tensor

    def __getitem__(self, number: int) -> torch.Tensor:
        """What each message holds of one of the tensors that were sent, [messages, ...]."""

    def sum(self, weights: torch.Tensor | None = None) -> tuple[torch.Tensor, ...]:
        """Sum of weights times messages, [clients, ...] for each tensor; default: those of W."""

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        """(1 - sum of weights) x + sum of weights times messages, of the first tensor sent."""


Step = Generator[Meet | Push | Arrived, Any, S]
"""One client-step: yields effects, receives tensors and inboxes, returns the next state."""


def meet(*tensors: torch.Tensor) -> Meet:
    """Ask for the mean of mine and a neighbor's; the reply is a tensor, or a tuple of them.

    The neighbor is drawn from W's row. Whoever is in a meeting has no time for another one, until
    both ways of the exchange are through; who is met goes on computing meanwhile. Where a message
    is lost, or there is no neighbor, the reply is what was sent.
    """
    return Meet(tensors)


def push(*tensors: torch.Tensor, to: To = "all", patience: int = 1) -> Push:
    """Send to all neighbors, or to one of them, drawn with W's weights.

    While a client's line is still busy with the message before, it sends nothing: the next one
    will be newer.

    Args:
        tensors: what is sent, [clients, ...] each.
        to: "all" or "one".
        patience: after it has sent, a client sends nothing until something has come, or until it
            has made so many steps. 1: it always sends. For push-sum, where who sends again and
            again and hears nothing gives away all it has.

    Returns:
        The reply is [clients, 1]: the share of each client's column of W that stays with it, 1
        less the weights of the messages that will arrive; for push-sum.
    """
    return Push(tensors, to, patience)


def arrived(keep: Keep = "all") -> Arrived:
    """Ask for the messages that are here; the reply is an `Inbox`.

    Args:
        keep: "all": whatever came since the client's last step; "newest": of every sender only the
            newest of these, and together they never weigh more than W's row leaves to others;
            "last": of every neighbor the last message that ever came, with the weights of W's row.
    """
    return Arrived(keep)
