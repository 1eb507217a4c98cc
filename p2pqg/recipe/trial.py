"""A user's own model, loss and metrics, tried on the first batch before anything starts.

Gradients by each strategy are compared with those of plain PyTorch; the one that fits is taken.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from p2pqg.base.errors import ConfigError, P2pqgError, UserCodeError
from p2pqg.base.seeding import rng
from p2pqg.base.source import blamed
from p2pqg.data import Arrays
from p2pqg.data.feeding.feed import Feed, Looks
from p2pqg.data.feeding.file_feed import FileFeed
from p2pqg.models import Blueprint, Cost
from p2pqg.models._cost import cost_of
from p2pqg.models.judging import Metric, Objective
from p2pqg.models.stacked.batched import dense_layers
from p2pqg.models.stacked.stacked import PRECISIONS, Stacked
from p2pqg.recipe.settings import RunConfig

CLIENTS, SAMPLES, TESTED = 2, 32, 512
"""So many clients, samples of each, and test samples are tried."""
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-8}
"""Of a gradient, relative to its norm."""


def tried(
    blueprint: Blueprint,
    objective: Objective,
    metrics: tuple[Metric, ...],
    arrays: Arrays,
    parts: list[np.ndarray],
    config: RunConfig,
) -> tuple[Blueprint, Cost, tuple[str, ...]]:
    """See that all of it works together.

    Returns:
        The blueprint, which knows its strategy by then; the model's size; and notes, a line each.

    Raises:
        ConfigError: outputs that do not fit the task, a loss that is no loss, a metric that is no
            number, a model that remembers what it should not.
    """
    dtype = PRECISIONS[config.precision][0]
    feed = _feed(arrays, parts[:CLIENTS], config, dtype)
    inputs, targets = feed.batch(0)
    try:
        module = blueprint.build(objective.outputs, arrays.input_shape, config.seed).to(dtype)
        blueprint, cost, notes = _model(blueprint, objective, module, inputs, targets, config)
        if metrics:
            _metrics(module, objective, metrics, feed)
    except UserCodeError as error:
        raise ConfigError(str(error)) from error
    return blueprint, cost, notes


def _feed(
    arrays: Arrays, parts: list[np.ndarray], config: RunConfig, dtype: torch.dtype
) -> Feed | FileFeed:
    rows = [part[:SAMPLES] for part in parts]
    together, few = np.concatenate(rows), slice(0, TESTED)
    looks = Looks(
        shape=tuple(arrays.input_shape),
        mean=arrays.mean,
        std=arrays.std,
        batch_size=min(config.batch_size, SAMPLES),
        seed=config.seed,
        device=torch.device("cpu"),
        dtype=dtype,
    )
    return (FileFeed if arrays.train_x.dtype.kind == "S" else Feed)(
        np.ascontiguousarray(arrays.train_x[together]),
        np.ascontiguousarray(arrays.train_y[together]),
        np.array([len(part) for part in rows]),
        (arrays.test_x[few], arrays.test_y[few]),
        range(len(rows)),
        looks,
    )


def _model(
    blueprint: Blueprint,
    objective: Objective,
    module: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    config: RunConfig,
) -> tuple[Blueprint, Cost, tuple[str, ...]]:
    what = f"model {blueprint.name}"
    _check_outputs(blueprint, objective, module, inputs[0])
    if not any(p.requires_grad for p in module.parameters()):
        raise ConfigError(f"{what} ({blueprint.place}): has no parameter that can be trained")
    cost = cost_of(module, inputs.shape[2:], inputs[0, :2])
    if blueprint.is_own and _draws(module, inputs[0]):
        blueprint = blueprint.with_(draws=True)
        module.draws_in_training = True  # type: ignore[assignment]
    if not (blueprint.is_own or objective.is_own):
        return blueprint, cost, ()
    if objective.kind != "classes":
        targets = targets.to(inputs.dtype if inputs.is_floating_point() else torch.float32)
    found = _Trial(module, objective, config, inputs, targets)
    wrong = found.differs("loop")
    if wrong:
        raise ConfigError(
            f"{what} ({blueprint.place}): {wrong}, so clients cannot share it; a forward pass must "
            "depend on its parameters, buffers and inputs alone"
        )
    if dense_layers(module) and all(p.requires_grad for p in module.parameters()):
        if wrong := found.differs("batched"):
            return blueprint.with_(strategy="loop"), cost, (_slower(what, "batched", wrong),)
    elif config.device != "cpu" and not blueprint.draws and (wrong := found.differs("vmap")):
        notes = (_slower(what, "vmap", wrong),) if torch.cuda.is_available() else ()
        return blueprint.with_(strategy="loop"), cost, notes
    return blueprint, cost, ()


def _slower(what: str, strategy: str, why: str) -> str:
    return f"{what}: one client after the other (strategy {strategy} does not fit: {why})"


def _check_outputs(
    blueprint: Blueprint, objective: Objective, module: nn.Module, inputs: Tensor
) -> None:
    what, tried = f"model {blueprint.name}", copy.deepcopy(module).eval()
    try:
        with torch.no_grad():
            outputs = tried(inputs)
    except P2pqgError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{blamed(error, what)} (on inputs {list(inputs.shape)}, {inputs.dtype})"
        ) from error
    expected = [len(inputs), objective.outputs]
    got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    alike = [len(inputs)] if objective.outputs == 1 else expected
    if got not in (expected, alike):
        of = "classes" if objective.kind == "classes" else "numbers"
        raise ConfigError(
            f"{what} ({blueprint.place}): outputs must be [batch, {objective.outputs}] for "
            f"{objective.outputs} {of}, got {got} for a batch of {len(inputs)}"
        )
    if late := [name for name in _tensors(tried) if name not in _tensors(module)]:
        raise ConfigError(
            f"{what} ({blueprint.place}): {', '.join(late[:3])} must be there from the start, "
            "they are made when a sample comes; make them where the model is made"
        )
    if not torch.isfinite(outputs).all():
        raise ConfigError(
            f"{what} ({blueprint.place}): outputs must be finite numbers, its first batch has "
            f"{float(outputs[~torch.isfinite(outputs)][0])}; look at its weights and inputs"
        )


def _tensors(module: nn.Module) -> list[str]:
    """Names of its parameters and buffers."""
    return [name for name, _ in (*module.named_parameters(), *module.named_buffers())]


def _draws(module: nn.Module, inputs: Tensor) -> bool:
    """Whether training draws numbers: dropout, for instance."""
    seen = []
    for seed in (1, 2):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)  # noqa: TID251  of the fork
            seen.append(copy.deepcopy(module).train()(inputs))
    return not torch.equal(*seen)


class _Trial:
    """The gradients of two unlike clients, by plain PyTorch and by a strategy."""

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        config: RunConfig,
        inputs: Tensor,
        targets: Tensor,
    ) -> None:
        self.module, self.objective, self.config = module, objective, config
        self.inputs, self.targets = inputs, targets
        self.plain: tuple[Tensor, Tensor, Tensor] | None = None

    def differs(self, strategy: str) -> str:
        """What is wrong with a strategy; "" if nothing is."""
        exact = "float64" if self.config.precision == "float64" else "float32"
        stacked = Stacked(self.module, precision=exact, strategy=strategy, objective=self.objective)
        row = stacked.initial_row()
        noise = rng(0, "trial").standard_normal((len(self.inputs), len(row)))
        x = row + 1e-3 * row.abs().mean() * torch.from_numpy(noise).to(row)
        buffers = stacked.initial_buffers().repeat(len(x), 1)
        keys = [7] * len(x) if stacked.random else None
        try:
            found = stacked.gradients(x, buffers, self.inputs, self.targets, keys)
            again = stacked.gradients(x, buffers, self.inputs, self.targets, keys)
        except P2pqgError:
            raise
        except Exception as error:
            if strategy == "loop":
                raise ConfigError(blamed(error, "model, in training")) from error
            return blamed(error, strategy)
        if self.plain is None:
            self.plain = self._plainly(stacked, x, buffers, keys)
        names = ("losses", "gradients", "running statistics")
        for name, mine, twice, theirs in zip(names, found, again, self.plain, strict=True):
            if not _close(mine, twice):
                return f"its {name} are others when the same batch comes again"
            if not _close(mine, theirs):
                return f"its {name} are not those of plain PyTorch"
        return ""

    def _plainly(
        self, stacked: Stacked, x: Tensor, buffers: Tensor, keys: list[int] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        found: list[tuple[Any, ...]] = []
        for client, row in enumerate(x):
            model = copy.deepcopy(self.module).train()
            model.load_state_dict(stacked.state_dict(row, buffers[client]))
            with torch.random.fork_rng(devices=[]):
                if keys:
                    torch.manual_seed(keys[client])  # noqa: TID251  of the fork
                outputs = model(self.inputs[client])
            outputs = outputs[:, None] if outputs.dim() == 1 else outputs
            loss = self.objective.mean(outputs, self.targets[client])
            trained = [p for p in model.parameters() if p.requires_grad]
            g = torch.autograd.grad(loss, trained, materialize_grads=True)
            floats = [b.reshape(-1) for b in model.buffers() if b.is_floating_point()]
            after = torch.cat(floats) if floats else buffers[client]
            found.append((loss.detach(), torch.cat([t.reshape(-1) for t in g]), after))
        losses, gradients, buffers_after = (
            torch.stack(parts) for parts in zip(*found, strict=True)
        )
        return losses, gradients, buffers_after


def _close(one: Tensor, other: Tensor) -> bool:
    size = max(float(other.norm()), 1e-3)
    return float((one - other).norm()) <= TOLERANCE[other.dtype] * size


def _metrics(
    module: nn.Module, objective: Objective, metrics: tuple[Metric, ...], feed: Feed | FileFeed
) -> None:
    """Each on the first test samples, and the outputs that the model begins with."""
    inputs, targets = feed.test(slice(0, TESTED))
    with torch.no_grad():
        outputs = copy.deepcopy(module).eval()(inputs)
    outputs = outputs[:, None] if outputs.dim() == 1 else outputs
    if objective.kind != "classes":
        targets = targets.to(outputs.dtype)
    for metric in metrics:
        metric.try_on(outputs, targets, objective)
