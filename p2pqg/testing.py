"""Conformance kit: numbers that can be derived, checked on any algorithm, also your own.

    import pytest
    from p2pqg.testing import UNIVERSAL, USUAL

    @pytest.mark.parametrize("check", UNIVERSAL + USUAL)
    def test_my_algorithm(check):
        check("my-algorithm", beta=0.5)

`UNIVERSAL` holds for every algorithm that keeps the rules of the house (rows mix only in `yield`,
and what is yielded does not depend on values).
`USUAL` holds for most; leave out what your algorithm has a reason not to fulfil. The other checks
want to be told what to expect. Everything runs in this process, in float64, on quadratics whose
optimum and fixed points are known; a broken promise is an AssertionError.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from p2pqg.algorithms import ALGORITHMS
from p2pqg.algorithms.control import Lengths
from p2pqg.algorithms.effects import Effect, Exchange, Round, led
from p2pqg.algorithms.privacy import Privacy
from p2pqg.base.config import read
from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.engine.block import Block, lockstep
from p2pqg.engine.call import CONTRACT, ON_NO_CLIENTS, Ask, Call, disagreement
from p2pqg.engine.learner import Learner
from p2pqg.engine.rule import Rule, itinerary
from p2pqg.engine.spec import Shards, Task
from p2pqg.engine.waves.block import WaveBlock
from p2pqg.models import blueprint
from p2pqg.models.judging.losses import LOSSES, Objective
from p2pqg.theory.quadratics import CLIENTS, DIM, Array, Quadratics, starts
from p2pqg.theory.trajectories import at_start, trajectory
from p2pqg.topology import Schedule, build

ROUNDS = 12


def falling_lr(round: int) -> float:
    """A step size that changes in mid-run: 0.05, then 0.02 from round 6 on."""
    return 0.05 if round < 6 else 0.02


def entry_of(algorithm: str | Entry) -> Entry:
    """The registered algorithm of that name; an entry is its own."""
    return algorithm if isinstance(algorithm, Entry) else ALGORITHMS[algorithm]


def suitable_topology(algorithm: str | Entry, **params: Any) -> str:
    """A network of 8 clients that the algorithm accepts: a ring, or a tree where it needs one."""
    entry = entry_of(algorithm)
    made, problems = read(entry.params, {"lr": 0.1, **params})
    assert not problems, problems
    needs = entry.traits["needs"](made)
    if "teleportation" in needs:
        return "teleportation8"
    return "ceca8" if "ceca" in needs else "binary-tree8" if "tree" in needs else "ring8"


def run(
    algorithm: str | Entry,
    problem: Quadratics | None = None,
    x0: Array | None = None,
    topology: Any = None,
    rounds: int = ROUNDS,
    lr: float | Callable[[int], float] = falling_lr,
    **more: Any,
) -> Array:
    """`trajectory` on quadratics: [rounds + 1, clients, dim]. `more`: blocks, parameters, ..."""
    problem = problem or Quadratics.random()
    if topology is None:
        options = {"blocks", "seed", "weight_decay"}
        chosen = {key: value for key, value in more.items() if key not in options}
        topology = suitable_topology(algorithm, **chosen)
    x0 = starts(*problem.b.shape) if x0 is None else x0
    return trajectory(
        algorithm, problem.gradient, x0, topology=topology, rounds=rounds, lr=lr, **more
    )


def assert_same(got: Array, expected: Array, tolerance: float = 1e-12) -> None:
    """Every number agrees, to a tolerance (absolute and relative)."""
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


# UNIVERSAL: every algorithm


def check_hosting(algorithm: str | Entry, **params: Any) -> None:
    """Numbers do not depend on how many blocks (actors) host the clients."""
    together = run(algorithm, **params)
    for blocks in ([3, 5], [1] * CLIENTS):
        assert_same(run(algorithm, blocks=blocks, **params), together)


def check_permutation(algorithm: str | Entry, **params: Any) -> None:
    """Clients have no rank: renaming them renames the result.

    Exempt is who draws random numbers, which belong to a client's number, and who needs a network
    that is made of clients' numbers.
    """
    problem, x0 = Quadratics.random(), starts()
    W = dense(suitable_topology(algorithm, **params))
    order = rng(2, "order").permutation(CLIENTS)
    got = run(algorithm, problem.of(order.tolist()), x0[order], W[np.ix_(order, order)], **params)
    assert_same(got, run(algorithm, problem, x0, W, **params)[:, order])


def check_purity(algorithm: str | Entry, **params: Any) -> None:
    """A round leaves the state it was given as it was, and can be played again from it."""
    problem, topology = Quadratics.random(), suitable_topology(algorithm, **params)
    (block,) = at_start(algorithm, problem.gradient, starts(), topology=topology, lr=0.05, **params)
    given = list[tuple[Any, list[Any]]]()
    rows_of = getattr(block, "rows_of", None)

    def note(state: Any) -> Any:
        given.append((state, [torch.clone(torch.as_tensor(v)) for v in state]))
        return state

    if rows_of:  # clients that do not wait are given some rows
        block.__dict__["rows_of"] = lambda rows: note(rows_of(rows))
    for done in (1, 2, 3):
        if not rows_of:
            note(block.state)
        lockstep([block], done)
    for state, copies in given:
        for value, copy in zip(state, copies, strict=True):
            assert torch.equal(torch.as_tensor(value), copy)


def check_resume(algorithm: str | Entry, **params: Any) -> None:
    """The state is all that survives a round: stored and taken up again, a run goes on."""
    gradient, topology = Quadratics.random().gradient, suitable_topology(algorithm, **params)

    def begun() -> list[Block]:
        return at_start(algorithm, gradient, starts(), topology=topology, lr=falling_lr, **params)

    (whole,), (first,), (second,) = begun(), begun(), begun()
    lockstep([whole], ROUNDS)
    lockstep([first], ROUNDS // 2 - 1)
    if isinstance(first, WaveBlock):  # of which gradients and messages on their way survive, too
        second.load(pickle.loads(pickle.dumps(first.snapshot())))
    else:
        second.state, second.round = pickle.loads(pickle.dumps(first.state)), first.round
    lockstep([second], ROUNDS)
    assert torch.equal(second.x, whole.x)


def check_requests(algorithm: str | Entry, **params: Any) -> None:
    """What a round asks of the network does not depend on values: no clients ask the same.

    On Ray a method that breaks this ends with an error. The message names file and line.
    """
    problem, topology = Quadratics.random(), suitable_topology(algorithm, **params)
    for scale in (0.0, 1e-3, 1.0, 1e3):

        def gradient(x: Array, round: int, scale: float = scale) -> Array:
            return scale * problem.gradient(x, round)

        for blocks in ([8], [3, 5], [1] * CLIENTS):
            hosts = at_start(
                algorithm,
                gradient,
                scale * starts(),
                topology=topology,
                lr=falling_lr,
                blocks=blocks,
                **params,
            )
            if isinstance(hosts[0], WaveBlock):  # which are watched by the engine itself
                lockstep(hosts, ROUNDS)
                continue
            listener = _Listener(hosts[0].rule, hosts[0].x[:0])
            for host in hosts:
                host.rule = listener
            lockstep(hosts, listener.rounds)


class _Request(NamedTuple):
    ask: Ask
    sizes: list[tuple[Any, ...]]
    """Shape and type of each tensor, of one client (of one message, where there are several)."""

    @classmethod
    def of(cls, ask: Ask, effect: Effect) -> _Request:
        shared = 2 if isinstance(effect, Exchange) else 1
        return cls(ask, [(list(t.shape[shared:]), t.dtype) for t in effect.tensors])


class _Listener(Rule):
    """A rule that hears what is asked, and compares it with what a block of no clients asks."""

    rounds = ROUNDS + 1
    """SlowMo averages after 12."""

    def __init__(self, rule: Rule, nobody: torch.Tensor) -> None:
        vars(self).update(vars(rule))
        self.expected: list[list[_Request]] = [[] for _ in range(self.rounds)]
        for ask, effect in itinerary(rule, rule.start(nobody), 0, self.rounds):
            self.expected[ask.round].append(_Request.of(ask, effect))

    def play(
        self,
        state: Any,
        grad: Callable[..., Any],
        round: int,
        clients: range,
        lengths: Lengths | None = None,
    ) -> Call:
        call = super().play(state, grad, round, clients, lengths)
        expected = iter(self.expected[round])

        def hear(effect: Effect) -> Generator[Effect, Any, Any]:
            heard = _Request.of(call.ask(round, effect), effect)
            self._compare(heard, next(expected, None), clients)
            return (yield effect)

        def to_the_end(requests: Round[Any]) -> Round[Any]:
            state = yield from led(requests, hear)
            self._compare(None, next(expected, None), clients)
            return state

        call.requests = to_the_end(call.requests)
        return call

    def _compare(self, heard: _Request | None, expected: _Request | None, clients: range) -> None:
        who = f"clients {clients.start} to {clients.stop - 1}"
        wrong = disagreement(heard and heard.ask, expected and expected.ask, who, ON_NO_CLIENTS)
        assert not wrong, wrong
        if heard is None or expected is None:  # both are done
            return
        assert heard.sizes == expected.sizes, (
            f"{heard.ask.place}: {who} send {heard.sizes} in round {heard.ask.round}, and "
            f"{expected.sizes} is sent by {ON_NO_CLIENTS}; {CONTRACT}"
        )


UNIVERSAL = (check_hosting, check_permutation, check_purity, check_requests, check_resume)


# USUAL: most algorithms


def check_equal_stays_equal(algorithm: str | Entry, **params: Any) -> None:
    """Clients with equal data and equal start stay equal (but move)."""
    path = run(algorithm, Quadratics.random(equal_data=True), starts()[0], **params)
    assert_same(path, np.broadcast_to(path[:, :1], path.shape))
    assert np.linalg.norm(path[-1] - path[0]) > 1e-3


def check_alone(algorithm: str | Entry, **params: Any) -> None:
    """W = I: every client learns as if it were alone in the world.

    Exempt is who all-reduces, and who needs a connected network.
    """
    problem, x0 = Quadratics.random(), starts()
    isolated = build(np.eye(CLIENTS), allow_disconnected=True)
    together = run(algorithm, problem, x0, isolated, **params)
    for i in range(CLIENTS):
        alone = run(algorithm, problem.of([i]), x0[[i]], np.eye(1), **params)
        assert_same(together[:, [i]], alone)


def check_mean_finds_optimum(
    algorithm: str | Entry, lr: float = 0.1, rounds: int = 600, **params: Any
) -> None:
    """On quadratics of equal curvature the mean of the clients comes to the optimum.

    Exempt is who scales a gradient by its own size (Adam).
    """
    problem = Quadratics.random(equal_curvature=True)
    path = run(algorithm, problem, rounds=rounds, lr=lr, **params)
    assert_same(path[-1].mean(0), problem.optimum(), 1e-6)


USUAL = (check_equal_stays_equal, check_alone, check_mean_finds_optimum)


# Checks that want to be told what to expect


def check_private(algorithm: str | Entry, **params: Any) -> None:
    """Gradients that no limit reaches are plain ones; noise on them does not depend on hosting."""
    plain = _learned(algorithm, Privacy(), [CLIENTS], **params)
    assert_same(_learned(algorithm, Privacy(clip=math.inf, sigma=0), [CLIENTS], **params), plain, 0)
    assert_same(_learned(algorithm, Privacy(clip=1e9), [CLIENTS], **params), plain)
    noisy = Privacy(clip=0.5, sigma=1.0)
    together = _learned(algorithm, noisy, [CLIENTS], **params)
    assert np.abs(together - plain).max() > 1e-6
    assert_same(_learned(algorithm, noisy, [3, 5], **params), together)


def _learned(
    algorithm: str | Entry, privacy: Privacy, hosted: list[int], rounds: int = 2, **params: Any
) -> Array:
    """[clients, params] after some rounds on samples, with such gradients."""
    rows, classes, generator = 6, 3, rng(0, "samples")
    x = generator.standard_normal((rows * CLIENTS, 2)).astype(np.float32)
    y = generator.integers(0, classes, len(x))
    objective = Objective(LOSSES["cross-entropy"], outputs=classes)
    model = blueprint("mlp", hidden=(2,))
    looks = (None, None, None)
    task = Task(model, classes, (2,), *looks, 3, 0.01, "float64", 0, objective, privacy=privacy)
    bounds = np.concatenate([[0], np.cumsum(hosted)]).tolist()
    learners = []
    for first, end in zip(bounds, bounds[1:], strict=False):
        here = slice(rows * first, rows * end)
        shards = Shards(x[here], y[here], np.full(end - first, rows))
        clients = range(first, end)
        learners.append(Learner(task, clients, shards, (x[:1], y[:1]), torch.device("cpu")))
    x0 = learners[0].initial()[0].numpy()
    topology = suitable_topology(algorithm, **params)
    blocks = at_start(
        algorithm,
        lambda x, round: x,
        x0,
        topology=topology,
        lr=0.1,
        blocks=hosted,
        shapes=[shape for _, shape in model.shapes(classes, (2,))],
        **params,
    )
    for block, learner in zip(blocks, learners, strict=True):
        _learn_from(block, learner)
    lockstep(blocks, rounds)
    return torch.cat([block.x for block in blocks]).numpy()


def _learn_from(block: Block | WaveBlock, learner: Learner) -> None:
    """From now on the block's gradients are those of the learner."""
    if isinstance(block, WaveBlock):
        block.gradient = learner.gradient_of
        return

    def gradient(x: torch.Tensor, step: int, again: bool = False) -> torch.Tensor:
        return learner.gradient(x, step, again, block.gradients)

    block.gradient = gradient


