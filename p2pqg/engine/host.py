"""A host: one block and its learner, with what a driver may ask of them. Engines move hosts."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.base.errors import AlgorithmError
from p2pqg.base.pieces import Pieces
from p2pqg.base.steady import now
from p2pqg.engine.block import Block, chosen, to_numpy
from p2pqg.engine.call import NO_GRADIENT
from p2pqg.engine.clock import Clock
from p2pqg.engine.learner import Learner
from p2pqg.engine.rule import Rule
from p2pqg.engine.scouting import batches_per_round
from p2pqg.engine.snapshot import Snapshot, loaded
from p2pqg.engine.spec import AnyRouting, HostSpec, Measurement, Report, Stop

ROUNDING = 1e-9
"""Share of a model's squared length: who is that close to the mean may be equal to it."""

CACHED = 2**22
"""Bytes that a core's cache holds, about."""


class Host:
    """A block of clients that learn."""

    def __init__(self, spec: HostSpec, test: tuple[np.ndarray, np.ndarray]) -> None:
        bounds = spec.routing.bounds
        self.clients = range(bounds[spec.index], bounds[spec.index + 1])
        device = torch.device(spec.device)
        self.learner = Learner(spec.task, self.clients, spec.shards, test, device, spec.capture)
        self.clock = Clock(spec.profile, torch.cuda.synchronize if device.type == "cuda" else None)
        self.block = self._make_block(spec.rule, spec.routing, spec.index, self.learner.initial())
        self._loss_rounds: list[int] = []
        self._reported = 0
        self._measurements: list[Measurement] = []

    def _make_block(self, rule: Rule, routing: Any, index: int, start: Tensor) -> Any:
        """The block, at round 0."""
        at_once = self.learner.at_once
        if batches_per_round(rule.algorithm, rule.params) > self.learner.feed.steps_ahead:
            at_once = None  # every part would draw all batches anew
        return Block(rule, routing, index, start, self._gradient, self.clock, at_once)

    def _gradient(
        self, x: Tensor, step: int, again: bool = False, part: slice = slice(None)
    ) -> Tensor:
        buffers = self.learner.buffers
        self.learner.flipped = self.block.mine(self.block.routing.flipped(self.block.round))
        g = self.learner.gradient(x, step, again, self.block.gradients, part)
        if len(self.learner.losses) > len(self._loss_rounds):
            self._loss_rounds.append(self.block.round)
        active = self.block.mine(self.block.W.active)
        if active is not None:  # clients that stand still keep their statistics, too
            (self.learner.buffers,) = chosen(active, (self.learner.buffers,), (buffers,))
        return g

    def advance(self, stops: list[Stop]) -> Report:
        """Go through the stops without the help of other hosts: this one hosts all clients."""
        for stop in stops:
            with self.clock("update"):
                for _ in self.block.rounds(stop.round):
                    raise AssertionError("a sole host waits for others")
            if stop.measure:
                self.measure(self.mean([self.sums()]), stop.evaluate)
        return self.collect()

    @property
    def _present(self) -> np.ndarray | None:
        """[clients], bool: who belonged to the network in the last round; None: everyone."""
        schedule, last = self.block.routing.schedule, max(self.block.round - 1, 0)
        return schedule.mixing(last).present

    @property
    def _honest(self) -> np.ndarray | None:
        """[clients], bool: who belonged to the network and did not lie; None: nobody lied."""
        liars = self.block.routing.liars(max(self.block.round - 1, 0))
        if liars is None:
            return None
        present = self._present
        return ~liars if present is None else ~liars & present

    def sums(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sums over the hosted clients: models [params], batch-norm statistics [buffers], drift.

        And models of those that are honest, [params]; of no length where all are.
        """
        x, buffers, honest = self.block.x, self.learner.buffers, self.block.mine(self._honest)
        theirs = x.new_zeros(0) if honest is None else x[honest].sum(0)
        present = self.block.mine(self._present)
        if present is not None:
            x, buffers = x[present], buffers[present]
        return x.sum(0), buffers.sum(0), self.block.drift, theirs

    def mean(self, sums: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """The means of all clients from all hosts' sums, in order."""
        present, honest = self._present, self._honest
        n = self.block.routing.num_clients if present is None else int(present.sum())
        x, buffers, drift, theirs = (torch.stack(p).sum(0) for p in zip(*sums, strict=True))
        num_honest = n if honest is None else max(1, int(honest.sum()))
        return x / n, buffers / n, drift, theirs / num_honest

    def measure(self, mean: tuple[Tensor, ...], evaluate: bool) -> None:
        """Note how far the models are from the mean of all and, if asked, how well they do."""
        x, (mean_x, mean_buffers, drift, honest_mean) = self.block.x, mean
        with self.clock("recording"):
            distances = self._distances(x, mean_x)
            honest = self._distances(x, honest_mean) if len(honest_mean) else None
        seen = {}
        if evaluate:
            seen = self._evaluate(x, mean_x, mean_buffers)
        self._measurements.append(
            Measurement(
                self.block.round,
                now(),
                self.block.bytes_sent,
                self.block.exchanges,
                distances,
                float(drift.norm()),
                step=self.block.step,
                gradients=self.block.gradients,
                most_on_batch=self.block.most_on_batch,
                honest_distances=honest,
                alike=self._alike(x, distances),
                **seen,
            )
        )

    def _distances(self, x: Tensor, to: Tensor) -> np.ndarray:
        """float64 [k]: squared, of what clients are to agree on."""
        rows, to = self._shared(x), self._shared(to)
        squares = squared_distances(rows, to).double().cpu()
        if not squares.isfinite().all():  # in float32 that of 1e20 is not
            squares = squared_distances(rows, to, torch.float64).cpu()
        return squares.numpy()

    def _alike(self, x: Tensor, distances: np.ndarray) -> tuple[int, ...] | None:
        """A sum over the bits of a row, if all that count are the same; see `Measurement`."""
        present = self.block.mine(self._present)
        rows = self._shared(x)
        if present is not None:
            rows, distances = rows[present], distances[present.cpu().numpy()]
        if not len(rows):
            return ()
        if not distances.max() <= ROUNDING * float(rows[0].double().square().sum()):
            return None
        if not bool((rows == rows[:1]).all()):
            return None
        bits = torch.int64 if rows.dtype == torch.float64 else torch.int32
        return (int(rows[0].contiguous().view(bits).sum(dtype=torch.int64)),)

    def _shared(self, rows: Tensor) -> Tensor:
        """What clients are to agree on: all parameters but those that stay personal."""
        personal = self.block.rule.personal
        return personal.shared(rows) if personal else rows

    def _evaluate(self, x: Tensor, mean_x: Tensor, mean_buffers: Tensor) -> dict[str, Any]:
        judge = self.learner.judge
        with self.clock("evaluation"):
            correct, loss, more = judge.examine(x, self.learner.buffers)
            share = judge.share(self.clients, self.block.routing.num_clients)
            averaged = judge.evaluate(mean_x[None], mean_buffers[None], share)
            return {
                "correct": correct.cpu().numpy(),
                "loss": loss.cpu().numpy(),
                "averaged": (*(t.item() for t in averaged), share.stop - share.start),
                "more": more,
                "averaged_more": judge.metrics_of(mean_x[None], mean_buffers[None])
                if self.clients.start == 0
                else {},
            }

    def collect(self) -> Report:
        """Hand over the losses and measurements since the last report."""
        with self.clock("recording"):
            losses = self._losses()
        traffic, self.block.traffic = self.block.traffic, []
        spans = self.clock.take()
        report = Report(self._reported, losses, traffic, self._measurements, spans)
        self._reported, self._measurements = self.block.round, []
        return report

    def _losses(self) -> np.ndarray:
        """[rounds, k]: the mean over a round's gradients, of which there is usually one.

        Raises:
            AlgorithmError: a round has none.
        """
        drawn = self.learner.losses.take()
        rounds = np.array(self._loss_rounds) - self._reported
        self._loss_rounds.clear()
        starts = np.flatnonzero(np.diff(rounds, prepend=-1))
        if len(starts) < self.block.round - self._reported:
            name = self.block.rule.algorithm.name
            idle = np.setdiff1d(np.arange(self.block.round - self._reported), rounds)[0]
            raise AlgorithmError(f"{name}: round {self._reported + idle} {NO_GRADIENT}")
        if len(drawn) == len(starts):
            return drawn
        return np.add.reduceat(drawn, starts) / np.diff(starts, append=len(drawn))[:, None]

    def parameters(self) -> np.ndarray:
        """[k, params]: the hosted clients' models."""
        return to_numpy(self.block.x)

    def rewire(self, rule: Rule, routing: AnyRouting) -> None:
        """From the next round on, another network with the same borders, or other parameters."""
        self.block.rewire(rule, routing)

    def snapshot(self, pieces: bool = False) -> Snapshot:
        """All that the hosted clients carry on. Everything has been collected before.

        Args:
            pieces: large arrays are to be fetched a piece at a time, while nothing else happens.
        """
        part = self.block.snapshot(self._in_pieces) if pieces else self.block.snapshot()
        buffers = {"buffers": to_numpy(self.learner.buffers)}
        ways = (self.learner.way,)
        return dataclasses.replace(part, rows={**part.rows, **buffers}, ways=ways)

    def way(self) -> str:
        """How gradients are computed, for people; "" where there was nothing to choose."""
        return self.learner.settled(self.block.x, self.block.step)

    def _in_pieces(self, name: str, t: Tensor) -> Pieces:
        dtype = np.dtype(str(t.dtype).removeprefix("torch."))
        return Pieces(tuple(t.shape), dtype, partial(self.fetch, name))

    def fetch(self, name: str, first: int, last: int) -> np.ndarray:
        """Some rows of what the hosted clients carry on."""
        return to_numpy(self.block.rows()[name][first:last])

    def timeline(self) -> Mapping[str, np.ndarray]:
        """Where all clients stand, if they do not wait."""
        return {}

    def load(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of the hosted clients."""
        self.learner.buffers = loaded(snapshot.rows["buffers"], self.learner.device)
        self.block.load(snapshot)
        if snapshot.ways:
            self.learner.wish = snapshot.ways[0]
        self._reported = snapshot.round

    def close(self) -> None:
        """Let go of the block, which holds the host: else both stay until garbage is collected."""
        del self.block, self.learner

    def fork(self) -> Host:
        """A host with the same clients. What never changes, the samples, both use."""
        twin = copy.copy(self)
        twin.learner = self.learner.fork()
        twin.clock = Clock(self.clock.on, self.clock.settle)
        twin._loss_rounds, twin._measurements = [], []
        block = self.block
        start = block.x  # any rows of that shape: load() replaces them
        twin.block = twin._make_block(block.rule, block.routing, block.index, start)
        twin.load(self.snapshot())
        return twin


def squared_distances(x: Tensor, to: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """||x_i - to||^2 of every row, [k]; a part of the rows at a time, which stays in the cache.

    Args:
        x: [k, params].
        to: [params].
        dtype: in which they are squared; None: that of the rows.
    """
    at_once = max(1, CACHED // max(1, to.nbytes))
    apart = ((part - to).to(dtype or x.dtype) for part in x.split(at_once))
    return torch.cat([each.square_().sum(1) for each in apart])
