"""A host: one block and its learner, with what a driver may ask of them. Engines move hosts.

`HostSpec` is plain data (arrays, names, numbers), so that any process can build the same host.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from p2pqg.engine.block import Block, Rule
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
    """What one host did since the last report: losses [rounds, k], and what it measured."""

    first_round: int
    losses: np.ndarray
    measurements: list[Measurement]


class Host:
    """A block of clients that learn."""

    def __init__(self, spec: HostSpec, test: tuple[np.ndarray, np.ndarray]) -> None:
        torch.set_num_threads(spec.num_threads)
        bounds = spec.routing.bounds
        self.clients = range(bounds[spec.index], bounds[spec.index + 1])
        device = torch.device(spec.device)
        self.learner = Learner(spec.task, self.clients, spec.shards, test, device)
        self.block = Block(
            spec.rule, spec.routing, spec.index, self.learner.initial(), self.learner.gradient
        )
        self._reported = 0
        self._measurements: list[Measurement] = []

    def advance(self, stops: list[Stop]) -> Report:
        """Go through the stops without the help of other hosts: this one hosts all clients."""
        for stop in stops:
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
        distances = (x - mean_x).square().sum(1).double().cpu().numpy()
        seen = {}
        if evaluate:
            correct, loss = self.learner.evaluate(x, self.learner.buffers)
            n, samples = self.block.routing.num_clients, len(self.learner.test_y)
            share = slice(samples * self.clients.start // n, samples * self.clients.stop // n)
            averaged = self.learner.evaluate(mean_x[None], mean_buffers[None], share)
            seen = {
                "correct": correct.cpu().numpy(),
                "loss": loss.cpu().numpy(),
                "averaged": (*(t.item() for t in averaged), share.stop - share.start),
            }
        self._measurements.append(
            Measurement(self.block.round, time.time(), self.block.bytes_sent, distances, **seen)
        )

    def collect(self) -> Report:
        """Hand over the losses and measurements since the last report."""
        losses = self.learner.losses or [torch.empty(0, len(self.clients))[:0]]
        rounds = self.block.round - self._reported
        stacked = torch.stack(losses).double().cpu().numpy() if rounds else np.empty((0, 0))
        report = Report(self._reported, stacked, self._measurements)
        self._reported, self._measurements = self.block.round, []
        self.learner.losses.clear()
        return report

    def parameters(self) -> np.ndarray:
        """[k, params]: the hosted clients' models."""
        return self.block.x.cpu().numpy()


def mean_of(sums: list[tuple[Tensor, Tensor]], num_clients: int) -> tuple[Tensor, Tensor]:
    """The mean model and statistics of all clients from the hosts' sums, in order of hosts."""
    x, buffers = (torch.stack(parts).sum(0) / num_clients for parts in zip(*sums, strict=True))
    return x, buffers
