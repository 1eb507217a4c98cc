"""A host: one block and its learner, with what a driver may ask of them. Engines move hosts.

`HostSpec` is plain data (arrays, names, numbers), so that any process can build the same host.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from p2pqg.engine.block import Block, Rule
from p2pqg.engine.clock import Clock, Span
from p2pqg.engine.learner import Learner, Shards, Task
from p2pqg.engine.routes import Routing


@dataclass(frozen=True)
class HostSpec:
    """All that one host is made of, except the test set (which all share)."""

    index: int
    rule: Rule
    routing: Routing
    task: Task
    shards: Shards
    device: str
    num_threads: int
    profile: bool = False

    def build(self, test: tuple[np.ndarray, np.ndarray]) -> Host:
        return Host(self, test)


class Stop(NamedTuple):
    """Run until `round` rounds are done; then perhaps measure, perhaps evaluate too."""

    round: int
    measure: bool = False
    evaluate: bool = False


class Measurement(NamedTuple):
    """What one host saw at a stop; its clients' part of it.

    Attributes:
        distances: [k], squared distance of each client's model to the mean of all.
        correct, loss: [k], each client's model on the full test set: right answers, summed loss.
        averaged: the averaged model on this host's share of the test set: right answers, summed
            loss, samples.
    """

    round: int
    time: float
    bytes_sent: float
    distances: np.ndarray
    correct: np.ndarray | None = None
    loss: np.ndarray | None = None
    averaged: tuple[float, float, int] | None = None


class Report(NamedTuple):
    """What one host did since the last report.

    Attributes:
        losses: [rounds, k].
        spans: where the time went, if the run is profiled.
    """

    first_round: int
    losses: np.ndarray
    measurements: list[Measurement]
    spans: list[Span]


class Host:
    """A block of clients that learn."""

    def __init__(self, spec: HostSpec, test: tuple[np.ndarray, np.ndarray]) -> None:
        torch.set_num_threads(spec.num_threads)
        bounds = spec.routing.bounds
        self.clients = range(bounds[spec.index], bounds[spec.index + 1])
        device = torch.device(spec.device)
        self.learner = Learner(spec.task, self.clients, spec.shards, test, device)
        self.clock = Clock(on=spec.profile)
        self.block = Block(
            spec.rule,
            spec.routing,
            spec.index,
            self.learner.initial(),
            self._gradient,
            self.clock,
        )
        self._loss_rounds: list[int] = []
        self._reported = 0
        self._measurements: list[Measurement] = []

    def _gradient(self, x: Tensor, step: int) -> Tensor:
        self._loss_rounds.append(self.block.round)
        return self.learner.gradient(x, step)

    def advance(self, stops: list[Stop]) -> Report:
        """Go through the stops without the help of other hosts: this one hosts all clients."""
        for stop in stops:
            with self.clock("update"):
                for _ in self.block.rounds(stop.round):
                    raise AssertionError("a sole host waits for others")
            if stop.measure:
                self.measure(mean_of([self.sums()], len(self.clients)), stop.evaluate)
        return self.collect()

    def sums(self) -> tuple[Tensor, Tensor]:
        """Sum of the hosted models [params], and of their batch-norm statistics [buffers]."""
        return self.block.x.sum(0), self.learner.buffers.sum(0)

    def measure(self, mean: tuple[Tensor, Tensor], evaluate: bool) -> None:
        """Note how far the models are from the mean of all and, if asked, how well they do."""
        x, (mean_x, mean_buffers) = self.block.x, mean
        with self.clock("recording"):
            distances = (x - mean_x).square().sum(1).double().cpu().numpy()
        seen = {}
        if evaluate:
            seen = self._evaluate(x, mean_x, mean_buffers)
        self._measurements.append(
            Measurement(self.block.round, time.time(), self.block.bytes_sent, distances, **seen)
        )

    def _evaluate(self, x: Tensor, mean_x: Tensor, mean_buffers: Tensor) -> dict[str, Any]:
        with self.clock("evaluation"):
            correct, loss = self.learner.evaluate(x, self.learner.buffers)
            n, samples = self.block.routing.num_clients, len(self.learner.test_y)
            share = slice(samples * self.clients.start // n, samples * self.clients.stop // n)
            averaged = self.learner.evaluate(mean_x[None], mean_buffers[None], share)
            return {
                "correct": correct.cpu().numpy(),
                "loss": loss.cpu().numpy(),
                "averaged": (*(t.item() for t in averaged), share.stop - share.start),
            }

    def collect(self) -> Report:
        """Hand over the losses and measurements since the last report."""
        with self.clock("recording"):
            losses = self._losses()
        report = Report(self._reported, losses, self._measurements, self.clock.take())
        self._reported, self._measurements = self.block.round, []
        return report

    def _losses(self) -> np.ndarray:
        """[rounds, k]: the mean over a round's gradients, of which there is usually one."""
        if not self.learner.losses:
            return np.empty((0, len(self.clients)))
        drawn = torch.stack(self.learner.losses).double().cpu().numpy()
        rounds = np.array(self._loss_rounds) - self._reported
        self.learner.losses.clear()
        self._loss_rounds.clear()
        if len(drawn) == self.block.round - self._reported:
            return drawn
        starts = np.flatnonzero(np.diff(rounds, prepend=-1))
        return np.add.reduceat(drawn, starts) / np.diff(starts, append=len(drawn))[:, None]

    def parameters(self) -> np.ndarray:
        """[k, params]: the hosted clients' models."""
        return self.block.x.cpu().numpy()


def mean_of(sums: list[tuple[Tensor, Tensor]], num_clients: int) -> tuple[Tensor, Tensor]:
    """The mean model and statistics of all clients from the hosts' sums, in order of hosts."""
    x, buffers = (torch.stack(parts).sum(0) / num_clients for parts in zip(*sums, strict=True))
    return x, buffers
