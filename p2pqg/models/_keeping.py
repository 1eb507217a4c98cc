"""A module as code and weights, so that a run can keep it without a pickle.

The code makes a module of the same classes with the same settings; what it makes is compared with
the module before anyone believes it.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from p2pqg.base.draws import torch_keyed
from p2pqg.base.signature import is_plain
from p2pqg.base.source import UnkeptError, code_of
from p2pqg.models._blueprint import not_dense

CONTAINERS = (nn.Sequential, nn.ModuleList)


def weights_of(model: nn.Module) -> bytes:
    """Parameters and buffers, as the content of a safetensors file.

    Raises:
        UnkeptError: such a file has no such numbers.
    """
    state = {name: _of_its_own(tensor) for name, tensor in model.state_dict().items()}
    try:
        return save(state)
    except KeyError as error:  # a dtype that is not in its table
        raise UnkeptError(f"has {error.args[0]}, which safetensors files do not have") from None


def _of_its_own(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.detach().cpu()
    narrow = tensor.is_floating_point() and tensor.itemsize < 4
    tensor = tensor.float() if narrow else tensor
    return tensor.clone().contiguous()


def held(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers of a module by name, those that its state_dict leaves out, too."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def letters_of_fixed(model: nn.Module, dtype: torch.dtype) -> str:
    """16 hexadecimal digits for what nobody trains and no row of a client holds; "" for nothing.

    It is what a run of that type has of it: one in float32 has no digits beyond those.

    That is frozen parameters and buffers of whole numbers: a checkpoint has none of them, and
    whoever goes on with it builds them anew. Computed ones may differ in their last bits elsewhere.
    """
    buffers = dict(model.named_buffers())
    found = hashlib.blake2b(digest_size=8)
    some = False
    for name, tensor in held(model):
        if tensor.requires_grad or (name in buffers and tensor.is_floating_point()):
            continue
        some = True
        if tensor.is_floating_point() and tensor.itemsize > dtype.itemsize:
            tensor = tensor.to(dtype)
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(bits(tensor))
    return found.hexdigest() if some else ""


def bits(tensor: torch.Tensor) -> bytes:
    """All of a tensor's numbers; NaN is what it is, too."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.reshape(-1).view(torch.uint8).numpy().tobytes()


def code_of_module(model: nn.Module) -> tuple[str, list[Path]]:
    """The text of a Python file whose function `given()` makes such a module.

    Returns:
        The text, and the files of the user's that it imports from beside it.

    Raises:
        UnkeptError: it cannot be made anew from what is in it.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if nn.parameter.is_lazy(tensor) or tensor.is_meta or not_dense(tensor):
            raise UnkeptError("has tensors without values")  # is told when it is looked at
    own: dict[type, None] = {}
    made = _expression(model, own)
    text, beside = code_of(*own) if own else ("", [])
    lines = [text.rstrip(), "", "", "def given():", f"    model = {made}"]
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        lines += [f"    for name in {frozen!r}:"]
        lines += ["        model.get_parameter(name).requires_grad_(False)"]
    lines += ["    return model", ""]
    future = "from __future__ import annotations\n"
    body = "\n".join(lines).replace(future, "", 1) if future in text else "\n".join(lines)
    more = "from collections import OrderedDict\n\n" if "OrderedDict(" in made else ""
    text = f"{future if future in text else ''}{more}import torch\n\n{body}"
    _check(text, model)
    return text, beside


def _expression(model: nn.Module, own: dict[type, None]) -> str:
    """Python that makes such a module; `own` collects the user's classes in it."""
    kind = type(model)
    name = f"torch.nn.{kind.__name__}"
    if kind in CONTAINERS:
        parts = [(n, _expression(part, own)) for n, part in model.named_children()]
        joined = ", ".join(text for _, text in parts)
        if kind is nn.Sequential and [n for n, _ in parts] != [str(i) for i in range(len(parts))]:
            pairs = ", ".join(f"({n!r}, {text})" for n, text in parts)
            return f"{name}(OrderedDict([{pairs}]))"
        return f"{name}([{joined}])" if kind is nn.ModuleList else f"{name}({joined})"
    if kind.__module__.startswith("torch.nn.") and getattr(nn, kind.__name__, None) is kind:
        return f"{name}({_of_repr(model)})"
    own[kind] = None
    arguments = []
    for parameter in inspect.signature(kind).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name in vars(model):
            value = vars(model)[parameter.name]
            if is_plain(value):
                arguments.append(f"{parameter.name}={value!r}")
                continue
        if isinstance(part := getattr(model, parameter.name, None), nn.Module):
            arguments.append(f"{parameter.name}={_expression(part, own)}")
        elif parameter.default is parameter.empty:
            raise UnkeptError(
                f"was made with {parameter.name}=..., which it does not remember (self."
                f"{parameter.name} = {parameter.name} in its __init__ would do)"
            )
    return f"{kind.__name__}({', '.join(arguments)})"


def _of_repr(layer: nn.Module) -> str:
    """The arguments that a layer of torch tells of itself, those of its constructor."""
    if list(layer.children()):
        raise UnkeptError(f"has a {type(layer).__name__} in it, which does not tell how it is made")
    known = inspect.signature(type(layer)).parameters
    arguments = {}
    for name in known:
        if hasattr(layer, name) and is_plain(value := getattr(layer, name)):
            arguments[name] = repr(value)
    if "bias" in known and "bias" not in arguments:  # a parameter by now
        arguments["bias"] = repr(True)
    if arguments.get("bias") == "None":
        arguments["bias"] = repr(False)
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def _check(text: str, model: nn.Module) -> None:
    """Whether the code makes the same module, but for its weights.

    Raises:
        UnkeptError: it does not.
    """
    scope: dict[str, Any] = {"__name__": "p2pqg_trial"}
    with torch_keyed():
        try:
            exec(compile(text, "own_model.py", "exec"), scope)
            made = scope["given"]()
        except Exception as error:
            raise UnkeptError(f"cannot be made anew ({type(error).__name__}: {error})") from None
    differs = UnkeptError("was changed after it was made, and cannot be made anew like this")
    if repr(made) != repr(model):
        raise differs
    one, other = made.state_dict(), model.state_dict()
    if not all(isinstance(value, torch.Tensor) for value in other.values()):
        raise UnkeptError("remembers what is no tensor, as quantized layers do")
    if {n: t.shape for n, t in one.items()} != {n: t.shape for n, t in other.items()}:
        raise differs
    try:
        made.load_state_dict(copy.deepcopy(other))
    except RuntimeError:  # of tensors without values, or of which several numbers are one
        raise differs from None
    for (_, part), (_, its) in zip(made.named_modules(), model.named_modules(), strict=True):
        mine, theirs = _settings(part), _settings(its)
        if mine != theirs:
            raise differs


def _settings(part: nn.Module) -> dict[str, Any]:
    """What is plain among the attributes of a module."""
    return {
        name: value
        for name, value in vars(part).items()
        if is_plain(value) and name not in ("training", "draws_in_training", "writes_into_inputs")
    }
