"""A model that can be built anywhere: its entry, its parameters, and the weights to start with."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from p2pqg.base.draws import keyed, torch_keyed, usual_torch
from p2pqg.base.errors import ConfigError, P2pqgError, did_you_mean
from p2pqg.base.lazy import torch
from p2pqg.base.ranges import whole_number
from p2pqg.base.registry import Entry
from p2pqg.base.seeding import rng
from p2pqg.base.source import blamed, place_of
from p2pqg.models._own import as_called
from p2pqg.models._registry import Cost


@dataclass(frozen=True, eq=False)
class Blueprint:
    """How every host builds the same model.

    Attributes:
        entry: of a registered model, or of a user's own.
        params: an object of its params class.
        start: the weights and buffers that everyone starts with; None: drawn, keyed by the seed.
        draws: a user's own model draws numbers in training, as dropout does.
        writes: it changes its inputs in place, and is given copies.
        strategy: how the gradients of several clients are computed; None: what is fastest.
        fixed: digits for what nobody trains in a user's own model; empty: there is nothing.
    """

    entry: Entry
    params: Any
    start: Mapping[str, np.ndarray] | None = None
    draws: bool = False
    writes: bool = False
    strategy: str | None = None
    fixed: str = ""

    @property
    def name(self) -> str:
        return self.entry.name

    @property
    def is_own(self) -> bool:
        """A user's own: nobody knows what is in it."""
        return "own" in self.entry.traits

    def build(self, num_classes: int, input_shape: tuple[int, ...], seed: int) -> torch.nn.Module:
        """The module, on the CPU, in training mode; torch's own random state stays.

        It is float32, or float64 where a user's own has such weights, whose digits a run in that
        precision begins with.

        Raises:
            ConfigError: what `build_model` says, or the user's own code failed.
        """
        check(num_classes, input_shape, seed)
        seed_of_weights = int(rng(seed, "model").integers(2**63))
        with usual_torch():
            if self.is_own:
                model = self._built_by_user(num_classes, input_shape, seed_of_weights)
            else:
                model = self._built_by_us(num_classes, input_shape, seed_of_weights)
        if self.start is not None:
            self._load(model)
        if self.draws:
            model.draws_in_training = True
        if self.writes:
            model.writes_into_inputs = True
        return model

    def _built_by_us(self, outputs: int, input_shape: tuple[int, ...], seed: int) -> Any:
        from p2pqg.models._weights import initialise

        with torch_keyed():  # the layers draw weights of their own: not ours
            model = self.entry.build(outputs, input_shape, self.params)
        generator = torch.Generator().manual_seed(seed)
        if hasattr(model, "draw_weights"):  # most of its weights are given
            model.draw_weights(generator)
        else:
            initialise(model, generator)
        return model

    def _built_by_user(self, outputs: int, input_shape: tuple[int, ...], seed: int) -> Any:
        """Its own code draws its weights, from states that the seed decides."""
        with keyed(seed):
            torch.manual_seed(seed)  # noqa: TID251  users' layers may draw on a card, too
            try:
                model = self.entry.build(outputs, input_shape, self.params)
            except P2pqgError:
                raise
            except Exception as error:
                how = as_called(getattr(self.entry.build, "__wrapped__", None))
                raise ConfigError(f"model {blamed(error, self.name)}{how}") from error
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                if torch.nn.parameter.is_lazy(tensor):
                    raise ConfigError(
                        f"model {self.name}: {name} has no size before it sees a sample, as in "
                        "LazyLinear; say how many inputs its layer has"
                    )
                if tensor.is_meta:
                    raise ConfigError(
                        f"model {self.name}: {name} has no values, being on torch's device meta; "
                        "build it on the CPU"
                    )
                if strange := not_dense(tensor):
                    raise ConfigError(
                        f"model {self.name}: {name} is {strange}, and clients' rows are plain "
                        "numbers side by side; keep those (to_dense, dequantize), and make it of "
                        "them in forward"
                    )
                if _is_expanded(tensor) and name in model.state_dict():  # else nobody writes to it
                    raise ConfigError(
                        f"model {self.name}: {name} was expanded, and several of its numbers are "
                        "one in memory; say .clone() after expand"
                    )
                if tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None):
                    raise ConfigError(
                        f"model {self.name}: {name} has a hook, which copies of a tensor are "
                        "without; change its gradient in forward, as by detaching a part of it, or "
                        "freeze the layer, requires_grad_(False)"
                    )
                if tensor.is_complex():
                    raise ConfigError(
                        f"model {self.name}: {name} is complex, and clients' rows are real; keep "
                        "torch.view_as_real of it, and torch.view_as_complex in forward"
                    )
            for name, thing in model.state_dict().items():
                if not isinstance(thing, torch.Tensor):
                    raise ConfigError(
                        f"model {self.name}: its state_dict has {name}, which is no tensor "
                        f"({type(thing).__name__}), and clients' rows are numbers; leave "
                        "get_extra_state out"
                    )
        parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
        if any(isinstance(part, parallel) for part in model.modules()):
            raise ConfigError(
                f"model {self.name} is wrapped to run on several cards, which is for p2pqg to do; "
                "give the module inside, model.module"
            )
        for name, part in model.named_modules():
            if getattr(part, "sparse", False) and isinstance(
                part, torch.nn.Embedding | torch.nn.EmbeddingBag
            ):
                raise ConfigError(
                    f"model {self.name}: {name} has sparse gradients, and clients' rows are dense; "
                    "leave sparse=True out"
                )
        if any(isinstance(part, torch.jit.ScriptModule) for part in model.modules()):
            raise ConfigError(
                f"model {self.name} is scripted or traced (torch.jit), and runs with its own "
                "parameters only; give the module that it was made of"
            )
        model = self._copied(model)
        for buffer in model.buffers():
            buffer.requires_grad_(False)  # nobody trains it
        return _in_floats(model, (*model.parameters(), *model.buffers())).train()

    def _copied(self, model: torch.nn.Module) -> torch.nn.Module:
        try:
            return copy.deepcopy(model)
        except Exception as error:  # whatever the user's attributes are
            why, _, _ = str(error).partition("\n")
            if "deepcopy protocol" in why:
                why = (
                    "a tensor in it is computed of others, as by torch.nn.utils.weight_norm; take "
                    "torch.nn.utils.parametrizations, which keeps none"
                )
            raise ConfigError(
                f"model {self.name} ({self.place}): each client needs a copy, and it cannot be "
                f"copied: {why}"
            ) from error

    def _load(self, model: torch.nn.Module) -> None:
        assert self.start is not None
        found = {name: torch.from_numpy(array.copy()) for name, array in self.start.items()}
        _in_floats(model, found.values())
        try:
            load_into(model, found)
        except RuntimeError as error:
            why = str(error).splitlines()[-1].strip()
            raise ConfigError(f"model.start does not fit {self.name}: {why}") from None

    def cost(self, num_classes: int, input_shape: tuple[int, ...]) -> Cost:
        """What it asks for; only a model that has no formula for it is built and run."""
        if formula := self.entry.traits.get("cost"):
            return formula(num_classes, tuple(input_shape), self.params)
        from p2pqg.models._cost import cost_of

        return cost_of(self.build(num_classes, input_shape, 0).float(), input_shape)

    def shapes(
        self, num_classes: int, input_shape: tuple[int, ...]
    ) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of the tensors that a client's row is made of, in order."""
        named = self.build(num_classes, input_shape, 0).named_parameters()
        return tuple((name, tuple(t.shape)) for name, t in named if t.requires_grad)

    def columns(
        self, num_classes: int, input_shape: tuple[int, ...], patterns: Sequence[str]
    ) -> np.ndarray:
        """[params], bool: columns of a row whose parameters' names fit one of the patterns.

        Raises:
            ConfigError: a pattern fits none, or all of them fit.
        """
        named = self.shapes(num_classes, input_shape)
        names = [name for name, _ in named]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise ConfigError(
                    f"personal: model {self.name} trains no parameter {pattern!r}"
                    f"{did_you_mean(pattern, names)}"
                )
        sizes = [math.prod(shape) for _, shape in named]
        fits = [any(fnmatchcase(name, p) for p in patterns) for name in names]
        if all(fits):
            raise ConfigError(
                f"personal: all parameters of {self.name} would be; nothing is shared"
            )
        return np.repeat(fits, sizes)

    def with_(self, **changes: Any) -> Blueprint:
        return dataclasses.replace(self, **changes)

    @property
    def place(self) -> str:
        """Where its code is, for messages."""
        own = getattr(self.entry.build, "__wrapped__", None)
        module = getattr(self.entry.build, "module", None)
        return place_of(own if own is not None else module if module is not None else self)


