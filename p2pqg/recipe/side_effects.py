"""What a user's model or loss does beside computing, seen on a few samples.

Its clients share one process and one module. So what it keeps to itself between two calls, apart
from parameters and buffers, would go from client to client; what it draws must be keyed; and where
gradients are private each sample must have one of its own.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from p2pqg.base.draws import draws_from, torch_keyed
from p2pqg.base.errors import ConfigError, P2pqgError
from p2pqg.base.source import blamed
from p2pqg.models.judging import Objective, in_columns
from p2pqg.recipe.against_pytorch import close, in_float64

ROUNDING = 1e-5
"""How far outputs in float64 may be off by rounding: a few kernels know float32 alone."""


def draws(module: nn.Module, inputs: Tensor) -> set[str]:
    """Whose random numbers it takes, in training (as dropout does) or in evaluation.

    What it returns does not tell: what is dropped once in a thousand times is not dropped here.
    """
    found = set[str]()
    with torch_keyed(), torch.no_grad():
        for training in (True, False):
            found |= draws_from(partial(_forward, module, inputs, training))
    return found


def _forward(module: nn.Module, inputs: Tensor, training: bool) -> Tensor:
    """A forward pass of a copy, which may change itself and its inputs."""
    return _outputs(copy.deepcopy(module).train(training), inputs)


def changes_weights(module: nn.Module, inputs: Tensor) -> str:
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


def weight_elsewhere(module: nn.Module, inputs: Tensor) -> list[int] | None:
    """The shape of a weight that its outputs depend on and that is none of its own; None: none.

    A lambda in it that holds on to a weight, or to all of it, goes on with that of the original.
    """
    tried = copy.deepcopy(module).train()
    with torch_keyed():
        outputs = _outputs(tried, inputs)
    own = set(map(id, (*tried.parameters(), *tried.buffers())))
    seen, ahead = set(), [outputs.grad_fn]
    while ahead:
        if (node := ahead.pop()) is None or node in seen:
            continue
        seen.add(node)
        weight = getattr(node, "variable", None) if node.name().endswith("AccumulateGrad") else None
        if isinstance(weight, nn.Parameter) and id(weight) not in own:
            return list(weight.shape)
        ahead += [following for following, _ in node.next_functions]
    return None


def writes_into_inputs(module: nn.Module, inputs: Tensor) -> bool:
    """Whether a forward pass changes the batch that it is given, in training or in evaluation."""
    for training in (True, False):
        tried, given = copy.deepcopy(module).train(training), inputs.clone()
        before = given._version
        with torch_keyed(), torch.no_grad():
            _called(tried, given)
        if given._version != before or not torch.equal(given, inputs):
            return True
    return False


def samples_meet(module: nn.Module, inputs: Tensor) -> str:
    """How the samples of a batch meet in training, apart from batch norm; "": they do not.

    In float64 where the model computes in it: what is little of a sample, as a thousandth of the
    mean of its batch, is much more than rounding there.
    """
    exact = inputs.double() if inputs.is_floating_point() else inputs
    with suppress(Exception):  # it makes tensors of float32, or has failed anyway
        return _meeting(in_float64(module), exact)
    return _meeting(module, inputs)


def _meeting(module: nn.Module, inputs: Tensor) -> str:
    tried = copy.deepcopy(module)
    before = {name: buffer.clone() for name, buffer in tried.named_buffers()}
    together = _seeded(tried, inputs)
    for name, buffer in tried.named_buffers():
        if buffer.is_floating_point() and not torch.equal(buffer, before[name]):
            return f"in its buffer {name} the samples of a batch meet"
    if "torch" in draws(module, inputs):  # alone the second sample would be given the first's draws
        among_others = torch.cat([inputs[:1], inputs[:1].expand_as(inputs[1:])])
        alone = [_seeded(copy.deepcopy(module), among_others)[:1]]
    else:
        alone = [_seeded(copy.deepcopy(module), inputs[i : i + 1]) for i in range(len(inputs))]
    tolerance = ROUNDING if together.dtype == torch.float64 else None
    if close(torch.cat(alone), together[: len(alone)], tolerance):
        return ""
    return "what it makes of a sample depends on the others of its batch"


def _outputs(module: nn.Module, inputs: Tensor) -> Tensor:
    """The inputs stay, whatever it does to them."""
    return _called(module, inputs.clone())


def _called(module: nn.Module, inputs: Tensor) -> Tensor:
    """As the clients' answers are, in the type of their rows; ConfigError where it fails."""
    try:
        return in_columns(module(inputs)).to(next(module.parameters()).dtype)
    except P2pqgError:
        raise
    except Exception as error:
        mode = "training" if module.training else "evaluation"
        raise ConfigError(blamed(error, f"model, in {mode}")) from error


def _seeded(module: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs in training, with the same random numbers each time; torch's own state stays."""
    with torch_keyed(1), torch.no_grad():
        return _outputs(module.train(), inputs).detach()  # it may have turned grad on


def loss_lacks(objective: Objective, module: nn.Module, inputs: Tensor, targets: Tensor) -> str:
    """What nobody can learn by, of a user's loss; "": it has numbers and a gradient."""
    outputs = _seeded(copy.deepcopy(module), inputs).requires_grad_()
    found = objective.each(outputs, targets)
    if not found.requires_grad:
        return "has no gradient by the outputs, as after detach() or argmax"
    odd = found.detach()[~found.isfinite()]
    return f"must be a finite number, got {float(odd[0])} on the first batch" if len(odd) else ""


def loss_depends_on(
    objective: Objective, module: nn.Module, inputs: Tensor, targets: Tensor
) -> str:
    """What a user's loss depends on beside outputs and targets; "": nothing that is seen."""
    own = getattr(objective.entry.build, "__wrapped__", None)
    weights = own.named_parameters() if isinstance(own, nn.Module) else ()
    learned = [name for name, weight in weights if weight.requires_grad]
    if learned:
        return f"nobody trains its parameter {learned[0]}, which belongs into the model"
    outputs = _seeded(copy.deepcopy(module), inputs)
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


def model_depends_on(module: nn.Module, inputs: Tensor) -> str:
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