def check_complete_is(
    algorithm: str | Entry, centralized: str, of: dict[str, Any] | None = None, **params: Any
) -> None:
    """On the complete graph, from a common start, this is a centralized method.

    Args:
        algorithm: decentralized.
        centralized: sgd, sgdm, ...
        of: parameters of the centralized method.
        params: parameters of the algorithm.
    """
    x0 = starts()[0]
    expected = run(centralized, x0=x0, topology="complete8", **(of or {}))
    assert_same(run(algorithm, x0=x0, topology="complete8", **params), expected)


def check_is(
    algorithm: str | Entry, other: str | Entry, of: dict[str, Any] | None = None, **params: Any
) -> None:
    """Two methods, or two ways to call one, take the same path; lr changes in mid-run.

    Args:
        algorithm: e.g. one with local_steps = 1.
        other: what it should be then.
        of: parameters of the other.
        params: parameters of the algorithm.
    """
    topology = suitable_topology(algorithm, **params)
    expected = run(other, topology=topology, **(of or {}))
    assert_same(run(algorithm, topology=topology, **params), expected)


def check_one_local_step_is(
    algorithm: str | Entry,
    other: str | Entry | None = None,
    of: dict[str, Any] | None = None,
    **params: Any,
) -> None:
    """With one local step between two exchanges it is the plain method.

    Args:
        algorithm: one with local_steps.
        other: the plain method; None: the same, which has one step unless it is told otherwise.
        of: parameters of the other.
        params: further parameters of the algorithm.
    """
    of = params if other is None and of is None else of
    check_is(algorithm, algorithm if other is None else other, of, local_steps=1, **params)


