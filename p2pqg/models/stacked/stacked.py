"""nn.Module <-> rows [clients, params], and the gradients of all rows: where the time goes.

A row is one client's model: its parameters flattened in the order of module.parameters(). Those
that need no gradient are in no row: all clients have the template's. What BatchNorm remembers is no
parameter: it has a row of its own, [clients, buffers], and stays local.

Three strategies give the same numbers (see `Stacked.strategy`):
    batched   dense networks: products over all clients, gradient by hand      `batched.py`
    loop      one client after the other: convolutions on a CPU, texts         `loop.py`
    vmap      all clients in one vectorised call: convolutions on a GPU        `vmap.py`
On a GPU their steps are captured and replayed where that is faster, see `choosing.py`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.models._reading import Reader
from p2pqg.models.judging.losses import LOSSES, Objective
from p2pqg.models.stacked.batched import Batched, dense_layers
from p2pqg.models.stacked.captured import Captured
from p2pqg.models.stacked.lanes import Lanes
from p2pqg.models.stacked.layout import Layout
from p2pqg.models.stacked.loop import Loop, untracked
from p2pqg.models.stacked.memory import keep_freed_memory
from p2pqg.models.stacked.scaling import SCALES, Gradients, scaled
from p2pqg.models.stacked.vmap import Vmap

PRECISIONS = {
    "float32": (torch.float32, None),
    "bf16": (torch.float32, torch.bfloat16),
    "fp16": (torch.float32, torch.float16),
    "float64": (torch.float64, None),
}
"""Precision -> the type of rows, and of products where that is another."""
STRATEGIES = ("batched", "loop", "vmap")
EVALUATED_AT_ONCE = 16  # clients; with max_batch samples each, it bounds the memory


class Judged(NamedTuple):
    """What several models make of the same samples.

    Attributes:
        right: [k, samples], shares of right answers, float64; None where there are none.
        losses: [k, samples]; outputs: [k, outputs, samples].
    """

    right: Tensor | None
    losses: Tensor
    outputs: Tensor


class Stacked:
    """The models of several clients as rows, made after one template.

    Args:
        module: the template; forward maps [batch, ...] to logits [batch, classes]. It is copied.
        device: where rows live, e.g. "cpu", "cuda".
        precision: "float32"; "float64"; "bf16", "fp16": products in bfloat16 or float16, rows and
            gradients float32.
        strategy: "batched", "loop" or "vmap", for the gradients of single samples, too; None: the
            fastest for this network and device.
        objective: what is minimised; default: cross entropy.
        samples_at_once: with "vmap", the most samples (over all clients) in one pass; it bounds
            the memory for activations.

    Attributes:
        num_params: floats in a row of parameters.
        num_buffers: floats in a row of buffers; 0 without running statistics.
        strategy: the one in use.
        dtype: of the rows, by the precision.
        random: the network draws numbers in training: dropout.
        choice: how a card computes, for checkpoints and for people; None: nothing is chosen yet,
            see `choosing.py`.
        run: what computes: a strategy, or one whose steps are replayed.
        half: of 16 bits, the type that products are computed in; None: that of the rows.

    Raises:
        ConfigError: unknown precision or strategy, or one that cannot run this network.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        device: str | torch.device = "cpu",
        precision: str = "float32",
        strategy: str | None = None,
        objective: Objective | None = None,
        samples_at_once: int = 4096,
    ) -> None:
        if precision not in PRECISIONS:
            raise ConfigError(
                f"unknown precision {precision!r}{did_you_mean(precision, PRECISIONS)}"
            )
        if strategy is not None and strategy not in STRATEGIES:
            raise ConfigError(f"unknown strategy {strategy!r}{did_you_mean(strategy, STRATEGIES)}")
        self.device = torch.device(device)
        self.precision = precision
        self.dtype, half = PRECISIONS[precision]
        if self.device.type == "cpu":
            keep_freed_memory()
        self._template = copy.deepcopy(module).to(self.device, self.dtype).train()
        floats = [(n, b) for n, b in self._template.named_buffers() if b.is_floating_point()]
        self.objective = objective or Objective(LOSSES["cross-entropy"])
        trained = [(n, p) for n, p in self._template.named_parameters() if p.requires_grad]
        self._params = Layout(trained)
        self._buffers = Layout(floats)
        self.num_params, self.num_buffers = self._params.size, self._buffers.size
        self.random = any(_draws(part) for part in self._template.modules())

        layers = [] if self._has_frozen else dense_layers(self._template)
        self._layers, self._samples_at_once = layers, samples_at_once
        one_by_one = self.random or isinstance(module, Reader)  # clients differ in more than rows
        # Of single samples vmap is the fastest on a CPU, too.
        self._by_sample = "loop" if one_by_one or strategy == "loop" else "vmap"
        if strategy is None:
            on_gpu = self.device.type == "cuda"
            strategy = "batched" if layers else "vmap" if on_gpu and not one_by_one else "loop"
        if strategy == "batched" and not layers:
            raise ConfigError(
                "strategy batched needs a Sequential of Flatten, Linear and ReLU; use loop or vmap"
            )
        if strategy == "vmap" and one_by_one:
            raise ConfigError("strategy vmap cannot run texts or dropout; use loop")
        self.strategy = strategy
        if strategy == "batched":
            self._by_sample = strategy
        self._clipping: dict[str, Batched | Loop | Vmap] = {}
        self.half = half
        self.choice: tuple[str, str] | None = None
        self.use(self.run_by(strategy))

    def run_by(
        self, strategy: str, channels_last: bool | None = None, lanes: int = 0
    ) -> Batched | Loop | Vmap:
        """A strategy for this network, whether or not it is the one in use.

        Args:
            strategy: "batched", "loop" or "vmap".
            channels_last: the memory order of images; None: the usual one of the strategy.
            lanes: with "loop" on a GPU, clients side by side.
        """
        if strategy == "batched":
            return Batched(self._layers, self.half, self.objective)
        train = _without_step_counters(self._template)
        evaluate, objective = _twin(train).eval(), self.objective
        parts = (train, evaluate, self._params, self._buffers, self.half, objective)
        if strategy == "loop":
            return Loop(*parts, Lanes(lanes), channels_last is not False, self.random)
        return Vmap(*parts, self._samples_at_once, bool(channels_last))

    def use(self, run: Batched | Loop | Vmap | Captured) -> None:
        """Have gradients and answers computed so from now on."""
        self.run = run
        self._gradients: Gradients = self.gradients_by(run)

    def gradients_by(self, run: Batched | Loop | Vmap | Captured) -> Gradients:
        """The gradients of a strategy of this network, of arguments that `batch` has prepared."""
        if self.half is torch.float16:
            return partial(scaled, run.gradients)
        return run.gradients

    @property
    def scale(self) -> float:
        """The scale of the loss at which a strategy is first asked for gradients."""
        return SCALES[0] if self.half is torch.float16 else 1.0

    def batch(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets as strategies take them: on the device, of the right types."""
        return self._inputs(inputs), self._targets(targets)

    @property
    def never_alike(self) -> str:
        """Why no step can be replayed; "" if nothing is known to be against it."""
        if self.random:
            return "dropout draws anew in every step"
        if isinstance(self._template, Reader):
            return "texts differ in length"
        return ""

    @property
    def template(self) -> nn.Module:
        """The module that all models are like, on the device."""
        return self._template

    @property
    def layouts(self) -> tuple[Layout, Layout, Layout]:
        """The tensors in a row of what `gradients` returns; losses have none."""
        return Layout(()), self._params, self._buffers

    @property
    def _has_frozen(self) -> bool:
        return any(not p.requires_grad for p in self._template.parameters())

    def initial_row(self) -> Tensor:
        """The template's parameters, [params]."""
        return self._params.row(dict(self._template.named_parameters())).detach()

    def initial_buffers(self) -> Tensor:
        """The template's running statistics, [buffers]."""
        if not self.num_buffers:
            return torch.empty(0, dtype=self.dtype, device=self.device)
        return self._buffers.row(dict(self._template.named_buffers()))

    def state_dict(self, row: Tensor, buffers: Tensor | None = None) -> dict[str, Tensor]:
        """One client's model, for `module.load_state_dict`.

        Args:
            row: [params].
            buffers: [buffers]; may be left out if the model has none.
        """
        views = self._params.views(row)
        if buffers is not None:
            views |= self._buffers.views(buffers)
        state = dict(self._template.state_dict())
        for name, first in self._names():  # layers may share their tensors
            if first in views and name in state:
                state[name] = views[first]
        return {name: tensor.detach().clone() for name, tensor in state.items()}

    def unsaved(self, buffers: Tensor) -> dict[str, Tensor]:
        """One client's statistics that no state_dict has, for they are not persistent.

        Args:
            buffers: [buffers].
        """
        saved = self._template.state_dict().keys()
        views = self._buffers.views(buffers)
        return {name: view.clone() for name, view in views.items() if name not in saved}

    def _names(self) -> Iterator[tuple[str, str]]:
        """(name, first name) of each parameter and buffer, under all of its names."""
        firsts: dict[int, str] = {}
        for named in (self._template.named_parameters, self._template.named_buffers):
            for name, tensor in named(remove_duplicate=False):
                yield name, firsts.setdefault(id(tensor), name)

    def gradients(
        self,
        x: Tensor,
        buffers: Tensor,
        inputs: Tensor,
        targets: Tensor,
        keys: Sequence[int] | None = None,
        clip: float = math.inf,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Each client's mean loss on its own batch, and the gradient of it.

        A pure function: nothing is written in place.

        Args:
            x: [k, params].
            buffers: [k, buffers].
            inputs: [k, batch, ...].
            targets: [k, batch], class indices; or numbers or labels [k, batch, ...].
            keys: [k], 0 .. 2**63 - 1: all that dropout depends on; needed if `random`.
            clip: largest length of what one sample adds; then there must be no batch statistics.

        Returns:
            losses [k], gradients [k, params], buffers after the step [k, buffers].
        """
        batch = self.batch(inputs, targets)
        more = {"keys": keys} if self.random else {}
        assert keys is not None or not self.random, "dropout needs keys, or packings would differ"
        if clip == math.inf:
            return self._gradients(x, buffers, *batch, **more)
        try:
            return self._clipped(clip)(x, buffers, *batch, **more)
        except RuntimeError:
            if self._by_sample == "loop":
                raise
            self._by_sample = "loop"  # a network that looks at values
            return self._clipped(clip)(x, buffers, *batch, **more)

    def _clipped(self, clip: float) -> Gradients:
        if self._by_sample not in self._clipping:
            self._clipping[self._by_sample] = self.run_by(self._by_sample)
        gradients = partial(self._clipping[self._by_sample].gradients, clip=clip)
        return partial(scaled, gradients) if self.half is torch.float16 else gradients

    def evaluate(
        self, x: Tensor, buffers: Tensor, inputs: Tensor, targets: Tensor, max_batch: int = 512
    ) -> tuple[Tensor, Tensor]:
        """Every client's model on the same samples, in evaluation mode.

        Args:
            x: [k, params].
            buffers: [k, buffers].
            inputs: [samples, ...].
            targets: [samples], class indices; or numbers or labels [samples, ...].
            max_batch: samples in one pass; bounds the memory. It changes the numbers only of
                models that use batch statistics in evaluation (resnet20-evonorm-official).

        Returns:
            number of correct answers [k], float64 (NaN where there are none), and mean loss [k].
        """
        correct = torch.zeros(len(x), dtype=torch.float64, device=self.device)
        loss = torch.zeros(len(x), dtype=torch.float64, device=self.device)
        for batch, target in zip(inputs.split(max_batch), targets.split(max_batch), strict=True):
            for start in range(0, len(x), EVALUATED_AT_ONCE):
                rows = slice(start, start + EVALUATED_AT_ONCE)
                judged = self.judge(x[rows], buffers[rows], batch, target)
                correct[rows] += torch.nan if judged.right is None else judged.right.sum(1)
                loss[rows] += judged.losses.sum(1)
        return correct, (loss / len(targets)).to(self.dtype)

    def judge(self, x: Tensor, buffers: Tensor, inputs: Tensor, targets: Tensor) -> Judged:
        """Every row's model on the same few samples, in evaluation mode; arguments as `evaluate`.

        Raises:
            UserCodeError: a user's loss failed.
        """
        with untracked(self.run.run if isinstance(self.run, Captured) else self.run):
            batch, target = self.batch(inputs, targets)
            logits = self.run.logits(x, buffers, batch)  # [k, outputs, samples]
            if self.objective.is_cross_entropy:
                each = target.expand(len(logits), -1)  # [k, samples]
                guess = logits.max(1).indices  # a quarter of the time of argmax
                losses = F.cross_entropy(logits, each, reduction="none")
                return Judged((guess == each).double(), losses, logits)
            outputs = logits.transpose(1, 2)
            losses = torch.stack([self.objective.each(own, target) for own in outputs])
            right = [self.objective.right(own, target) for own in outputs]
            hits = None if right[0] is None else torch.stack(right).double()
            return Judged(hits, losses, logits)

    def _inputs(self, inputs: Tensor) -> Tensor:
        dtype = self.dtype if inputs.is_floating_point() else inputs.dtype  # tokens stay integers
        return inputs.to(self.device, dtype)

    def _targets(self, targets: Tensor) -> Tensor:
        return self.objective.cast(targets.to(self.device), self.dtype)


def batch_statistics(module: nn.Module) -> str | None:
    """The name of a layer in which the samples of a batch meet, or that remembers them."""
    for name, part in module.named_modules():
        norm = isinstance(part, nn.modules.batchnorm._NormBase)
        if isinstance(part, nn.modules.batchnorm._BatchNorm) or (
            norm and part.running_mean is not None
        ):
            return f"{name} ({type(part).__name__})"
    return None


def _draws(part: nn.Module) -> bool:
    """Whether a layer draws numbers in training."""
    if isinstance(part, nn.modules.dropout._DropoutNd):
        return part.p > 0
    return bool(getattr(part, "draws_in_training", False))


def _twin(module: nn.Module) -> nn.Module:
    """A copy of the modules that has the same tensors: they may be large."""
    tensors = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def _without_step_counters(module: nn.Module) -> nn.Module:
    """A twin whose BatchNorms do not count steps: they use the count only if momentum is None.

    Those of several processes insist on it.
    """
    module = _twin(module)
    for part in module.modules():
        if isinstance(part, nn.SyncBatchNorm):
            continue
        if isinstance(part, nn.modules.batchnorm._NormBase):
            part.num_batches_tracked = None
    return module
