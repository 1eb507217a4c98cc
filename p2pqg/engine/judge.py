"""How models do on the test set: accuracy, loss, and whatever else is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from p2pqg.data.feeding.feed import Feed
from p2pqg.engine.spec import Shards, Task
from p2pqg.models.stacked.stacked import EVALUATED_AT_ONCE, Stacked

CORRECT, LOSS = ".correct", ".loss"
"""Names that no metric of the user's can have: those begin with a letter."""
EVALUATION_SAMPLES = 512
"""Test samples per forward pass of one client."""


@dataclass(frozen=True, eq=False)
class Judge:
    """Judges rows of models.

    Attributes:
        stacked: computes them.
        feed: has the test set, with the validation set behind it.
        task: says what is measured.
        own_mix: [k, classes], each client's own mix of labels; None: nobody asks.
    """

    stacked: Stacked
    feed: Feed
    task: Task
    own_mix: Tensor | None

    @property
    def num_test(self) -> int:
        """Samples of the test set; those of the validation set come after them."""
        return len(self.feed.test_y) - self.task.num_validation

    def share(self, clients: range, num_clients: int) -> slice:
        """The test samples on which the host of those clients judges the averaged model.

        Whole passes, the same ones in every hosting: in batch statistics the samples of one meet.
        """
        passes = math.ceil(self.num_test / EVALUATION_SAMPLES)
        first, last = (passes * end // num_clients for end in (clients.start, clients.stop))
        return slice(first * EVALUATION_SAMPLES, min(last * EVALUATION_SAMPLES, self.num_test))

    def evaluate(self, x: Tensor, buffers: Tensor, samples: slice) -> tuple[Tensor, Tensor]:
        """Correct answers and summed loss of every row's model on test samples, both [rows]."""
        judged = self._judge(x, buffers, samples)
        return judged[CORRECT], judged[LOSS]

    def examine(self, x: Tensor, buffers: Tensor) -> tuple[Tensor, Tensor, dict[str, np.ndarray]]:
        """What the clients' models do on the whole test set, and all else that is measured.

        Returns:
            correct answers [k], summed loss [k], and `Task.measures` by name, [k] each.
        """
        task, more = self.task, {}
        if task.num_validation:
            held_out = self._judge(x, buffers, slice(self.num_test, len(self.feed.test_y)))
            more["validation_accuracy"] = held_out[CORRECT] / task.num_validation
            more["validation_loss"] = held_out[LOSS] / task.num_validation
        groups = [slice(i, i + EVALUATED_AT_ONCE) for i in range(0, len(x), EVALUATED_AT_ONCE)]
        found = [
            self._judge(x[rows], buffers[rows], slice(0, self.num_test), self._mix(rows), True)
            for rows in (groups if task.metrics else [slice(None)])
        ]
        judged = {name: torch.cat([part[name] for part in found]) for name in found[0]}
        correct, loss = judged.pop(CORRECT), judged.pop(LOSS)
        more |= judged
        return correct, loss, {name: more[name].cpu().numpy() for name in task.measures}

    def _mix(self, rows: slice) -> Tensor | None:
        return None if self.own_mix is None else self.own_mix[rows]

    def metrics_of(self, x: Tensor, buffers: Tensor) -> dict[str, float]:
        """Metrics of one model, [1, params], on the whole test set."""
        if not self.task.metrics:
            return {}
        judged = self._judge(x, buffers, slice(0, self.num_test), None, True)
        return {metric.name: judged[metric.name].item() for metric in self.task.metrics}

    def _judge(
        self,
        x: Tensor,
        buffers: Tensor,
        samples: slice,
        mix: Tensor | None = None,
        measure: bool = False,
    ) -> dict[str, Tensor]:
        """Sums over the samples, CORRECT and LOSS; with a mix or metrics these, too: [rows].

        Args:
            x: [rows, params].
            buffers: [rows, buffers].
            samples: of the test set.
            mix: [rows, classes], how much an answer counts.
            measure: compute the metrics.
        """
        zeros = torch.zeros(len(x), dtype=torch.float64, device=self.stacked.device)
        is_own, broken = self.task.objective.is_own, zeros.bool()
        correct, loss, own, weight = (zeros.clone() for _ in range(4))
        outputs: list[Tensor] = []
        for first in range(samples.start, samples.stop, EVALUATION_SAMPLES):
            part = slice(first, min(first + EVALUATION_SAMPLES, samples.stop))
            inputs, targets = self.feed.test(part)
            seen = []
            for start in range(0, len(x), EVALUATED_AT_ONCE):
                rows = slice(start, start + EVALUATED_AT_ONCE)
                judged = self.stacked.judge(x[rows], buffers[rows], inputs, targets)
                correct[rows] += math.nan if judged.right is None else judged.right.sum(1)
                loss[rows] += judged.losses.double().sum(1)
                if is_own:  # it may be no number where the model's answer is one
                    broken[rows] |= ~judged.outputs.isfinite().flatten(1).all(1)
                if mix is not None and judged.right is not None:
                    counts = mix[rows][:, targets]
                    own[rows] += (judged.right * counts).sum(1)
                    weight[rows] += counts.sum(1)
                seen.append(judged.outputs)
            if measure and self.task.metrics:
                outputs.append(torch.cat(seen))
        # Such a model answers the first class, which is no accuracy.
        broken = loss.isnan() & broken if is_own else loss.isnan()
        found = {CORRECT: correct.masked_fill_(broken, math.nan), LOSS: loss}
        if mix is not None:
            found["personal_accuracy"] = (own / weight).masked_fill_(broken, math.nan)
        if outputs:
            found |= self._metrics(torch.cat(outputs, 2), self.feed.test_y[samples], broken)
        return found

    def _metrics(self, outputs: Tensor, targets: Tensor, broken: Tensor) -> dict[str, Tensor]:
        """The metrics of outputs [rows, outputs, samples]: name -> [rows], float64.

        NaN for rows that are `broken`, bool [rows]: of no numbers a metric makes any, or fails.
        """
        objective = self.task.objective
        targets = objective.cast(targets, self.stacked.dtype).cpu()
        rows = [
            None if is_broken else own.T.contiguous()
            for own, is_broken in zip(outputs.cpu(), broken.tolist(), strict=True)
        ]
        return {
            metric.name: torch.tensor(
                [math.nan if own is None else metric(own, targets, objective) for own in rows],
                dtype=torch.float64,
            )
            for metric in self.task.metrics
        }


def own_mix(shards: Shards, test_y: np.ndarray, task: Task) -> Tensor:
    """[k, classes]: the share of a class at a client, by its share of the test set.

    Answers weighted like this give the accuracy on a test set with the client's own mix of labels,
    as large as the common one. Classes that the test set has not count for nothing.
    """
    classes = task.num_classes
    common = np.bincount(test_y[: len(test_y) - task.num_validation], minlength=classes)
    parts = np.split(shards.y, np.cumsum(shards.sizes)[:-1])
    own = np.stack([np.bincount(part, minlength=classes) for part in parts])
    weights = np.where(common > 0, own / np.maximum(common, 1), 0.0)
    return torch.from_numpy(weights)
