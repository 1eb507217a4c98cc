"""trajectory(): any algorithm on the caller's own gradient, in this process, in float64, no Ray."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.control import Consensus, Controller
from p2pqg.algorithms.gossip_rules import find_rule
from p2pqg.algorithms.user_code import find_algorithm
from p2pqg.base import config as machinery
from p2pqg.base.errors import ConfigError
from p2pqg.base.forked import computes
from p2pqg.base.ranges import as_whole_number, whole_number
from p2pqg.base.registry import Entry
from p2pqg.engine.block import Block, lockstep
from p2pqg.engine.inboxes import check_inboxes
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule, Shapes
from p2pqg.engine.snapshot import leaves
from p2pqg.engine.suits import check_attacks, check_gossips_models, check_repeats
from p2pqg.engine.waves.block import WaveBlock
from p2pqg.engine.waves.computed import Computed
from p2pqg.engine.waves.routing import WaveRouting, check_clock
from p2pqg.network import ClockParams, Network, Timing
from p2pqg.network.lies import read_attacks
from p2pqg.topology import Schedule, build, check_needs

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
    rule: Any = None,
    staleness: float | Mapping[str, Any] | None = None,
    attacks: Any = (),
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
        lr: step size, >= 0, or a function of the round. Methods that divide by it, such as
            qg-dsgdm, need > 0.
        weight_decay: added by us: g + weight_decay * x.
        seed: of what the algorithm draws itself (random compressors).
        blocks: how many clients each block hosts; the numbers do not depend on it.
        consensus: the keys of consensus control, see `p2pqg.algorithms.control.Consensus`.
        shapes: of the tensors that a row is made of, for methods that treat them one by one
            (powergossip); None: one vector.
        rule: of gossip: a name, {name, parameters}, `my_file.py:my_rule`, or a function (own
            [params], inbox [slots, params], weights [slots]) -> [params]; None: the weighted sum.
        staleness: of algorithms whose clients do not wait: a number of steps that messages are old
            (0: none, and clients of equal speed go in step), or the keys of `network:` of a recipe
            (compute, links, ...), where a gradient takes 1 s unless they say otherwise. A round is
            then as many steps as there are clients, and the gradient's round is the client's step.
        attacks: as in a recipe, [{"who": [3], "how": "sign-flip", "when": [2, 5]}, ...], where
            `how` may also be a function (honest [clients, params], W, round) -> rows; see
            `p2pqg.algorithms.attacks.find_attack`.
        params: the algorithm's parameters.

    Returns:
        [rounds + 1, clients, params], float64, of the kind that x0 is.

    Raises:
        ConfigError: unknown names, parameters out of range, wrong shapes, or an lr of 0 that a
            method divides by; TopologyError for W.
    """
    if not whole_number(rounds, 0):
        raise ConfigError(f"rounds must be an integer >= 0, got {rounds!r}")
    if consensus is not None and not isinstance(consensus, Mapping):
        raise ConfigError(
            f"consensus must be a mapping, such as targets: [0.01], got {consensus!r}"
        )
    settings = machinery.made(Consensus, consensus or {}, "consensus.")
    peers = at_start(
        algorithm,
        gradient,
        x0,
        topology=topology,
        lr=lr,
        weight_decay=weight_decay,
        seed=seed,
        blocks=blocks,
        control=Controller.of(settings, rounds),
        shapes=shapes,
        rule=rule,
        rounds=rounds,
        staleness=staleness,
        attacks=attacks,
        **params,
    )
    path = [torch.cat([block.x for block in peers])]
    zero, blamed = -2, None  # the last round without a step; the one that left no numbers
    for done in range(1, rounds + 1):
        zero = done - 1 if peers[0].rule.lr(done - 1) == 0 else zero
        near = zero >= done - 2  # some divide by the lr of the round before
        fine = near and blamed is None and _is_finite(peers)
        lockstep(peers, done)
        blamed = zero if fine and not _is_finite(peers) else blamed
        path.append(torch.cat([block.x for block in peers]))
        if blamed is not None and not path[-1].isfinite().all():
            method = peers[0].rule.algorithm.name
            raise ConfigError(
                f"lr must be > 0, got 0 in round {blamed}: {method} divides by it. Begin a warm-up "
                "above 0, as lr=lambda round: 0.1 * min(1, (round + 1) / 5)"
            )
    result = torch.stack(path)
    return result if isinstance(x0, Tensor) else result.numpy()


