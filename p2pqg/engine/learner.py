"""What k clients learn from: their shards, samplers and models; gradients, and a judge.

Knows nothing of networks. The parameters belong to the algorithm (and come in as rows); the
batch-norm statistics, which never travel, belong here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.attacks import label_flip
from p2pqg.base.seeding import rng
from p2pqg.base.uploading import uploaded
from p2pqg.data.feeding import STEPS_AHEAD
from p2pqg.data.feeding.file_feed import FileFeed
from p2pqg.engine.feeds import feed_of
from p2pqg.engine.judge import EVALUATION_SAMPLES, Judge, own_mix
from p2pqg.engine.noise import Noise
from p2pqg.engine.parts import PART_BYTES
from p2pqg.engine.spec import Shards, Task
from p2pqg.engine.waves.computed import Computed
from p2pqg.models._capture import OFF, Capture
from p2pqg.models.stacked.batched import clients_per_product
from p2pqg.models.stacked.choosing import Choice, Examples, choose, eagerly
from p2pqg.models.stacked.probe import tried_elsewhere
from p2pqg.models.stacked.stacked import Stacked
from p2pqg.models.stacked.trying import Job, Tried

INPUT_BYTES = 2**26
NOISE_BYTES = 2**25
CLIENTS_AT_ONCE = 256
"""Inputs of so many bytes, noise of so many, and of so many clients, are prepared at once."""


class Losses:
    """Rows [k] in one tensor, one after the other.

    Small tensors of their own would outlive their rounds, scattered among the large ones, and the
    heap would grow: by 90 MB in 500 rounds of 32 small models.
    """

    def __init__(self, num_clients: int, dtype: torch.dtype, device: torch.device) -> None:
        self._rows = torch.empty(STEPS_AHEAD, num_clients, dtype=dtype, device=device)
        self._length = 0
        self._first = 0

    def __len__(self) -> int:
        return self._length

    def of(self, step: int) -> Tensor:
        """[k], of the gradients of a step, to be written to; steps come in order, or again."""
        if self._length == 0:
            self._first = step
        row = step - self._first
        if row == len(self._rows):
            self._rows = torch.cat([self._rows, torch.empty_like(self._rows)])
        self._length = max(self._length, row + 1)
        return self._rows[row]

    def take(self) -> np.ndarray:
        """[rows, k], float64; they are forgotten here."""
        rows = self._rows[: self._length].to(torch.float64, copy=True)
        self._length = 0
        return rows.cpu().numpy()


class Learner:
    """k clients' data and models.

    Attributes:
        buffers: [k, buffers], each client's own batch-norm statistics.
        losses: the clients' losses, of each gradient drawn and not yet taken.
        judge: says how models do on the test set.
        flipped: bool [k], who learns from flipped labels; None: nobody.
        wish: how gradients were computed before the run was interrupted; "": nothing is known.
        own_pace: each client makes its steps when it can; then any number of them come together.
    """

    own_pace = False

    def __init__(
        self,
        task: Task,
        clients: range,
        shards: Shards,
        test: tuple[np.ndarray, np.ndarray],
        device: torch.device,
        capture: Capture = OFF,
    ) -> None:
        self.task = task
        self.capture, self.wish = capture, ""
        self.clients = clients
        self.device = device
        model = task.model.build(task.num_classes, task.input_shape, task.seed)
        self.stacked = Stacked(
            model,
            device=device,
            precision=task.precision,
            strategy=task.model.strategy,
            objective=task.objective,
        )
        self.dtype = self.stacked.dtype
        if not capture.concerns(str(device)):
            self.stacked.choice = "", ""
        self.feed = feed_of(task, shards, test, clients, device, self.dtype)
        self.buffers = self.stacked.initial_buffers().repeat(len(clients), 1)
        self.losses = Losses(len(clients), self.dtype, device)
        self.flipped: Tensor | None = None
        self._noise = Noise(task.seed, "privacy", device)
        mix = own_mix(shards, test[1], task).to(device) if task.own_test else None
        self.judge = Judge(self.stacked, self.feed, task, mix)

    def fork(self) -> Learner:
        """Another learner on the same samples, which nobody changes; with statistics of its own."""
        twin = copy.copy(self)
        twin.feed = self.feed.fork()
        twin.judge = replace(self.judge, feed=twin.feed)
        twin.buffers = self.buffers.clone()
        twin.losses = Losses(len(self.buffers), self.dtype, self.device)
        twin._noise = Noise(self.task.seed, "privacy", self.device)
        return twin

    def initial(self) -> Tensor:
        """[k, params]: all clients start from the same model."""
        return self.stacked.initial_row().repeat(len(self.buffers), 1)

    def gradient(
        self,
        x: Tensor,
        step: int,
        again: bool = False,
        number: int | None = None,
        part: slice = slice(None),
    ) -> Tensor:
        """Each client's gradient on its batch number `step`, weight decay included.

        Args:
            x: [clients of the part, params].
            step: of them all.
            again: the batch was used before: neither losses nor statistics are kept.
            number: of the gradient: what is private has noise of its own for each; None: the step.
            part: whose gradients; all of them.
        """
        buffers = self.buffers
        losses = self._scratch if again else self.losses.of(step)
        g = self._gradient(x, step, part, losses, step if number is None else number)
        if again:
            self.buffers = buffers
        return g

    @property
    def way(self) -> str:
        """How gradients are computed, for a checkpoint; "" where there was nothing to choose."""
        return self.stacked.choice[0] if self.stacked.choice else self.wish

    def settled(self, x: Tensor, step: int) -> str:
        """The way, for people; chosen now if it has not been yet, by these rows and that batch."""
        if self.stacked.choice is None:
            self.stacked.choice = self._chosen(x, step)
        return self.stacked.choice[1]

    def _chosen(self, x: Tensor, step: int) -> Choice:
        if self.task.privacy.limit < math.inf:
            return eagerly("they are clipped sample by sample")
        k, few = len(x), self._few
        part = slice(0, min(k, few))
        batch = self.stacked.batch(*self.feed.batch(step, part))
        passes = {
            min(EVALUATION_SAMPLES, self.judge.num_test),
            self.judge.num_test % EVALUATION_SAMPLES,
        }
        tests = tuple(
            self.stacked.batch(*self.feed.test(slice(0, samples)))[0]
            for samples in sorted(passes - {0}, reverse=True)
        )
        rest = k % few if k > few else 0
        examples = Examples(
            (x[part], self.buffers[part], *batch),
            rest,
            tests,
            self.task.model.strategy != "loop",
            self.own_pace,
        )
        return choose(self.stacked, examples, self.capture, self.wish, self._attempt)

    @property
    def _attempt(self) -> Callable[[Job], list[Tried]] | None:
        """Tries the ways of a job in a process that need not have a user's files; None: it has."""
        if not self.capture.session:
            return None
        from p2pqg.engine.on_ray.carry import by_value  # brings Ray

        return partial(tried_elsewhere, pickling=by_value(self.task.entries))

    @property
    def _scratch(self) -> Tensor:
        """[k]: losses that nobody reads."""
        return torch.empty(len(self.clients), dtype=self.dtype, device=self.device)

    def _gradient(self, x: Tensor, step: int, part: slice, losses: Tensor, number: int) -> Tensor:
        """Gradients of a few clients after the others, if they are many; fills in losses [k]."""
        self.settled(x, step)
        few, first = self._few, part.start or 0
        if few >= len(x):
            return self._of_few(x, part, step, losses, number)
        g = torch.empty_like(x)  # a few at a time stay in the cache, and bound the memory
        for i in range(0, len(x), few):
            here = slice(i, min(i + few, len(x)))
            those = slice(first + here.start, first + here.stop)
            g[here] = self._of_few(x[here], those, step, losses, number)
        return g

    @cached_property
    def _few(self) -> int:
        """How many clients' inputs are prepared at once."""
        sample = math.prod(self.task.input_shape) * self.dtype.itemsize
        return min(CLIENTS_AT_ONCE, max(1, INPUT_BYTES // (self.task.batch_size * sample)))

    @property
    def at_once(self) -> int | None:
        """How many clients may play a round together where there are many; None: all have to."""
        if self.device.type != "cpu" or isinstance(self.feed, FileFeed):
            return None  # decoding is a step ahead of all
        fitting = PART_BYTES // (self.stacked.num_params * self.dtype.itemsize)
        if self.stacked.strategy == "batched":  # whole products, so that their numbers stay
            product = clients_per_product()
            fitting = max(1, fitting // product) * product
        return max(1, min(self._few, fitting))

    def _of_few(self, x: Tensor, part: slice, step: int, losses: Tensor, number: int) -> Tensor:
        """Gradients of a few clients; notes their losses and statistics."""
        inputs, targets = self.feed.batch(step, part)
        if self.flipped is not None:
            flipped = label_flip(targets, self.task.num_classes)
            here = self.flipped[part].view(-1, *[1] * (targets.dim() - 1))
            targets = torch.where(here, flipped, targets)
        keys = self._keys(step, part)
        losses[part], g, buffers = self.stacked.gradients(
            x, self.buffers[part], inputs, targets, keys, self.task.privacy.limit
        )
        if self.stacked.num_buffers:
            self.buffers = buffers if part == slice(None) else self._with(part, buffers)
        if self.task.privacy.sigma:
            self._add_noise(g, [(client, number) for client in self.clients[part]], ahead=True)
        return g.add_(x, alpha=self.task.weight_decay) if self.task.weight_decay else g

    def gradient_of(self, x: Tensor, rows: np.ndarray, steps: np.ndarray) -> Computed:
        """The gradients of some clients, each at a step of its own.

        Neither losses nor statistics are kept here: they come with the gradients.

        Args:
            x: [rows, params], where each gradient is taken.
            rows: int64 [rows], whose.
            steps: int64 [rows], which of each one's batches.
        """
        if self.stacked.choice is None:
            self.settled(self.initial(), 0)
        some = self._few
        if len(rows) <= some:
            return self._of_rows(x, rows, steps)
        parts = [slice(i, i + some) for i in range(0, len(rows), some)]
        done = [self._of_rows(x[part], rows[part], steps[part]) for part in parts]
        more = {name: torch.cat([one.more[name] for one in done]) for name in done[0].more}
        return Computed(torch.cat([one.g for one in done]), more)

    def _of_rows(self, x: Tensor, rows: np.ndarray, steps: np.ndarray) -> Computed:
        inputs, targets = self.feed.batch_of(rows, steps)
        keys = None
        if self.stacked.random:
            at = zip(rows.tolist(), steps.tolist(), strict=True)
            keys = [self._key(self.clients[row], step) for row, step in at]
        buffers = self.buffers[: len(rows)]  # empty rows, without statistics
        if self.stacked.num_buffers:
            buffers = self.buffers.index_select(0, uploaded(torch.from_numpy(rows), self.device))
        limit = self.task.privacy.limit
        losses, g, buffers = self.stacked.gradients(x, buffers, inputs, targets, keys, limit)
        if self.task.privacy.sigma:
            at = zip(rows.tolist(), steps.tolist(), strict=True)
            self._add_noise(g, [(self.clients[row], step) for row, step in at], ahead=False)
        if self.task.weight_decay:
            g = g.add_(x, alpha=self.task.weight_decay)
        more = {"loss": losses} | ({"buffers": buffers} if self.stacked.num_buffers else {})
        return Computed(g, more)

    def _add_noise(self, g: Tensor, keys: Sequence[tuple[int, int]], ahead: bool) -> None:
        """Add noise of each row's own client and gradient, and of nothing else; in place."""
        privacy, each = self.task.privacy, max(1, NOISE_BYTES // g[:1].nbytes)
        deviation = privacy.sigma * privacy.limit / self.task.batch_size
        for i in range(0, len(g), each):
            some = g[i : i + each]
            normal = self._noise.rows(keys[i : i + each], g.shape[1], g.dtype, ahead)
            some.add_(uploaded(normal, some), alpha=deviation)

    def _keys(self, step: int, part: slice) -> list[int] | None:
        """What dropout depends on, of clients at one step."""
        if not self.stacked.random:
            return None
        return [self._key(client, step) for client in self.clients[part]]

    def _key(self, client: int, step: int) -> int:
        """What dropout depends on: the seed, the client and the step, and nothing else."""
        return int(rng(self.task.seed, "dropout", client, step).integers(2**63))

    def _with(self, part: slice, buffers: Tensor) -> Tensor:
        """All statistics, those of a part replaced; never in place, others may hold the old."""
        changed = self.buffers.clone()
        changed[part] = buffers
        return changed