def check_again(algorithm: str | Entry, **params: Any) -> None:
    """grad(x, again=True) at the rows of the last gradient is that gradient, and draws no batch.

    Asked behind the algorithm's back, on gradients whose noise is another in every batch.
    """
    entry, problem, same = entry_of(algorithm), Quadratics.random(), list[bool]()

    def noisy(x: Array, round: int, step: int) -> Array:
        return problem.gradient(x, round) + rng(0, "noise", step).standard_normal(x.shape)

    def asked_twice(s: Any, grad: Callable[..., Any], p: Any, *more: Any) -> Any:
        def checked(x: torch.Tensor, *, again: bool = False) -> torch.Tensor:
            g: torch.Tensor = grad(x, again=again)
            same.append(torch.equal(grad(x, again=True), g))  # of an inbox, of all its models
            return g

        return entry.build(s, checked, p, *more)

    topology = suitable_topology(algorithm, **params)
    gradient: Callable[..., Any] = noisy
    usual, twice = (
        trajectory(one, gradient, starts(), topology=topology, rounds=6, lr=0.05, **params)
        for one in (entry, replace(entry, build=asked_twice))
    )
    assert same, "it asks for no gradient: there is nothing to ask again"
    assert all(same), f"{same.count(False)} of {len(same)} are another gradient"
    np.testing.assert_array_equal(twice, usual)