def at_start(
    algorithm: str | Entry,
    gradient: Callable[..., Any],
    x0: np.ndarray | Tensor,
    *,
    topology: Any,
    lr: float | Callable[[int], float],
    weight_decay: float = 0.0,
    seed: int = 0,
    blocks: Sequence[int] | None = None,
    control: Controller | None = None,
    shapes: Sequence[Sequence[int]] | None = None,
    rule: Any = None,
    rounds: int = 0,
    staleness: float | Mapping[str, Any] | None = None,
    attacks: Any = (),
    **params: Any,
) -> list[Any]:
    """The blocks of a trajectory at round 0, ready for `lockstep`; arguments as there.

    Returns:
        Of `Block`, or of `WaveBlock` where clients do not wait.
    """
    computes()
    entry = find_algorithm(algorithm)
    if not (isinstance(weight_decay, numbers.Real) and 0 <= weight_decay < math.inf):
        raise ConfigError(f"weight_decay must be >= 0, got {weight_decay!r}")
    seed = as_whole_number(seed, "seed")
    if not callable(gradient):
        raise ConfigError(f"gradient must be a function of (x, round), got {gradient!r}")
    step_size = _step_sizes(lr)
    made: Any = machinery.made(entry.params, {"lr": step_size(0), **params}, where=entry.name)
    start, schedule = _placed(real_numbers(x0, "x0"), topology, entry, made)
    needs = entry.traits["needs"](made)
    bounds = _bounds(blocks, schedule.num_clients)
    method = Rule(
        entry,
        made,
        step_size,
        seed,
        control,
        _named(shapes or (), start.shape[1]),
        None if rule is None else find_rule(rule),
        rounds,
    )
    check_gossips_models(method)
    network = _attacked(Network(schedule, seed=seed), attacks)
    check_attacks(method, network)
    check_repeats(method, schedule)
    oracle = _Oracle(gradient, start, isinstance(x0, Tensor), weight_decay)
    if entry.traits.get("asynchronous"):
        waves = WaveRouting(_timed(schedule, "column-stochastic" in needs, seed, staleness), bounds)
        check_clock(entry.name, waves.network)
        return [oracle.wave_block(method, waves, index) for index in range(waves.num_blocks)]
    if staleness is not None:
        raise ConfigError(
            f"staleness is of algorithms whose clients do not wait, such as ad-psgd; {entry.name} "
            "waits for its neighbors in every round. Leave it out"
        )
    routing = Routing(schedule, bounds, network.attacks)
    if method.gossip_rule is not None:
        check_inboxes(method.gossip_rule, network)
    return [oracle.block(method, routing, index) for index in range(routing.num_blocks)]


def real_numbers(given: Any, what: str) -> Tensor:
    """What is in an array of NumPy or torch, or in lists, as float64.

    Raises:
        ConfigError: complex, masked, sparse, on torch's device meta, or no numbers.
    """
    if isinstance(given, Tensor):
        if not (given.is_complex() or given.is_meta or given.layout != torch.strided):
            return given.detach().to(torch.float64)
    elif not np.ma.is_masked(given):
        with suppress(TypeError, ValueError):
            # A copy: a tensor cannot share memory that is read-only or runs backwards.
            found = np.array(given)
            if found.dtype.kind in "biufO":
                return torch.from_numpy(found.astype(np.float64, copy=False))
    raise ConfigError(
        f"{what} must hold real numbers, neither masked nor sparse nor on torch's device meta, got "
        f"{type(given).__name__}" + (f", {given.dtype}" if hasattr(given, "dtype") else "")
    )


def _is_finite(peers: list[Any]) -> bool:
    """Whether all that the clients carry is."""
    carried = (value for block in peers for value in leaves(block.state).values())
    return all(bool(value.isfinite().all()) for value in carried if isinstance(value, Tensor))


def _timed(
    schedule: Schedule, by_columns: bool, seed: int, staleness: float | Mapping[str, Any] | None
) -> Network:
    """A network with the clock that `staleness` describes."""
    said: dict[str, Any] = {"compute": 1.0}
    if isinstance(staleness, Mapping):
        said |= staleness
        if isinstance(said["compute"], Mapping):
            said["compute"] = {"seconds": 1.0} | dict(said["compute"])
    elif staleness is not None:
        if not (isinstance(staleness, numbers.Real) and 0 <= staleness < math.inf):
            raise ConfigError(f"staleness must be steps >= 0, or a mapping, got {staleness!r}")
        said["links"] = {"latency": float(staleness)}
    clock = machinery.made(ClockParams, said, "staleness.")
    timing = Timing.of(clock, schedule.num_clients, schedule.labels, seed)
    return Network(schedule, seed=seed, by_columns=by_columns, timing=timing)


def _attacked(network: Network, attacks: Any) -> Network:
    """With liars; ConfigError for lies about labels, of which a gradient oracle has none."""
    for said in read_attacks(attacks):
        if said.lie.kind == "data":
            raise ConfigError(
                f"{said.where}: attack {said.lie.name} needs data, and the gradient is the "
                "caller's; leave it out, or take p2pqg.run"
            )
        network = network.attack(said.who, said.lie, said.first, said.last, said.where)
    return network


