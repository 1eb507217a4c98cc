"""A user's own model, loss and metrics, tried on the first batch before anything starts.

Gradients by each strategy are compared with those of plain PyTorch; the one that fits is taken.
"""

from __future__ import annotations

import copy
import math
import warnings
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from p2pqg.base.draws import draws_from, torch_keyed
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
from p2pqg.models.stacked.layout import in_columns
from p2pqg.models.stacked.stacked import PRECISIONS, Stacked, batch_statistics
from p2pqg.recipe.settings import RunConfig

CLIENTS, SAMPLES, TESTED = 2, 32, 512
"""So many clients, samples of each, and test samples are tried."""
FEW = 4
"""So many samples tell what a forward pass does beside answering."""
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
        sizes = objective.outputs, arrays.input_shape, config.seed
        module = blueprint.build(*sizes).to(dtype)
        blueprint, cost, notes = _model(blueprint, objective, module, inputs, targets, config)
        if blueprint.is_own and blueprint.start is None:
            _check_built_alike(blueprint, module, blueprint.build(*sizes).to(dtype))
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
    if blueprint.is_own:
        drawn = _draws(module, inputs[0, :FEW])
        if elsewhere := drawn - {"torch"}:
            raise ConfigError(
                f"{what} ({blueprint.place}): draws numbers from {elsewhere.pop()}, whose state "
                "all that runs in a process shares; draw from torch (torch.rand), which is keyed"
            )
        if changed := _changes_weights(module, inputs[0, :FEW]):
            raise ConfigError(
                f"{what} ({blueprint.place}): a forward pass writes into its parameter {changed}, "
                "which is for the algorithm alone to change; compute with a changed copy, as by "
                "torch.nn.utils.parametrize"
            )
        private = config.privacy.limit < math.inf and not batch_statistics(module)  # told later
        if private and (meeting := _samples_meet(module, inputs[0, :FEW])):
            raise ConfigError(
                f"privacy does not go with {what} ({blueprint.place}): {meeting}, so none has a "
                "gradient of its own"
            )
        if drawn:
            blueprint = blueprint.with_(draws=True)
            module.draws_in_training = True  # type: ignore[assignment]
    if not (blueprint.is_own or objective.is_own):
        return blueprint, cost, ()
    if objective.kind != "classes":
        targets = targets.to(inputs.dtype if inputs.is_floating_point() else torch.float32)
    if objective.is_own and (wrong := _loss_differs(objective, module, inputs[0], targets[0])):
        raise ConfigError(
            f"loss {objective.name} ({objective.place}): {wrong}; it must depend on outputs and "
            "targets alone"
        )
    found = _Trial(module, objective, config, inputs, targets)
    wrong = found.differs("loop") or _counts(module, inputs[0, :FEW])
    if wrong:
        raise ConfigError(
            f"{what} ({blueprint.place}): {wrong}, so clients cannot share it; a forward pass must "
            "depend on its parameters, buffers of floats and inputs alone"
        )
    if dense_layers(module) and all(p.requires_grad for p in module.parameters()):
        if wrong := found.differs("batched"):
            return blueprint.with_(strategy="loop"), cost, (_slower(what, "batched", wrong),)
    elif config.device != "cpu" and not blueprint.draws and (wrong := found.differs("vmap")):
        notes = (_slower(what, "vmap", wrong),) if torch.cuda.is_available() else ()
        return blueprint.with_(strategy="loop"), cost, notes
    return blueprint, cost, ()


def _check_built_alike(blueprint: Blueprint, module: nn.Module, again: nn.Module) -> None:
    """Every actor builds the model for itself, and all are to begin with the same weights."""
    other = again.state_dict()
    for name, tensor in module.state_dict().items():
        if name not in other or not torch.equal(tensor, other[name]):
            raise ConfigError(
                f"model {blueprint.name} ({blueprint.place}): {name} is another one when the model "
                "is built again, as each actor does; draw it from torch, random or numpy.random, "
                "which are keyed by the seed, or from a generator that is made anew"
            )


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


def _draws(module: nn.Module, inputs: Tensor) -> set[str]:
    """Whose random numbers it takes, in training (as dropout does) or in evaluation.

    What it returns does not tell: what is dropped once in a thousand times is not dropped here.
    """
    found = set[str]()
    with torch_keyed(), torch.no_grad():
        for training in (True, False):
            found |= draws_from(partial(_forward, module, inputs, training))
    return found


def _forward(module: nn.Module, inputs: Tensor, training: bool) -> Tensor:
    """Of a copy, which may change itself and its inputs."""
    return _outputs(copy.deepcopy(module).train(training), inputs)


def _changes_weights(module: nn.Module, inputs: Tensor) -> str:
    """The name of a parameter that a forward pass writes into; "": none.

    Even where it writes what is there already, as a limit does that no weight has reached yet,
    unless it goes by `.data`.
    """
    for training in (True, False):
        tried = copy.deepcopy(module).train(training)
        before = {n: (w._version, w.detach().clone()) for n, w in tried.named_parameters()}
        with torch_keyed(), torch.no_grad():
            _outputs(tried, inputs)
        for name, weight in tried.named_parameters():
            version, values = before[name]
            if weight._version != version or not torch.equal(weight, values):
                return name
    return ""


