"""What holds for every algorithm that keeps the rules of the house."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import torch

from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.engine.block import Block, lockstep
from p2pqg.engine.waves.block import WaveBlock
from p2pqg.testing.listener import Listener
from p2pqg.testing.plays import (
    ROUNDS,
    assert_same,
    dense,
    falling_lr,
    run,
    suitable_topology,
)
from p2pqg.theory.quadratics import CLIENTS, Array, Quadratics, starts
from p2pqg.theory.trajectories import at_start


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

        for blocks in ([8], [1, 2, 5]):  # what all see together, some, and one alone
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
            listener = Listener(hosts[0].rule, hosts[0].x[:0])
            for host in hosts:
                host.rule = listener
            lockstep(hosts, listener.rounds)


UNIVERSAL = (check_hosting, check_permutation, check_purity, check_requests, check_resume)