def _step_sizes(lr: float | Callable[[int], float]) -> Callable[[int], float]:
    """Round -> step size, checked; a function is asked once for each round."""

    @cache
    def step_size(round: int) -> float:
        size = lr(round) if callable(lr) else lr
        if not (isinstance(size, numbers.Real | Tensor) and 0 <= size < math.inf):
            raise ConfigError(f"lr must be a number >= 0, got {size!r} in round {round}")
        return float(size)

    return step_size


def _placed(start: Tensor, topology: Any, entry: Entry, params: Any) -> tuple[Tensor, Schedule]:
    """[clients, params], where each begins; and a network on which the algorithm can work."""
    known = len(start) if start.ndim == 2 else None
    needs = entry.traits["needs"](params)
    schedule = build(
        topology, known, needs=needs, allow_disconnected=True, allow_row_stochastic=True
    )
    n = schedule.num_clients
    if start.ndim not in (1, 2) or (start.ndim == 2 and len(start) != n):
        raise ConfigError(f"x0 must be [params] or [{n}, params], got shape {list(start.shape)}")
    if not start.numel():
        raise ConfigError(f"x0 must hold a number at least, got shape {list(start.shape)}")
    if not torch.isfinite(start).all():
        raise ConfigError("x0 must be finite, got nan or inf")
    if not entry.traits["centralized"]:
        check_needs(schedule, needs, entry.name)
    return start.expand(n, -1).clone(), schedule


def _bounds(blocks: Sequence[int] | None, n: int) -> tuple[int, ...]:
    """Where the blocks begin, and n."""
    if blocks is None:
        return 0, n
    sizes = np.ravel(blocks).tolist()
    if not all(whole_number(size, 1) for size in sizes) or sum(sizes) != n:
        raise ConfigError(f"blocks must be numbers >= 1 that add up to {n}, got {sizes}")
    return (0, *accumulate(sizes))


def _named(shapes: Sequence[Sequence[int]], width: int) -> Shapes:
    """Names for the tensors of which rows of that width are made."""
    if not all(
        isinstance(shape, list | tuple) and all(whole_number(side, 1) for side in shape)
        for shape in shapes
    ):
        raise ConfigError(f"shapes must be lists of whole numbers >= 1, got {list(shapes)}")
    named = tuple((f"tensor{i}", tuple(shape)) for i, shape in enumerate(shapes))
    if named and sum(math.prod(shape) for _, shape in named) != width:
        raise ConfigError(f"shapes must make up the {width} params, got {list(shapes)}")
    return named


class _Oracle:
    """The caller's gradient, which wants all clients' rows, as blocks want it: of theirs alone.

    Args:
        gradient: the caller's.
        start: [clients, params]; stands in for the rows of other blocks.
        as_torch: whether it is given tensors.
        weight_decay: added.
    """

    def __init__(
        self, gradient: Callable[..., Any], start: Tensor, as_torch: bool, weight_decay: float
    ) -> None:
        self.gradient, self.start = gradient, start
        self.as_torch, self.weight_decay = as_torch, weight_decay
        self.takes_step = _takes_step(gradient)

    def block(self, rule: Rule, routing: Routing, index: int) -> Block:
        """One block at round 0."""
        mine = slice(routing.bounds[index], routing.bounds[index + 1])

        def grad(x: Tensor, step: int, again: bool = False) -> Tensor:
            within = max(0, step - block.first_step)
            return self(x, mine, block.round, within)

        block = Block(rule, routing, index, self.start[mine], grad)
        return block

    def wave_block(self, rule: Rule, routing: WaveRouting, index: int) -> WaveBlock:
        """One block of clients that do not wait, at round 0."""
        mine = slice(routing.bounds[index], routing.bounds[index + 1])

        def grad(x: Tensor, rows: np.ndarray, steps: np.ndarray) -> Computed:
            g = torch.empty_like(x)
            for step in np.unique(steps).tolist():
                now = np.flatnonzero(steps == step)
                everyone = self.start[mine].clone()
                everyone[rows[now]] = x[now]
                g[now] = self(everyone, mine, step, 0)[rows[now]]
            return Computed(g, {})

        return WaveBlock(rule, routing, index, self.start[mine], grad)

    def __call__(self, x: Tensor, mine: slice, round: int, step: int) -> Tensor:
        everyone = self.start.clone()
        everyone[mine] = x
        told = (step,) if self.takes_step else ()
        g = self.gradient(everyone if self.as_torch else everyone.numpy(), round, *told)
        g = real_numbers(g, "gradient")
        if g.shape != everyone.shape:
            raise ConfigError(
                f"gradient must return {list(everyone.shape)}, got shape {list(g.shape)}"
            )
        return g[mine] + self.weight_decay * x


def _takes_step(gradient: Callable[..., Any]) -> bool:
    """Whether it wants a third argument; one with a default of its own is not meant for us."""
    try:
        known = inspect.signature(gradient).parameters
    except (TypeError, ValueError):  # built in
        return False
    taken = [p for p in known.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
    needed = [p for p in taken if p.default is p.empty]
    return len(needed) > 2 or any(p.name == "step" for p in taken[2:3])
