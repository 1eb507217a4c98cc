"""What a host is told and what it reports: plain data (arrays, names, numbers).

So any process can build the same host, and the driver, which never sees a tensor, needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from p2pqg.algorithms.privacy import Privacy
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry
from p2pqg.engine.clock import Span
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.engine.traffic import Traffic
from p2pqg.engine.waves.routing import WaveRouting
from p2pqg.models._blueprint import Blueprint
from p2pqg.models._capture import OFF, Capture
from p2pqg.models.judging.losses import Objective
from p2pqg.models.judging.metrics import Metric

AnyRouting = Routing | WaveRouting
"""The network as blocks see it whose clients wait for each other, or do not."""


@dataclass(frozen=True)
class Task:
    """What all clients do: the model, how batches become inputs, how gradients are regularised.

    Attributes:
        num_classes: numbers that the model returns for a sample.
        metrics: what is measured beside accuracy and loss.
        num_validation: so many samples at the end of the test set are the validation set.
        own_test: each model is also judged on the mix of labels that its client has.
    """

    model: Blueprint
    num_classes: int
    input_shape: tuple[int, ...]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    augmentation: str | None
    batch_size: int
    weight_decay: float
    precision: str
    seed: int
    objective: Objective
    metrics: tuple[Metric, ...] = ()
    num_validation: int = 0
    own_test: bool = False
    privacy: Privacy = Privacy()

    @property
    def dtype(self) -> torch.dtype:
        """The type of the models' rows."""
        return torch.float64 if self.precision == "float64" else torch.float32

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Whatever may be a user's own code."""
        return (self.model.entry, self.objective.entry, *(m.entry for m in self.metrics))

    @property
    def measures(self) -> tuple[str, ...]:
        """Columns of clients.parquet beside accuracy and loss, means of which are in the rows."""
        accuracies = self.objective.has_accuracy
        found = ["validation_accuracy"] if self.num_validation and accuracies else []
        found += ["validation_loss"] if self.num_validation else []
        found += ["personal_accuracy"] if self.own_test else []
        return (*found, *(metric.name for metric in self.metrics))


@dataclass(frozen=True)
class Shards:
    """The hosted clients' own samples, one client after the other.

    Attributes:
        x: [samples, ...]; y: [samples], int64, or numbers or labels [samples, ...].
        sizes: [k], samples of each client.
    """

    x: np.ndarray
    y: np.ndarray
    sizes: np.ndarray


@dataclass(frozen=True)
class HostSpec:
    """All that one host is made of, except the test set (which all share).

    Attributes:
        own_network: a user's function of the round, which must travel with it.
        capture: whether gradients are replayed from captured steps.
    """

    index: int
    rule: Rule
    routing: AnyRouting
    task: Task
    shards: Shards
    device: str
    num_threads: int
    profile: bool = False
    own_network: Entry | None = None
    capture: Capture = OFF


class Stop(NamedTuple):
    """Run until `round` rounds are done; then perhaps measure, perhaps evaluate too."""

    round: int
    measure: bool = False
    evaluate: bool = False


class Measurement(NamedTuple):
    """What one host saw at a stop; its clients' part of it.

    Attributes:
        exchanges: times that rows were mixed, since the start.
        distances: [k], squared distance of each client's model to the mean of all.
        drift: how far imperfect mixing has moved that mean since the start.
        correct, loss: [k], each client's model on the full test set: right answers, summed loss.
        alike: what all hosts have in common where all clients have the very same model, of which
            rounding says that they are a little apart from their mean; None: they have not; (): no
            client of this host counts.
        averaged: the averaged model on this host's share of the test set: right answers, summed
            loss, samples.
        step: batches that each client has drawn; gradients: that each has computed; most_on_batch:
            on one of them.
        honest_distances: [k], as `distances`, to the mean of those that did not lie in the round;
            None: nobody lied.
        more: [k] each, by name: see `Task.measures`; averaged_more: metrics of the averaged model,
            which the first host tells.
    """

    round: int
    time: float
    bytes_sent: float
    exchanges: int
    distances: np.ndarray
    drift: float = 0.0
    correct: np.ndarray | None = None
    loss: np.ndarray | None = None
    averaged: tuple[float, float, int] | None = None
    step: int = 0
    gradients: int = 0
    most_on_batch: int = 0
    honest_distances: np.ndarray | None = None
    more: dict[str, np.ndarray] | None = None
    averaged_more: dict[str, float] | None = None
    alike: tuple[int, ...] | None = None


class Report(NamedTuple):
    """What one host did since the last report.

    Attributes:
        losses: [rounds, k].
        traffic: of each round.
        spans: where the time went, if the run is profiled.
    """

    first_round: int
    losses: np.ndarray
    traffic: list[Traffic]
    measurements: list[Measurement]
    spans: list[Span]
