"""A block: k >= 1 clients, their rows of the algorithm's state, and their rounds.

Runs the algorithm's generator; what it asks of the network is answered in `answers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.effects import Effect
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.pieces import PIECE_BYTES
from p2pqg.engine.answers import Answers, Parcel, Wait
from p2pqg.engine.call import Ask, Call, bare, called, disagreement
from p2pqg.engine.clock import Clock
from p2pqg.engine.parts import HalfWay, Successor, cut, of_part, together
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.engine.snapshot import Snapshot, laid_out, leaves, loaded, with_leaves
from p2pqg.engine.traffic import Traffic, computed

Gradient = Callable[..., Tensor]
"""gradient(x [clients, params], step) -> [clients, params], weight decay included. With again=True
as well where a batch is used once more, and with part=slice(...) where x is of these clients only.
"""


class Block(Answers):
    """k clients and all that they carry from round to round.

    Attributes:
        step: batches drawn so far, the cursor of the data; first_step: the first of the round.
        gradients: that each client has computed, those on a batch used again too.
        on_batch: those of them on the newest batch; most_on_batch: on any.
        traffic: for each round not yet taken, what it took; see `Traffic`.
        and those of `Answers`.
    """

    def __init__(
        self,
        rule: Rule,
        routing: Routing,
        index: int,
        x0: Tensor,
        gradient: Gradient,
        clock: Clock | None = None,
        at_once: int | None = None,
    ) -> None:
        """Say who they are.

        Args:
            rule: what they run.
            routing: in which network.
            index: of the block.
            x0: [k, params], the models they start from.
            gradient: what they learn from.
            clock: notes where the time goes.
            at_once: clients that play a round together where there are many; None: all.
        """
        super().__init__(rule, routing, index, x0, clock)
        self.gradient = gradient
        k = len(self.clients)
        self.parts = cut(k, at_once or k, x0.shape[1] * x0.itemsize)
        self.step = 0
        self.first_step = 0
        self.gradients = self.on_batch = self.most_on_batch = 0
        self.traffic: list[Traffic] = []
        self._waiting: tuple[Call, Effect] | None = None
        self._lengths: Tensor | None = None

    @property
    def who(self) -> str:
        """What the block's clients are called in a message."""
        return called(self.clients)

    @property
    def ask(self) -> Ask | None:
        """The request that it waits for; None: it is done with its rounds."""
        if self._waiting is None:
            return None
        call, effect = self._waiting
        return call.ask(self.round, effect)

    def _incoming(self) -> int:
        """Rows that come in with a gossip of this round, if all are new."""
        routes = self.routing.rows(self.round)
        return 0 if routes.memory else len(routes.senders[self.index]) - len(self.clients)

    def rewire(self, rule: Rule, routing: Routing) -> None:
        """From the next round on, another network with the same borders, or other parameters."""
        self.rule, self.routing = rule, routing
        self._mixers.clear()

    def rows(self) -> dict[str, Any]:
        """All that the hosted clients carry on: name -> tensor [k, ...], or number."""
        found = leaves(self.state)
        for slot, rounds in enumerate(self.past):
            for age, parcel in enumerate(rounds):
                found |= {f"past.{slot}.{age}.{i}": t for i, t in enumerate(parcel)}
        return found

    def snapshot(self, pieces: Callable[[str, Tensor], Any] | None = None) -> Snapshot:
        """All that the hosted clients carry on; copies, which nobody changes any more.

        Args:
            pieces: what stands for a large tensor instead of a copy.
        """
        found = self.rows()

        def copied(name: str, t: Tensor) -> Any:
            return pieces(name, t) if pieces and t.nbytes > PIECE_BYTES else to_numpy(t)

        return Snapshot(
            round=self.round,
            step=self.step,
            gradients=self.gradients,
            on_batch=self.on_batch,
            most_on_batch=self.most_on_batch,
            exchanges=self.exchanges,
            rows={n: copied(n, v) for n, v in found.items() if isinstance(v, Tensor)},
            numbers={n: v for n, v in found.items() if not isinstance(v, Tensor)},
            totals={"bytes_sent": np.array([self.bytes_sent]), "moved": to_numpy(self.drift)[None]},
            firsts=np.array([self.clients.start]),
        )

    def load(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the hosted clients."""
        rows = {n: loaded(a, self.x.device) for n, a in snapshot.rows.items()}
        self.state = with_leaves(self.state, {**rows, **snapshot.numbers})
        self.round, self.step = snapshot.round, snapshot.step
        self.gradients = snapshot.gradients
        self.on_batch, self.most_on_batch = snapshot.on_batch, snapshot.most_on_batch
        self.exchanges = snapshot.exchanges
        self.bytes_sent = float(snapshot.totals["bytes_sent"].sum())
        self.drift = torch.tensor(snapshot.totals["moved"].sum(0), device=self.x.device)
        self.past = []
        for name in sorted((n for n in rows if n.startswith("past.")), key=_by_number):
            slot, age, _ = _by_number(name)
            self.past += [[]] * (slot >= len(self.past))
            rounds = self.past[slot]
            rounds += [()] * (age >= len(rounds))
            rounds[age] += (rows[name],)

    def rounds(self, until: int) -> Generator[Wait, list[Parcel], None]:
        """Run up to round `until`; yields what other blocks need, takes what this one needs."""
        while self.round < until:
            self._slot, self._told, self._sent, self.first_step = 0, 0, [], self.step
            self.state = laid_out((yield from self._played()))
            self.traffic.append(tuple(self._sent))
            self.round += 1

    def _played(self) -> Generator[Wait, list[Parcel], Any]:
        """The next round; returns the new state."""
        self._lengths = None
        call, reply = self._call(), None
        try:
            while True:
                with self.clock("update"):
                    effect = call.send(reply)
                self._waiting = call, effect
                reply = bare((yield from self._answer(effect)))
        except StopIteration as end:
            self._waiting = None
            return end.value

    def _call(self) -> Call:
        """The next round; it returns the new state."""
        if len(self.parts) == 1:
            call = self.rule.play(
                self.state, self._grad_of(None), self.round, self.clients, self._gradient_lengths
            )
            call.requests = self._whole(call.requests)
            return call
        calls = [
            self.rule.alone(
                of_part(self.state, part),
                self._grad_of(part),
                self.round,
                self.clients[part],
            )
            for part in self.parts
        ]
        call = Call(self._by_parts(calls), calls[0].own)
        return self.rule.led(call, self.round, self._gradient_lengths)

    def _gradient_lengths(self) -> Tensor:
        """[clients]: ||g||^2 of each client's last gradient in this round, for `Controller`."""
        if self._lengths is None:
            raise AlgorithmError(
                f"consensus.of: gradient does not go with {self.rule.algorithm.name}, which "
                "gossips before it computes a gradient; give a reference instead"
            )
        return self._lengths

    def _whole(self, requests: Generator[Effect, Any, Any]) -> Generator[Effect, Any, Any]:
        """The round of all at once."""
        return self._of_active((yield from requests), slice(None))

    def _by_parts(self, calls: Sequence[Call]) -> Generator[Effect, Any, Any]:
        """The round of one part of them after the other."""
        new = Successor(self.state, len(self.clients))

        def end(part: slice, state: Any) -> None:
            new.put(part, self._of_active(state, part))

        try:
            yield from together(
                self.round, calls, self.parts, self._called, end, self._spare, self._incoming
            )
        except Exception as error:
            self.state = HalfWay(self.round, error)
            raise
        return new.whole()

    def _called(self, part: slice) -> str:
        return called(self.clients[part])

    def _of_active(self, new: Any, part: slice) -> Any:
        """The new state of a part, in which clients that stand still have the old one."""
        mask = self.W.active
        active = self.mine(mask)
        if mask is None or active is None:
            return new
        old = of_part(self.state, part)
        present = self.mine(self.W.present)
        there = torch.ones_like(active) if present is None else present
        if not mask.any():  # nobody has computed anything
            there = torch.zeros_like(active)
        active, there = active[part], there[part]
        personal, others = self.rule.personal, {}
        for name in self.rule.algorithm.traits["shared"]:
            value, mine = getattr(old, name), None
            if personal and isinstance(value, Tensor) and value.dim() > 1:
                mine = personal.mask(value.shape[-1], there.device)
            others[f"state.{name}"] = (
                there if mine is None else torch.where(mine, active[:, None], there[:, None])
            )
        return chosen(active, new, old, others)

    def _grad_of(self, part: slice | None) -> Callable[..., Tensor]:
        """The gradients of some clients, or of all (None), in the next round.

        All parts draw and compute alike; the first one puts it down.
        """
        first = part is None or part.start == 0
        step, number, on_batch = self.step, self.gradients, self.on_batch
        more: dict[str, Any] = {} if part is None else {"part": part}

        def grad(x: Tensor, *, again: bool = False) -> Tensor:
            nonlocal step, number, on_batch
            if again and not step:
                raise AlgorithmError(
                    "grad(x, again=True) comes before any grad(x): there is no batch"
                )
            found: list[Tensor] = []
            with self.clock("compute"):
                x = x.detach()  # whatever the algorithm does with it beside
                for model in x.unbind(1) if x.dim() == 3 else (x,):
                    self.gradients = number  # done so far by these clients
                    old = again or bool(found)
                    step += not old
                    on_batch = on_batch + 1 if old else 1
                    self.most_on_batch = max(self.most_on_batch, on_batch)
                    used = {"again": True} if old else {}
                    found.append(self.gradient(model, step - 1, **used, **more))
                    number += 1
            self.step, self.gradients, self.on_batch = step, number, on_batch
            if self.rule.measures_gradients:
                squares = found[-1].square().sum(1)
                if self._lengths is None:
                    self._lengths = squares.new_zeros(len(self.clients))
                self._lengths[part or slice(None)] = squares
            if first:
                computed(self._sent, len(found))
            return torch.stack(found, 1) if x.dim() == 3 else found[0]

        return grad


def chosen(active: Tensor, new: Any, old: Any, others: Mapping[str, Tensor] | None = None) -> Any:
    """The new state of the clients that are active, the old one of those that stand still.

    Of a leaf that has another shape than before, the old one would fit nowhere: it is the new one.

    Args:
        active: [clients], bool.
        new: as if all were.
        old: before.
        others: of whom the new one is taken instead of the active ones', by the leaf's name; or of
            whom in which column, [clients, columns].
    """
    before, others = leaves(old), others or {}
    kept = {
        name: torch.where(_as_rows(others.get(name, active), value), value, before[name])
        for name, value in leaves(new).items()
        if isinstance(value, Tensor) and before[name].shape == value.shape
    }
    return with_leaves(new, kept)


def _as_rows(mask: Tensor, like: Tensor) -> Tensor:
    """[clients, 1, ...], or [clients, 1, ..., columns] of one that says it column by column."""
    inner = [1] * (like.dim() - mask.dim())
    return mask.view(len(mask), *inner, *mask.shape[1:])


def to_numpy(t: Tensor) -> np.ndarray:
    """A copy in main memory, which shares nothing with the tensor."""
    return t.detach().cpu().numpy().copy()


def _by_number(name: str) -> tuple[int, int, int]:
    """Slot, age and tensor of a name such as "past.0.1.2"."""
    _, slot, age, tensor = name.split(".")
    return int(slot), int(age), int(tensor)


def lockstep(blocks: list[Block], until: int) -> None:
    """Run all blocks of one process up to round `until`, carrying their parcels.

    Raises:
        AlgorithmError: what they ask of the network depends on values, so that it is not the same.
    """
    running = [block.rounds(until) for block in blocks]
    waiting = [next(rounds, None) for rounds in running]
    while _all_wait(blocks):
        told = [wait for wait in waiting if wait is not None]  # all of them
        shelves = [parcels for parcels, _ in told]
        waiting = [
            _send(rounds, [shelves[a][p] for a, p in leg.addresses[block.index]])
            for rounds, block, (_, leg) in zip(running, blocks, told, strict=True)
        ]


def _all_wait(blocks: list[Block]) -> bool:
    """Whether all wait at the same request; False: all are done."""
    first, *others = blocks
    ask = first.ask
    for block in others:
        if wrong := disagreement(block.ask, ask, block.who, first.who):
            raise AlgorithmError(wrong)
    return ask is not None


def _send(rounds: Generator[Wait, list[Parcel], None], arrived: list[Parcel]) -> Wait | None:
    try:
        return rounds.send(arrived)
    except StopIteration:
        return None
