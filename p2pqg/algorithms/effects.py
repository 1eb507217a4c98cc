"""What an algorithm may ask of the network: gossip, exchange, allreduce; and what each costs.

An algorithm is a generator for one round on stacked tensors, one row per client. `yield` means
network, and nothing else mixes rows:

    x = yield gossip(half)              x_i <- sum_j W[i, j] half_j        (this round's W)
    x, y = yield gossip(half, y)        several tensors in one message
    x = yield gossip(half, rule="median")   another use of the inbox, see `gossip_rules.py`
    inbox = yield exchange(messages)    a message of its own for every neighbor
    g = yield allreduce(g)              the exact mean, on every client
    peers = yield neighbors()           who is in which slot of an exchange; nothing is sent

The engine answers each request; the algorithm never knows how many actors there are.

A round's requests may depend on the number of the round (kept in the state) and on the parameters,
never on values: how many there are, of which kind and of which shapes must be the same whatever is
in the tensors, and also where a block has no clients at all, [0, params]. For on Ray nobody looks
at a row before it is sent on: the driver plays the algorithm on a block of no clients to learn what
will travel. So `if g.norm() > 1: x = yield gossip(x)` is an error; what works is to ask always and
to use the reply where it is wanted, row by row: `x = torch.where(large, (yield gossip(x)), x)`.
`p2pqg.testing.check_requests` finds a round that breaks this, with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, Protocol, TypeVar

from p2pqg.algorithms.asynchronous import OwnPace
from p2pqg.algorithms.gossip_rules import GossipRule, find_rule
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry, F, NoParams, Registry

S = TypeVar("S")


@dataclass(frozen=True)
class Gossip:
    """Mix rows with this round's W. Tensors are [clients, ...]."""

    tensors: tuple[torch.Tensor, ...]
    message_bytes: torch.Tensor | float | None = None
    """What one message really costs, where it is sent compressed; or [clients], each client's."""
    rule: GossipRule | None = None
    """What a receiver makes of its inbox; None: what the run says, usually the weighted sum."""
    models: bool = True
    """The first tensor holds models; False: gradients, say, on which clients need not agree."""


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
    message_bytes: float | None = None
    """What one client's part costs, where it is sent compressed: such parts are not added up on
    their way round the ring, but go round it one by one, to everybody."""


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


class Peers(NamedTuple):
    """Who is in which slot of this round's exchange. Empty slots: client -1, weight 0.

    On an undirected network slot k has the same neighbor both ways.

    Attributes:
        receivers: int64 [clients, slots], to whom slot k goes.
        senders: int64 [clients, slots], from whom what comes back in slot k is.
        weights: [clients, slots], W[client, sender].
        clients: int64 [clients], their own numbers.
    """

    receivers: torch.Tensor
    senders: torch.Tensor
    weights: torch.Tensor
    clients: torch.Tensor


@dataclass(frozen=True)
class Neighbors:
    """Who is in which slot. Nothing is sent."""

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        return ()


Effect = Gossip | Exchange | AllReduce | Decide | Neighbors
Round = Generator[Effect, Any, S]
"""One round: yields effects, receives tensors, returns the next state."""


def led(
    requests: Generator[Effect, Any, S], answer: Callable[[Effect], Generator[Effect, Any, Any]]
) -> Round[S]:
    """A round whose requests are answered by somebody else, who may ask other ones instead.

    Args:
        requests: of the round.
        answer: what is asked in place of a request; its return value is the reply to the round.
    """
    reply = None
    while True:
        try:
            effect = requests.send(reply)
        except StopIteration as end:
            return end.value
        reply = yield from answer(effect)


class Grad(Protocol):
    """grad(x): each client's stochastic gradient at its row of x, on its own next batch.

    grad(x, again=True) is the gradient at other rows on the very batch of the last one; batch-norm
    statistics and the loss on record are those of the first. x may also be an inbox [clients,
    slots, params]: every model that a client was sent, on that client's own batch, one batch for
    all slots. Each model is a gradient of its own to the clock and to the columns that count.
    """

    def __call__(self, x: torch.Tensor, *, again: bool = False) -> torch.Tensor: ...


class Parameter(NamedTuple):
    """One tensor of the model, and where it lies in a row.

    Attributes:
        name: as of `named_parameters()`.
        columns: x[:, columns] is all clients' own, flattened.
        shape: of the tensor.
    """

    name: str
    columns: slice
    shape: tuple[int, ...]

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """Rows [clients, params] -> view [clients, *shape]."""
        return x[:, self.columns].view(len(x), *self.shape)

    @classmethod
    def in_order(cls, shapes: Iterable[tuple[str, Sequence[int]]]) -> tuple[Parameter, ...]:
        """The tensors that a row is made of, from their names and shapes."""
        found, start = [], 0
        for name, shape in shapes:
            stop = start + prod(shape)
            found.append(cls(name, slice(start, stop), tuple(shape)))
            start = stop
        return tuple(found)


class Draw(Protocol):
    """draw(purpose, size): uniforms in [0, 1), [clients, size], keyed by client and round."""

    def __call__(self, purpose: str, size: int) -> torch.Tensor: ...