def check_rule_is_gossip(
    rule: Any, algorithm: str | Entry = "dsgdm-n", uniform: bool = False, **params: Any
) -> None:
    """A rule of gossip that has nothing to object to does what gossip does.

    Without liars, such are clipping at an infinite radius and a mean that trims nothing.

    Args:
        rule: as of `trajectory`.
        algorithm: that gossips models.
        uniform: the rule gives all that are heard, and a client itself, the same weight; otherwise
            those of W.
        params: parameters of the algorithm.
    """
    W = dense("star8")  # whose weights are far from uniform
    even = (W > 0) / (W > 0).sum(1, keepdims=True)
    plain = build(even, allow_row_stochastic=True) if uniform else build(W)
    expected = run(algorithm, topology=plain, **params)
    assert_same(run(algorithm, topology=build(W), rule=rule, **params), expected)


def check_sums_to_zero(algorithm: str | Entry, name: str, **params: Any) -> None:
    """A part of the state, such as a correction, sums to zero over the clients after every round.

    Args:
        algorithm: to be run.
        name: of the part.
        params: parameters of the algorithm.
    """
    problem, topology = Quadratics.random(), suitable_topology(algorithm, **params)
    (block,) = at_start(
        algorithm, problem.gradient, starts(), topology=topology, lr=falling_lr, **params
    )
    for done in range(1, ROUNDS + 1):
        lockstep([block], done)
        part = getattr(block.state, name)
        assert part.abs().max() > 0, f"{name} is zero in every client after round {done}"
        assert_same(part.sum(0).numpy(), np.zeros(part.shape[1]), 1e-11)


