"""A host: one block and its learner, with what a driver may ask of them. Engines move hosts."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.engine.block import Block
from p2pqg.engine.clock import Clock
from p2pqg.engine.learner import Learner
from p2pqg.engine.spec import HostSpec, Measurement, Report, Stop


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
                self.measure(self.mean([self.sums()]), stop.evaluate)
        return self.collect()

    def sums(self) -> tuple[Tensor, Tensor]:
        """Sum of the hosted models [params], and of their batch-norm statistics [buffers]."""
        return self.block.x.sum(0), self.learner.buffers.sum(0)

    def mean(self, sums: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The mean model and statistics of all clients from all hosts' sums, in order of hosts."""
        n = self.block.routing.num_clients
        x, buffers = (torch.stack(parts).sum(0) / n for parts in zip(*sums, strict=True))
        return x, buffers

    def measure(self, mean: tuple[Tensor, Tensor], evaluate: bool) -> None:
        """Note how far the models are from the mean of all and, if asked, how well they do."""
        x, (mean_x, mean_buffers) = self.block.x, mean
        with self.clock("recording"):
            distances = (x - mean_x).square().sum(1).double().cpu().numpy()
        seen = {}
        if evaluate:
            seen = self._evaluate(x, mean_x, mean_buffers)
        self._measurements.append(
            Measurement(
                self.block.round,
                time.time(),
                self.block.bytes_sent,
                self.block.exchanges,
                distances,
                **seen,
            )
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
        drawn = self.learner.losses.take()
        rounds = np.array(self._loss_rounds) - self._reported
        self._loss_rounds.clear()
        if len(drawn) in (0, self.block.round - self._reported):
            return drawn
        starts = np.flatnonzero(np.diff(rounds, prepend=-1))
        return np.add.reduceat(drawn, starts) / np.diff(starts, append=len(drawn))[:, None]

    def parameters(self) -> np.ndarray:
        """[k, params]: the hosted clients' models."""
        return self.block.x.cpu().numpy()