def _samples_meet(module: nn.Module, inputs: Tensor) -> str:
    """How the samples of a batch meet in training, apart from batch norm; "": they do not."""
    tried = copy.deepcopy(module)
    before = {name: buffer.clone() for name, buffer in tried.named_buffers()}
    together = _seeded(tried, inputs)
    for name, buffer in tried.named_buffers():
        if buffer.is_floating_point() and not torch.equal(buffer, before[name]):
            return f"in its buffer {name} the samples of a batch meet"
    alone = [_seeded(copy.deepcopy(module), inputs[i : i + 1]) for i in range(len(inputs))]
    if "torch" in _draws(module, inputs) or _close(torch.cat(alone), together[: len(alone)]):
        return ""
    return "what it makes of a sample depends on the others of its batch"


def _outputs(module: nn.Module, inputs: Tensor) -> Tensor:
    """ConfigError where the user's code fails; the inputs stay, whatever it does to them."""
    try:
        return module(inputs.clone())
    except P2pqgError:
        raise
    except Exception as error:
        mode = "training" if module.training else "evaluation"
        raise ConfigError(blamed(error, f"model, in {mode}")) from error


def _seeded(module: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs in training, with the same random numbers each time; torch's own state stays."""
    with torch_keyed(1), torch.no_grad():
        return _outputs(module.train(), inputs)


def _loss_differs(objective: Objective, module: nn.Module, inputs: Tensor, targets: Tensor) -> str:
    """What a user's loss depends on beside outputs and targets; "": nothing that is seen."""
    own = getattr(objective.entry.build, "__wrapped__", None)
    weights = own.named_parameters() if isinstance(own, nn.Module) else ()
    learned = [name for name, weight in weights if weight.requires_grad]
    if learned:
        return f"nobody trains its parameter {learned[0]}, which belongs into the model"
    outputs = in_columns(_seeded(copy.deepcopy(module), inputs))
    before = _countable(own)
    found = objective.each(outputs, targets)
    now = _countable(own)
    if not torch.equal(found, objective.each(outputs, targets)):
        return "its values are others when it is asked again"
    for name, value in now.items():
        for later in _later(value) if before.get(name) != value else []:
            setattr(own, name, later)
            other = objective.each(outputs, targets)
            setattr(own, name, value)
            if not torch.equal(found, other):
                return f"its values change with {name}, which it changes itself"
    return ""


def _counts(module: nn.Module, inputs: Tensor) -> str:
    """What training changes that no client has a row of, if outputs depend on it; else "".

    A warm-up that ends after 1,000 steps is not seen in the first ones: so what counts them is set
    to what it may become, in a model that has been asked: masks and the like are built by then.
    """
    tried = copy.deepcopy(module)
    before = [_countable(part) for part in tried.modules()]
    _seeded(tried, inputs)
    expected = _seeded(copy.deepcopy(tried), inputs)
    for position, part in enumerate(tried.modules()):
        now = _countable(part)
        changed = [name for name, value in now.items() if before[position].get(name) != value]
        for counter, later in ((name, later) for name in changed for later in _later(now[name])):
            other = copy.deepcopy(tried)
            _set(list(other.modules())[position], counter, later)
            if not torch.equal(_seeded(other, inputs), expected):
                return f"it depends on {counter} = {now[counter]!r}, which training changes"
    return ""


def _countable(part: Any) -> dict[str, Any]:
    """Numbers and truth values of an object by name: attributes, and buffers of one entry."""
    found = {
        n: v for n, v in getattr(part, "__dict__", {}).items() if type(v) in (bool, int, float)
    }
    found.pop("training", None)
    if not isinstance(part, nn.Module):
        return found
    for name, buffer in part.named_buffers(recurse=False):
        counter = not buffer.is_floating_point() and buffer.numel() == 1
        if counter and not isinstance(part, nn.modules.batchnorm._NormBase):
            found[name] = buffer.item()
    return found


def _later(value: Any) -> list[Any]:
    """What a counter may become."""
    if isinstance(value, bool):
        return [not value]
    return [value + more for more in (1, 10, 100, 1000, 10**4, 10**6)]


def _set(part: nn.Module, name: str, value: Any) -> None:
    buffer = dict(part.named_buffers(recurse=False)).get(name)
    if buffer is None:
        setattr(part, name, value)
    else:
        buffer.fill_(value)


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
            with warnings.catch_warnings():  # what vmap is slow at, many do without
                warnings.filterwarnings("ignore", "There is a performance drop")
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
            with torch_keyed(keys[client] if keys else None):
                outputs = model(self.inputs[client])
            outputs = outputs[:, None] if outputs.dim() == 1 else outputs
            loss = self.objective.mean(outputs, self.targets[client])
            trained = [p for p in model.parameters() if p.requires_grad]
            g = torch.autograd.grad(loss, trained, materialize_grads=True)
            floats = [b.detach().reshape(-1) for b in model.buffers() if b.is_floating_point()]
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