def check_tracks_mean_gradient(algorithm: str | Entry, name: str, **params: Any) -> None:
    """The mean of a part of the state is that of the clients' gradients at the models before.

    Args:
        algorithm: to be run.
        name: of the part, such as an estimate of everybody's gradient.
        params: parameters of the algorithm.
    """
    problem, topology = Quadratics.random(), suitable_topology(algorithm, **params)
    (block,) = at_start(
        algorithm, problem.gradient, starts(), topology=topology, lr=falling_lr, **params
    )
    for done in range(1, ROUNDS + 1):
        expected = problem.gradient(block.x.numpy(), done - 1).mean(0)
        lockstep([block], done)
        assert_same(getattr(block.state, name).mean(0).numpy(), expected, 1e-9)


def check_comes_to_rest_at(
    algorithm: str | Entry,
    point: Callable[[Quadratics, Array, float], Array],
    topology: Any = None,
    lr: float = 0.1,
    rounds: int = 600,
    tolerance: float = 1e-8,
    **params: Any,
) -> None:
    """Without noise the clients come to rest at a known point.

    Args:
        algorithm: to be run.
        point: (problem, W, lr) -> [clients, dim] or [dim]: where.
        topology: static.
        lr: constant.
        rounds: so many are enough.
        tolerance: for each number.
        params: parameters of the algorithm.
    """
    problem = Quadratics.random()
    network = build(suitable_topology(algorithm, **params) if topology is None else topology)
    path = run(algorithm, problem, topology=network, lr=lr, rounds=rounds, **params)
    expected = point(problem, dense(network), lr)
    assert_same(path[-1], np.broadcast_to(expected, path[-1].shape), tolerance)


def check_finds_optimum(algorithm: str | Entry, **more: Any) -> None:
    """An exact method: whatever the clients' data, all come to rest at the common optimum."""
    check_comes_to_rest_at(algorithm, lambda problem, W, lr: problem.optimum(), **more)


def check_bytes(
    algorithm: str | Entry,
    vectors: float = 1,
    scalars: int = 0,
    allreduced: float = 0,
    topology: Any = None,
    rounds: int = ROUNDS,
    **params: Any,
) -> None:
    """Bytes counted are messages times their size.

    Args:
        algorithm: to be run.
        vectors: model-size vectors in a message, on the mean of all rounds.
        scalars: further numbers of 8 bytes in a message.
        allreduced: model-size vectors all-reduced per round, on the mean.
        topology: static.
        rounds: how many.
        params: parameters of the algorithm.
    """
    network = build(suitable_topology(algorithm, **params) if topology is None else topology)
    W = dense(network)
    edges = np.count_nonzero(W) - np.count_nonzero(np.diag(W))
    ring = 2 * (len(W) - 1) * DIM  # numbers that n clients send to all-reduce a vector
    expected = 8 * rounds * (edges * (vectors * DIM + scalars) + allreduced * ring)
    np.testing.assert_allclose(bytes_sent(algorithm, network, rounds, **params), expected)


def bytes_sent(algorithm: str | Entry, topology: Any, rounds: int, **params: Any) -> float:
    """What all clients together sent in so many rounds, in float64."""
    x0 = starts(build(topology).num_clients)
    problem = Quadratics.random(len(x0))
    blocks = at_start(algorithm, problem.gradient, x0, topology=topology, lr=0.05, **params)
    lockstep(blocks, rounds)
    return sum(block.bytes_sent for block in blocks)


def dense(topology: Any, round: int = 0) -> Array:
    """W of a round, [clients, clients]."""
    network = topology if isinstance(topology, Schedule) else build(topology)
    return network.mixing(round).dense()
