"""Gradients of a user's model by each of our strategies, compared with those of plain PyTorch."""

from __future__ import annotations

import copy
import math
import warnings
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from p2pqg.base.draws import torch_keyed
from p2pqg.base.errors import ConfigError, P2pqgError, UserCodeError
from p2pqg.base.seeding import rng
from p2pqg.base.source import blamed
from p2pqg.models._blueprint import load_into
from p2pqg.models.judging import Objective, in_columns
from p2pqg.models.stacked.apart import LEAST, TOLERANCE, apart
from p2pqg.models.stacked.layout import Layout
from p2pqg.models.stacked.stacked import Stacked, batch_statistics
from p2pqg.recipe.settings import RunConfig

UNLIKE = 0.03
"""How unlike the two clients are, relative to each weight; what is off by as much is not rounding.

So who computes a part of one client's gradient with the weights of another is found out.
"""
NOT_ZERO = 1e-3
"""The same for weights that are 0, relative to the mean size of a weight."""


FEW = 4
"""Samples of each client, where each has a gradient of its own."""


class AgainstPyTorch:
    """The gradients of two unlike clients, by plain PyTorch and by a strategy.

    Where they are private, they are those that are clipped sample by sample.
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        config: RunConfig,
        inputs: Tensor,
        targets: Tensor,
    ) -> None:
        self.module, self.objective, self.config = module, objective, config
        # Private gradients and batch statistics do not go together, which is told later.
        self.clip = math.inf if batch_statistics(module) else config.privacy.limit
        few = slice(None) if self.clip == math.inf else slice(FEW)
        self.inputs, self.targets = inputs[:, few], targets[:, few]
        self.plain: tuple[Tensor, Tensor, Tensor] | None = None
        self.rounding = torch.float64 if config.precision == "float64" else torch.float32

    def differ(self, strategy: str) -> str:
        """What is wrong with a strategy; "" if nothing is."""
        if not (wrong := self._differ(strategy)):
            return ""
        # In deep networks with batch normalisation float32's rounding may grow to as much, and in
        # any that computes in 16 bits within.
        with suppress(Exception):  # who cannot compute in float64 differs
            return self._in_float64._differ(strategy)
        if self.config.precision == "float64":
            return wrong
        return self._differ(strategy, tensors=False)  # rounding may be all that a small one has

    @cached_property
    def _in_float64(self) -> AgainstPyTorch:
        config = replace(self.config, precision="float64")
        batch = (self.inputs, self.targets)
        inputs, targets = (t.double() if t.is_floating_point() else t for t in batch)
        module = in_float64(self.module)
        found = AgainstPyTorch(module, self.objective, config, inputs, targets)
        if self.objective.is_own:
            with torch_keyed(1), torch.no_grad():
                outputs = in_columns(copy.deepcopy(module)(inputs[0].clone()))
            try:
                self.objective.each(outputs, targets[0])
            except UserCodeError:  # as with weights of classes in float32
                found.objective = _InFloat32(**vars(self.objective))
                found.rounding = torch.float32
        return found

    def _differ(self, strategy: str, tensors: bool = True) -> str:
        """As `differ`; with `tensors` one after the other, too: a small one is little of all."""
        exact = "float64" if self.config.precision == "float64" else "float32"
        stacked = Stacked(self.module, precision=exact, strategy=strategy, objective=self.objective)
        row = stacked.initial_row()
        noise = rng(0, "trial").standard_normal((len(self.inputs), len(row)))
        apart = (UNLIKE * row).abs().clamp(min=NOT_ZERO * row.abs().mean())
        x = row + apart * torch.from_numpy(noise).to(row)
        buffers = stacked.initial_buffers().repeat(len(x), 1)
        keys = [7] * len(x) if stacked.random else None
        try:
            with warnings.catch_warnings():  # what vmap is slow at, many do without
                warnings.filterwarnings("ignore", "There is a performance drop")
                given = (x, buffers, self.inputs, self.targets, keys, self.clip)
                found, again = stacked.gradients(*given), stacked.gradients(*given)
        except P2pqgError as error:
            if strategy == "loop":
                raise
            return str(error)  # such as a loss that looks at values
        except Exception as error:
            if strategy == "loop":
                raise ConfigError(blamed(error, "model, in training")) from error
            return blamed(error, strategy)
        if self.plain is None:
            self.plain = self._plainly(stacked, x, buffers, keys)
        names = ("losses", "gradients", "running statistics")
        layouts = stacked.layouts if tensors else (Layout(()),) * len(names)
        for name, layout, mine, twice, theirs in zip(
            names, layouts, found, again, self.plain, strict=True
        ):
            if self._unlike(mine, twice, layout) is not None:
                return f"its {name} are others when the same batch comes again"
            if (where := self._unlike(mine, theirs, layout)) is not None:
                return f"its {name} are not those of plain PyTorch{where}"
        return ""

    def _unlike(self, mine: Tensor, theirs: Tensor, layout: Layout) -> str | None:
        """Where rows [clients, ...] differ by more than rounding: "", all in all; None: nowhere."""
        share = TOLERANCE[self.rounding]
        if not close(mine, theirs, share):
            return ""
        for name, off in apart(mine, theirs, layout, self.rounding).items():
            if not off <= share:
                return f" in {name}"
        return None

    def _plainly(
        self, stacked: Stacked, x: Tensor, buffers: Tensor, keys: list[int] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        found: list[tuple[Any, ...]] = []
        apart = None if self.clip == math.inf else 1  # samples together, or one after the other
        for client, row in enumerate(x):
            model = copy.deepcopy(self.module).train()
            load_into(model, stacked.state_dict(row, buffers[client]))
            trained = [p for p in model.parameters() if p.requires_grad]
            batch = [self.inputs[client].clone(), self.targets[client]]
            losses, gradients = [], []
            with torch_keyed(keys[client] if keys else None):
                for some, aims in zip(*(t.split(apart or len(t)) for t in batch), strict=True):
                    outputs = in_columns(model(some)).to(row.dtype)
                    loss = self.objective.mean(outputs, aims)
                    parts = torch.autograd.grad(loss, trained, materialize_grads=True)
                    g = torch.cat([part.reshape(-1) for part in parts])
                    losses.append(loss.detach())
                    gradients.append(g * (self.clip / g.norm()).clamp(max=1) if apart else g)
            floats = [b.detach().reshape(-1) for b in model.buffers() if b.is_floating_point()]
            after = torch.cat(floats) if floats else buffers[client]
            found.append((torch.stack(losses).mean(), torch.stack(gradients).mean(0), after))
        of_all = (torch.stack(parts) for parts in zip(*found, strict=True))
        return next(of_all), next(of_all), next(of_all)


def in_float64(module: nn.Module) -> nn.Module:
    """A copy that computes in float64, also what it asks to be in fewer digits within."""
    module = copy.deepcopy(module).double()
    kind = type(module)
    module.__class__ = type(kind.__name__, (_Exact, kind), {"__module__": kind.__module__})
    return module


class _Exact(nn.Module):
    """Before a class of modules: what it computes in fewer digits within, it does in float64."""

    def forward(self, *inputs: Any) -> Any:
        with _NothingNarrow():
            return super().forward(*inputs)


class _NothingNarrow(TorchDispatchMode):
    """Inside, who asks for floats of 16 or 32 bits is given those of 64."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        wide = {name: self._wide(value) for name, value in (kwargs or {}).items()}
        return func(*map(self._wide, args), **wide)

    @staticmethod
    def _wide(value: Any) -> Any:
        narrow = isinstance(value, torch.dtype) and value.is_floating_point
        return torch.float64 if narrow else value


class _InFloat32(Objective):
    """A loss that is asked in float32, whatever the model computes in."""

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        single = targets.float() if targets.is_floating_point() else targets
        losses: Tensor = super().each(outputs.float(), single)
        return losses.to(outputs.dtype)


def close(one: Tensor, other: Tensor, tolerance: float | None = None) -> bool:
    """Up to rounding: by the norm of the difference."""
    size = max(float(other.norm()), LEAST)
    return float((one - other).norm()) <= (tolerance or TOLERANCE[other.dtype]) * size