def gossip(
    *tensors: torch.Tensor,
    message_bytes: torch.Tensor | float | None = None,
    rule: Any = None,
    models: bool = True,
) -> Gossip:
    """Ask for sum_j W[i, j] t_j for each tensor t; the reply is a tensor, or a tuple of them.

    Args:
        tensors: [clients, ...].
        message_bytes: what one message costs, where it is sent compressed: a number, which the
            length of a run that ends on the clock is planned by; or [clients], each client's own,
            in main memory, or the host waits for the device.
        rule: what a receiver makes of its inbox instead of the sum, of each tensor by itself: a
            name, {name, parameters}, or a function (own [params], inbox [slots, params], weights
            [slots]) -> [params]; see `gossip_rules.py`. None: what the recipe says.
        models: whether the first tensor holds models. If not (it holds gradients, say), consensus
            control does not ask how far its rows are apart, and nobody sends an old model instead.
    """
    return Gossip(tensors, message_bytes, None if rule is None else find_rule(rule), models)


def exchange(*tensors: torch.Tensor) -> Exchange:
    """Send a message of its own to every neighbor.

    A client's slots are its neighbors of this round in rising order; a graph with largest degree D
    has D slots, of which a client with fewer neighbors leaves the last ones empty (zero when
    received). On a directed graph it sends to those that hear it, and hears others: `neighbors`
    says who they are.

    Args:
        tensors: [clients, D, ...]: slot k goes to the k-th neighbor; or [clients, 1, ...]: the
            same to every neighbor.

    Returns:
        The reply is [clients, D, ...]: slot k came from the k-th neighbor, that is the k-th sender.
    """
    return Exchange(tensors)


def neighbors() -> Neighbors:
    """Ask who is in which slot of this round's exchanges; the reply is `Peers`."""
    return Neighbors()


def allreduce(*tensors: torch.Tensor, message_bytes: float | None = None) -> AllReduce:
    """Ask for the exact mean over all clients; the reply has the shape that was sent.

    Args:
        tensors: [clients, ...].
        message_bytes: what one client's part costs, where it is sent compressed.
    """
    return AllReduce(tensors, message_bytes=message_bytes)


ALGORITHMS = Registry("algorithm")

Needs = tuple[str, ...] | Callable[[Any], tuple[str, ...]]


class Traits:
    """What an algorithm with its parameters is, by what it was registered with."""

    algorithm: Entry
    params: Any

    @property
    def needs(self) -> tuple[str, ...]:
        """What W must be."""
        return self.algorithm.traits["needs"](self.params)

    @property
    def centralized(self) -> bool:
        """It all-reduces, and does not use the network."""
        return self.algorithm.traits["centralized"]

    @property
    def waits(self) -> bool:
        """Clients go from round to round together; otherwise each has its own pace."""
        return not self.algorithm.traits.get("asynchronous")


def the_state_x(state: Any) -> torch.Tensor:
    """Where the models are, unless an algorithm says otherwise."""
    return state.x


def algorithm(
    name: str,
    *,
    start: Callable[..., Any],
    params: type = NoParams,
    source: str = "",
    needs: Needs = (),
    model: Callable[[Any], torch.Tensor] = the_state_x,
    centralized: bool = False,
    shared: tuple[str, ...] = (),
    fixed: tuple[str, ...] | Callable[[Any], tuple[str, ...]] = (),
    reconstruction: bool = False,
    draws: bool = False,
    shapes: bool | Callable[[Any], bool] = False,
    asynchronous: OwnPace | None = None,
) -> Callable[[F], F]:
    """File a round under its name.

    Args:
        name: what users type.
        start: x0 [clients, params] -> the state before the first round; or of x0 and the params,
            `start(x0, p)`. A parameter that it uses belongs in `fixed`.
        params: frozen data class with `lr` and the algorithm's own parameters.
        source: paper or code.
        needs: what W must be, or a function of the params that says it: any of "symmetric",
            "doubly-stochastic", "column-stochastic", "tree", "static", "lambda-min"
            (smallest eigenvalue > -1/3; "lambda-min:-0.4": > -0.4).
        model: state -> the clients' models [clients, params], where that is not state.x.
        centralized: does not use the network (all-reduce only).
        shared: fields of the state that are the same for all clients, such as the model of a
            centralized method. Who sits a round out has them as the others do, and so has who
            comes back or joins; without that a client keeps them as they were, or begins anew.
        fixed: parameters that cannot change in a live run: what the state means depends on them,
            or they are of the first round; or a function of the params that says which.
        reconstruction: written from secondary sources; said in docstring and `p2pqg list`.
        draws: the round takes one more argument, `draw` (see `Draw`).
        shapes: the round takes one more argument, behind that: a tuple of `Parameter`, the tensors
            that a row is made of; or a function of the params that says whether it does.
        asynchronous: clients do not wait for each other, and a call is a step of some of them, see
            `asynchronous.py`.
    """
    return ALGORITHMS.register(
        name,
        params=params,
        source=source,
        start=start,
        needs=needs if callable(needs) else lambda params: needs,
        model=model,
        centralized=centralized,
        shared=shared,
        fixed=fixed if callable(fixed) else lambda _: fixed,
        reconstruction=reconstruction,
        draws=draws,
        shapes=shapes if callable(shapes) else lambda params: shapes,
        asynchronous=asynchronous,
    )