def check(num_classes: int, input_shape: tuple[int, ...], seed: int) -> None:
    """ConfigError for what no model can be built of."""
    if not whole_number(num_classes, 1):
        raise ConfigError(f"num_classes must be a whole number >= 1, got {num_classes!r}")
    if not input_shape or not all(whole_number(side, 1) for side in input_shape):
        raise ConfigError(
            "input_shape must be the shape of one sample, whole numbers >= 1 such as (3, 32, 32), "
            f"got {input_shape!r}"
        )
    if not whole_number(seed, 0):
        raise ConfigError(f"seed must be a whole number >= 0, got {seed!r}")


def _in_floats(model: torch.nn.Module, tensors: Iterable[torch.Tensor]) -> torch.nn.Module:
    """The model in float64 if one of the tensors is, else in float32."""
    wide = any(tensor.dtype == torch.float64 for tensor in tensors)
    return model.double() if wide else model.float()


def load_into(model: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """`load_state_dict` of what the model's own parts hold today.

    Tensors alone do not say which version of a part they are of, and some parts take them for those
    of their first one, or refuse them.
    """
    whole = model.state_dict()  # says it
    whole.clear()
    whole.update(state)
    model.load_state_dict(whole)


def not_dense(tensor: torch.Tensor) -> str:
    """What a tensor is whose numbers do not stand side by side; "": they do."""
    if tensor.is_quantized:
        return "quantized"
    if tensor.is_nested:
        return "nested"
    layout = str(tensor.layout).removeprefix("torch.").removeprefix("_")
    return "" if layout == "strided" else f"kept as {layout}"


def _is_expanded(tensor: torch.Tensor) -> bool:
    """Whether several of its numbers are one in memory, as after `expand`."""
    return any(s > 1 and not step for s, step in zip(tensor.shape, tensor.stride(), strict=True))
