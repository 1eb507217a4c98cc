"""A user's own model, loss and metrics, tried on the first batch before anything starts.

What it does beside computing is seen by `side_effects.py`. Gradients by each strategy are compared
with those of plain PyTorch by `against_pytorch.py`; the one that fits is taken.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from p2pqg.base.draws import torch_keyed
from p2pqg.base.errors import ConfigError, P2pqgError, UserCodeError
from p2pqg.base.forked import computes
from p2pqg.base.source import blamed
from p2pqg.data import Arrays
from p2pqg.data.feeding.feed import Feed, Looks
from p2pqg.data.feeding.file_feed import FileFeed
from p2pqg.models import Blueprint, Cost
from p2pqg.models._cost import cost_of
from p2pqg.models._keeping import bits, held, letters_of_fixed
from p2pqg.models.judging import Answer, Metric, Objective, in_columns
from p2pqg.models.stacked.batched import dense_layers
from p2pqg.models.stacked.stacked import PRECISIONS, Stacked, batch_statistics
from p2pqg.recipe.against_pytorch import AgainstPyTorch
from p2pqg.recipe.settings import RunConfig
from p2pqg.recipe.side_effects import (
    changes_weights,
    draws,
    loss_depends_on,
    loss_lacks,
    model_depends_on,
    samples_meet,
    weight_elsewhere,
    writes_into_inputs,
)

CLIENTS, SAMPLES, TESTED = 2, 32, 512
"""How many clients, samples of each, and test samples are tried."""
LONG = re.compile(r"\bLong|\blong\b")
"""How torch says that it wants whole numbers."""
FEW = 4
"""How many samples tell what a forward pass does beside answering."""


def tried(
    blueprint: Blueprint,
    objective: Objective,
    metrics: tuple[Metric, ...],
    arrays: Arrays,
    parts: list[np.ndarray],
    config: RunConfig,
) -> tuple[Blueprint, Objective, Cost, tuple[str, ...]]:
    """See that all of it works together.

    Returns:
        The blueprint, which knows its strategy by then; the objective, which knows what the model
        returns; the model's size; and notes, a line each.

    Raises:
        ConfigError: outputs that do not fit the task, a loss that is no loss, a metric that is no
            number, a model that remembers what it should not.
    """
    computes()
    dtype = PRECISIONS[config.precision][0]
    feed = _feed(arrays, parts[:CLIENTS], config, dtype)
    inputs, targets = feed.batch(0)
    try:
        sizes = objective.outputs, arrays.input_shape, config.seed
        module = blueprint.build(*sizes).to(dtype)
        objective = _with_answers(blueprint, objective, module, inputs[0])
        blueprint, cost, notes = _model(blueprint, objective, module, inputs, targets, config)
        if blueprint.is_own:
            again = blueprint.build(*sizes)
            blueprint = blueprint.with_(fixed=letters_of_fixed(again, dtype))
            if blueprint.start is None:
                _check_built_alike(blueprint, module, again.to(dtype))
        if metrics:
            _metrics(module, objective, metrics, feed)
    except UserCodeError as error:
        raise ConfigError(str(error)) from error
    return blueprint, objective, cost, notes


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
    if not any(p.requires_grad for p in module.parameters()):
        raise ConfigError(f"{_called(blueprint)}: has no parameter that can be trained")
    try:
        cost = cost_of(module, inputs.shape[2:], inputs[0, :2].clone())
    except P2pqgError:
        raise
    except Exception as error:  # as of what torch.export made for batches of one size
        raise ConfigError(blamed(error, f"model {blueprint.name}, on 2 samples")) from error
    if blueprint.is_own:
        blueprint = _without_side_effects(blueprint, module, inputs[0, :FEW], config)
    if not (blueprint.is_own or objective.is_own):
        return blueprint, cost, ()
    targets = objective.cast(targets, inputs.dtype if inputs.is_floating_point() else torch.float32)
    if objective.is_own and (wrong := loss_lacks(objective, module, inputs[0], targets[0])):
        raise ConfigError(f"loss {objective.name} ({objective.place}): {wrong}")
    if objective.is_own and (wrong := loss_depends_on(objective, module, inputs[0], targets[0])):
        raise ConfigError(
            f"loss {objective.name} ({objective.place}): {wrong}; it must depend on outputs and "
            "targets alone"
        )
    gradients = AgainstPyTorch(module, objective, config, inputs, targets)
    if wrong := gradients.differ("loop") or model_depends_on(module, inputs[0, :FEW]):
        raise ConfigError(
            f"{_called(blueprint)}: {wrong}, so clients cannot share it; {_repair(module)}"
        )
    blueprint, notes = _with_strategy(blueprint, module, gradients, config)
    here = config.device == "cpu" or not (torch.cuda.is_available() or config.address)
    if PRECISIONS[config.precision][1] and here:  # a card knows other kernels
        _check_half(blueprint, gradients)
    return blueprint, cost, notes


def _check_half(blueprint: Blueprint, gradients: AgainstPyTorch) -> None:
    """ConfigError where it does not compute in 16 bits, as not all does that torch has."""
    precision = gradients.config.precision
    stacked = Stacked(
        gradients.module,
        precision=precision,
        strategy=blueprint.strategy,
        objective=gradients.objective,
    )
    x, buffers = stacked.initial_row()[None], stacked.initial_buffers()[None]
    inputs, targets = gradients.inputs[:1, :FEW], gradients.targets[:1, :FEW]
    try:
        stacked.gradients(
            x, buffers, inputs, targets, [7] if stacked.random else None, gradients.clip
        )
        stacked.judge(x, buffers, inputs[0], targets[0])
    except Exception as error:
        known = isinstance(error, P2pqgError)
        told = str(error) if known else blamed(error, f"model {blueprint.name}")
        raise ConfigError(f"{told} (in {precision}; take precision: float32)") from error


def _repair(module: nn.Module) -> str:
    """What to do about a model that clients cannot share."""
    for name, part in module.named_modules():
        norm = isinstance(part, nn.modules.batchnorm._NormBase)
        if norm and part.track_running_stats and part.momentum is None:
            return (
                f"{name} averages over all of its steps (momentum=None), and how many there were "
                "is in nobody's row; give it a momentum such as 0.1"
            )
    return (
        "a forward pass must depend on its parameters, buffers of floats and inputs alone (and is "
        "not computed once more, later, by torch.utils.checkpoint)"
    )


def _called(blueprint: Blueprint) -> str:
    return f"model {blueprint.name} ({blueprint.place})"


def _without_side_effects(
    blueprint: Blueprint, module: nn.Module, inputs: Tensor, config: RunConfig
) -> Blueprint:
    """The blueprint, which knows by then what its model does; ConfigError for side effects."""
    drawn = draws(module, inputs)
    if elsewhere := drawn - {"torch"}:
        raise ConfigError(
            f"{_called(blueprint)}: draws numbers from {elsewhere.pop()}, whose state "
            "all that runs in a process shares; draw from torch (torch.rand), which is keyed"
        )
    if changed := changes_weights(module, inputs):
        raise ConfigError(
            f"{_called(blueprint)}: a forward pass writes into its parameter {changed}, "
            "which is for the algorithm alone to change; compute with a changed copy, as by "
            "torch.nn.utils.parametrize"
        )
    if (shape := weight_elsewhere(module, inputs)) is not None:
        raise ConfigError(
            f"{_called(blueprint)}: computes with a weight {shape} that is none of its parameters, "
            "or is that of another copy, as where a lambda holds on to one; take it as an "
            "attribute of the module, self.layer.weight, or say that nobody trains it, "
            "requires_grad_(False)"
        )
    private = config.privacy.limit < math.inf and not batch_statistics(module)  # told later
    if private and (meeting := samples_meet(module, inputs)):
        raise ConfigError(
            f"privacy does not go with {_called(blueprint)}: {meeting}, so none has a "
            "gradient of its own"
        )
    if writes_into_inputs(module, inputs):
        module.writes_into_inputs = True  # type: ignore[assignment]
        blueprint = blueprint.with_(writes=True)
    if not drawn:
        return blueprint
    module.draws_in_training = True  # type: ignore[assignment]
    return blueprint.with_(draws=True)


def _with_strategy(
    blueprint: Blueprint, module: nn.Module, gradients: AgainstPyTorch, config: RunConfig
) -> tuple[Blueprint, tuple[str, ...]]:
    """The blueprint with `loop` as its strategy where the faster one does not fit; and notes."""
    dense = dense_layers(module) and all(p.requires_grad for p in module.parameters())
    alone = config.engine == "local" and not torch.cuda.is_available()
    together = gradients.clip == math.inf  # of single samples vmap is used on a CPU, too
    if not dense and (blueprint.draws or (together and (config.device == "cpu" or alone))):
        return blueprint, ()  # `loop` anyway, which fits
    strategy = "batched" if dense else "vmap"
    if not (wrong := gradients.differ(strategy)):
        return blueprint, ()
    slower = (
        f"model {blueprint.name}: one client after the other (strategy {strategy} does not fit: "
        f"{wrong})"
    )
    told = dense or torch.cuda.is_available()  # without a GPU nobody would have used vmap
    return blueprint.with_(strategy="loop"), (slower,) if told else ()


def _check_built_alike(blueprint: Blueprint, module: nn.Module, again: nn.Module) -> None:
    """Every actor builds the model for itself, and all are to begin with the same weights."""
    other = dict(held(again))
    for name, tensor in held(module):
        if name not in other or bits(tensor) != bits(other[name]):
            raise ConfigError(
                f"{_called(blueprint)}: {name} is another one when the model "
                "is built again, as each actor does; draw it from torch, random or numpy.random, "
                "which are keyed by the seed, or from a generator that is made anew"
            )


def _with_answers(
    blueprint: Blueprint, objective: Objective, module: nn.Module, inputs: Tensor
) -> Objective:
    """The objective, which knows what the model returns, in evaluation and in training.

    Raises:
        ConfigError: it is not what is asked for.
    """
    answers: dict[int, Answer] = {}
    # Auxiliary outputs may be of training alone, and then need a loss that knows.
    for training in (False, True) if objective.is_own else (False,):
        tried = copy.deepcopy(module).train(training)
        try:
            with torch_keyed(1), torch.no_grad():
                outputs = tried(inputs.clone())
        except P2pqgError:
            raise
        except Exception as error:
            said = blamed(error, f"model {blueprint.name}")
            whole = inputs.is_floating_point() and bool((inputs == inputs.floor()).all())
            hint = (
                "; whole numbers stay whole with dataset.tokens: true, or say x.long() in forward"
            )
            told = f"{said} (on inputs {list(inputs.shape)}, {inputs.dtype})"
            raise ConfigError(told + hint * (whole and bool(LONG.search(said)))) from error
        answer = Answer.of(outputs) if objective.is_own else None
        if objective.kind == "own":
            answer = answer or Answer.of_tensor(outputs)
        _check_outputs(blueprint, objective, outputs, answer, inputs)
        if late := [name for name in _tensors(tried) if name not in _tensors(module)]:
            raise ConfigError(
                f"{_called(blueprint)}: {', '.join(late[:3])} must be there from the start, "
                "they are made when a sample comes; make them where the model is made"
            )
        if answer and answers.setdefault(answer.width, answer) != answer:
            raise ConfigError(
                f"{_called(blueprint)}: what it returns in training and in evaluation must be "
                f"alike where both have {answer.width} numbers for a sample, or the loss is given "
                "one as the other; return the same names and shapes in both"
            )
    return replace(objective, answers=tuple(answers.values()))


def _check_outputs(
    blueprint: Blueprint,
    objective: Objective,
    outputs: Any,
    answer: Answer | None,
    inputs: Tensor,
) -> None:
    first = in_columns(outputs)[:, : math.prod(answer.shapes[0])] if answer else outputs
    expected = [len(inputs), objective.outputs]
    got = list(first.shape) if isinstance(first, Tensor) else type(first).__name__
    alike = [len(inputs)] if objective.outputs == 1 else expected
    known = objective.kind == "own" and isinstance(first, Tensor) and len(first) == len(inputs)
    if not known and got not in (expected, alike):  # of its own targets the loss knows
        of = "classes" if objective.kind == "classes" else "numbers"
        more = "" if isinstance(first, Tensor) else "; several, of which the first is judged, need "
        more = more and f"{more}a loss of your own, which is given all of them"
        if objective.is_own and (strange := _no_tensor(outputs)):
            more = f"; {strange}: return tensors with a row for each sample, and nothing else"
        elif objective.is_own and not more:
            more = "; say dataset.task: own if only your loss knows what they mean"
        raise ConfigError(
            f"{_called(blueprint)}: outputs must be [batch, {objective.outputs}] for "
            f"{objective.outputs} {of}, got {got} for inputs {list(inputs.shape)}{more}"
        )
    every = in_columns(outputs)
    if not torch.isfinite(every).all():
        raise ConfigError(
            f"{_called(blueprint)}: outputs must be finite numbers, its first batch has "
            f"{float(every[~torch.isfinite(every)][0])}; look at its weights and inputs"
        )


def _no_tensor(outputs: Any) -> str:
    """Which of several outputs is no tensor of rows, and what it is; "": none."""
    named = list(outputs.items()) if isinstance(outputs, Mapping) else []
    if isinstance(outputs, tuple | list):
        named = [(str(place), one) for place, one in enumerate(outputs)]
    for name, one in named:
        if not isinstance(one, Tensor) or not one.dim():
            return f"{name} is {'a number' if isinstance(one, Tensor) else type(one).__name__}"
    return ""


def _tensors(module: nn.Module) -> list[str]:
    """Names of its parameters and buffers."""
    return [name for name, _ in (*module.named_parameters(), *module.named_buffers())]


def _metrics(
    module: nn.Module, objective: Objective, metrics: tuple[Metric, ...], feed: Feed | FileFeed
) -> None:
    """Each on the first test samples, and the outputs that the model begins with."""
    inputs, targets = feed.test(slice(0, TESTED))
    with torch.no_grad():
        outputs = copy.deepcopy(module).eval()(inputs)
    # A model may let gradients be taken of them, and answer in another type than its rows'.
    outputs = in_columns(outputs).detach().to(next(module.parameters()).dtype)
    targets = objective.cast(targets, outputs.dtype)
    for metric in metrics:
        metric.try_on(outputs, targets, objective)
