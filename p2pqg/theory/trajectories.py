"""trajectory(): any algorithm on the caller's own gradient, in this process, in float64, no Ray."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.control import Consensus, Controller
from p2pqg.algorithms.user_code import find_algorithm
from p2pqg.base import config as machinery
from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import Entry
from p2pqg.engine.block import Block, lockstep
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.topology import build, check_needs

Array = TypeVar("Array", np.ndarray, Tensor)


def trajectory(
    algorithm: str | Entry,
    gradient: Callable[[Any, int], Any],
    x0: Array,
    *,
    topology: Any,
    rounds: int,
    lr: float | Callable[[int], float],
    weight_decay: float = 0.0,
    seed: int = 0,
    blocks: Sequence[int] | None = None,
    consensus: Mapping[str, Any] | None = None,
    shapes: Sequence[Sequence[int]] | None = None,
    **params: Any,
) -> Array:
    """The models of all clients after every round, by the very code that the actors run.

    Args:
        algorithm: a registered name, or one of a file: `my_file.py:my_method`.
        gradient: gradient(x, round), takes and returns [clients, params]; row i is client i's.
            It is given arrays of the kind that x0 is (NumPy or torch) and may return either. With
            a third argument, gradient(x, round, step), it is told which of the round's batches it
            is, from 0 on; one that is used again has the number that it had before.
        x0: [params]: all clients start there; or [clients, params].
        topology: a name, a file, an array [n, n], an array [rounds, n, n] used in turn, or a
            function of the round.
        rounds: >= 0.
        lr: step size, >= 0, or a function of the round. Methods that divide by it need > 0.
        weight_decay: added by us: g + weight_decay * x.
        seed: of what the algorithm draws itself (random compressors).
        blocks: how many clients each block hosts; the numbers do not depend on it.
        consensus: the keys of consensus control, see `p2pqg.algorithms.control.Consensus`.
        shapes: of the tensors that a row is made of, for methods that treat them one by one
            (powergossip); None: one vector.
        params: the algorithm's parameters.

    Returns:
        [rounds + 1, clients, params], float64, of the kind that x0 is.

    Raises:
        ConfigError: unknown names, parameters out of range, wrong shapes; TopologyError for W.
    """
    if not (isinstance(rounds, numbers.Integral) and rounds >= 0):
        raise ConfigError(f"rounds must be an integer >= 0, got {rounds!r}")
    as_torch = isinstance(x0, Tensor)
    start = torch.as_tensor(np.array(x0) if not as_torch else x0.detach()).to(torch.float64)
    settings, problems = machinery.read(Consensus, consensus or {}, "consensus.")
    if problems:
        raise ConfigError.of(problems)
    control = Controller.of(settings, rounds)
    peers = play(
        algorithm,
        gradient,
        start,
        topology,
        lr,
        weight_decay,
        seed,
        blocks,
        as_torch,
        params,
        control,
        shapes or (),
    )
    path = [torch.cat([block.x for block in peers])]
    for done in range(1, rounds + 1):
        lockstep(peers, done)
        path.append(torch.cat([block.x for block in peers]))
    result = torch.stack(path)
    return result if as_torch else result.numpy()


def play(
    algorithm: str | Entry,
    gradient: Callable[[Any, int], Any],
    x0: Tensor,
    topology: Any,
    lr: float | Callable[[int], float],
    weight_decay: float = 0.0,
    seed: int = 0,
    blocks: Sequence[int] | None = None,
    as_torch: bool = True,
    params: dict[str, Any] | None = None,
    control: Controller | None = None,
    shapes: Sequence[Sequence[int]] = (),
) -> list[Block]:
    """The blocks of a trajectory at round 0, ready for `lockstep`; arguments as there."""
    entry = find_algorithm(algorithm)
    if not (isinstance(weight_decay, numbers.Real) and 0 <= weight_decay < math.inf):
        raise ConfigError(f"weight_decay must be >= 0, got {weight_decay!r}")

    def step(round: int) -> float:
        size = lr(round) if callable(lr) else lr
        if not (isinstance(size, numbers.Real | Tensor) and 0 <= size < math.inf):
            raise ConfigError(f"lr must be a number >= 0, got {size!r} in round {round}")
        return float(size)

    made, problems = machinery.read(entry.params, {"lr": step(0), **(params or {})})
    if problems:
        raise ConfigError.of(problems, entry.name)
    known = x0.shape[0] if x0.ndim == 2 else None
    needs = entry.traits["needs"](made)
    schedule = build(
        topology, known, needs=needs, allow_disconnected=True, allow_row_stochastic=True
    )
    n = schedule.num_clients
    if x0.ndim not in (1, 2) or (x0.ndim == 2 and len(x0) != n):
        raise ConfigError(f"x0 must be [params] or [{n}, params], got shape {list(x0.shape)}")
    if not entry.traits["centralized"]:
        check_needs(schedule, needs, entry.name)
    x0 = x0.expand(n, -1).clone()
    bounds = (0, n) if blocks is None else (0, *np.cumsum(blocks).tolist())
    if bounds[-1] != n or min(np.diff(bounds)) < 1:
        raise ConfigError(f"blocks must be numbers >= 1 that add up to {n}, got {list(blocks)}")
    named = tuple((f"tensor{i}", tuple(shape)) for i, shape in enumerate(shapes))
    if named and sum(math.prod(shape) for _, shape in named) != x0.shape[-1]:
        raise ConfigError(f"shapes must make up the {x0.shape[-1]} params, got {list(shapes)}")
    routing, rule = Routing(schedule, bounds), Rule(entry, made, step, seed, control, named)
    told = _takes_step(gradient)

    def host(index: int) -> Block:
        mine = slice(bounds[index], bounds[index + 1])

        def grad(x: Tensor, step: int, again: bool = False) -> Tensor:
            everyone = x0.clone()
            everyone[mine] = x
            within = (max(0, step - block.first_step),) if told else ()
            g = gradient(everyone if as_torch else everyone.numpy(), block.round, *within)
            # np.array: a tensor cannot share memory that is read-only or runs backwards.
            g = g.detach() if isinstance(g, Tensor) else torch.from_numpy(np.array(g, np.float64))
            g = g.to(torch.float64)
            if g.shape != x0.shape:
                raise ConfigError(
                    f"gradient must return {list(x0.shape)}, got shape {list(g.shape)}"
                )
            return g[mine] + weight_decay * x

        block = Block(rule, routing, index, x0[mine], grad)
        return block

    return [host(index) for index in range(len(bounds) - 1)]


def _takes_step(gradient: Callable[..., Any]) -> bool:
    """Whether it wants a third argument; one with a default of its own is not meant for us."""
    try:
        known = inspect.signature(gradient).parameters
    except (TypeError, ValueError):  # built in
        return False
    taken = [p for p in known.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
    needed = [p for p in taken if p.default is p.empty]
    return len(needed) > 2 or any(p.name == "step" for p in taken[2:3])
