"""What an algorithm may ask of the network: gossip, exchange, allreduce; and what each costs.

An algorithm is a generator for one round on stacked tensors, one row per client. `yield` means
network, and nothing else mixes rows:

    x = yield gossip(half)              x_i <- sum_j W[i, j] half_j        (this round's W)
    x, y = yield gossip(half, y)        several tensors in one message
    inbox = yield exchange(messages)    a message of its own for every neighbor
    g = yield allreduce(g)              the exact mean, on every client

The engine answers each request; the algorithm never knows how many actors there are.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from p2pqg.base.lazy import torch
from p2pqg.base.registry import F, NoParams, Registry

S = TypeVar("S")


@dataclass(frozen=True)
class Gossip:
    """Mix rows with this round's W. Tensors are [clients, ...]."""

    tensors: tuple[torch.Tensor, ...]
    message_bytes: torch.Tensor | None = None
    """[clients]: what one message of each client really costs, where it is sent compressed."""


@dataclass(frozen=True)
class Exchange:
    """One message per neighbor. Tensors are [clients, slots, ...], see `exchange`."""

    tensors: tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class AllReduce:
    """The mean over all clients, exactly, on every client. Tensors are [clients, ...]."""

    tensors: tuple[torch.Tensor, ...]
    free: bool = False
    """Nothing is sent: it is the simulation that looks, not the clients."""


@dataclass(frozen=True)
class Decide:
    """The mean of one number per client, [clients]; the reply is a float, the same everywhere.

    For what a round does next to depend on it: the driver waits for it too.
    """

    values: torch.Tensor
    free: bool = False

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return (self.values,)


Effect = Gossip | Exchange | AllReduce | Decide
Round = Generator[Effect, Any, S]
"""One round: yields effects, receives tensors, returns the next state."""


class Grad(Protocol):
    """grad(x): each client's stochastic gradient at its row of x, on its own next batch.

    grad(x, again=True) is the gradient at other rows on the very batch of the last one; batch-norm
    statistics and the loss on record are those of the first. x may also be an inbox [clients,
    slots, params]: every model that a client was sent, on that client's own batch, one batch for
    all slots. Each model is a gradient of its own to the clock and to the columns that count.
    """

    def __call__(self, x: torch.Tensor, *, again: bool = False) -> torch.Tensor: ...


class Draw(Protocol):
    """draw(purpose, size): uniforms in [0, 1), [clients, size], keyed by client and round."""

    def __call__(self, purpose: str, size: int) -> torch.Tensor: ...


def gossip(*tensors: torch.Tensor, message_bytes: torch.Tensor | None = None) -> Gossip:
    """Ask for sum_j W[i, j] t_j for each tensor t; the reply is a tensor, or a tuple of them."""
    return Gossip(tensors, message_bytes)


def exchange(*tensors: torch.Tensor) -> Exchange:
    """Send a message of its own to every neighbor.

    A client's slots are its neighbors in rising order; a graph with largest degree D has D slots,
    of which a client with fewer neighbors leaves the last ones empty (zero when received).

    Args:
        tensors: [clients, D, ...]: slot k goes to the k-th neighbor; or [clients, 1, ...]: the
            same to every neighbor.

    Returns:
        The reply is [clients, D, ...]: slot k came from the k-th neighbor. Graphs are undirected.
    """
    return Exchange(tensors)


def allreduce(*tensors: torch.Tensor) -> AllReduce:
    """Ask for the exact mean over all clients; the reply has the shape that was sent."""
    return AllReduce(tensors)


ALGORITHMS = Registry("algorithm")

Needs = tuple[str, ...] | Callable[[Any], tuple[str, ...]]


def algorithm(
    name: str,
    *,
    start: Callable[[torch.Tensor], Any],
    params: type = NoParams,
    source: str = "",
    needs: Needs = (),
    model: Callable[[Any], torch.Tensor] = lambda state: state.x,
    centralized: bool = False,
    reconstruction: bool = False,
    draws: bool = False,
) -> Callable[[F], F]:
    """File a round under its name.

    Args:
        name: what users type.
        start: x0 [clients, params] -> the state before the first round.
        params: frozen data class with `lr` and the algorithm's own parameters.
        source: paper or code.
        needs: what W must be, or a function of the params that says it: any of "symmetric",
            "doubly-stochastic", "column-stochastic", "tree", "lambda-min" (smallest
            eigenvalue > -1/3).
        model: state -> the clients' models [clients, params], where that is not state.x.
        centralized: does not use the network (all-reduce only).
        reconstruction: written from secondary sources; said in docstring and `p2pqg list`.
        draws: the round takes a fourth argument, `draw` (see `Draw`).
    """
    return ALGORITHMS.register(
        name,
        params=params,
        source=source,
        start=start,
        needs=needs if callable(needs) else lambda params: needs,
        model=model,
        centralized=centralized,
        reconstruction=reconstruction,
        draws=draws,
    )
