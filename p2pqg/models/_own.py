"""A user's own model, as an entry like any other: a function, a class, or a module as it stands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from p2pqg.base.errors import ConfigError
from p2pqg.base.lazy import torch
from p2pqg.base.registry import Entry, NoParams
from p2pqg.base.signature import parameters, params_of, positional
from p2pqg.base.source import place_of

GIVEN = ("num_classes", "input_shape")
"""What a function that builds a model is told."""


def entry_of(own: Any, name: str) -> Entry:
    """The entry of a module, a class of modules, or a function that builds one.

    Args:
        own: what the user gave, or what a file defines under that name.
        name: what it is called in a recipe.

    Raises:
        ConfigError: it is none of these.
    """
    traits = {"own": True}
    if isinstance(own, torch.nn.Module):
        return Entry(name, Standing(own), NoParams, type(own).__name__, traits=traits)
    if not callable(own):
        raise ConfigError(
            f"model must be a name, a module or a function (num_classes, input_shape) -> module, "
            f"got {type(own).__name__}"
        )
    if isinstance(own, type) and own.__module__.startswith("torch.nn."):
        raise ConfigError(
            f"model is a class of torch; give a module, {own.__name__}(...), or a function "
            "(num_classes, input_shape) -> module"
        )
    summary = (inspect.getdoc(own) or "").partition("\n")[0]
    return Entry(name, builder_of(own), settable_of(own, name), summary, traits=traits)


def settable_of(own: Callable[..., Any], name: str) -> type:
    """What a recipe may set of a function that builds a model."""
    return params_of(own, positional(own, GIVEN, f"model {name}").values())


def builder_of(own: Callable[..., Any]) -> Callable[[int, tuple[int, ...], Any], torch.nn.Module]:
    """(num_classes, input_shape, params) -> module, of a function that takes them as keywords."""

    @functools.wraps(own, updated=())
    def build(num_classes: int, input_shape: tuple[int, ...], params: Any) -> torch.nn.Module:
        ours = {"num_classes": num_classes, "input_shape": input_shape}
        names = positional(own, GIVEN, place_of(own))
        given = {its: ours[name] for name, its in names.items()}
        built = own(**given, **vars(params))
        if not isinstance(built, torch.nn.Module):
            raise ConfigError(
                f"{place_of(own)}: must return an nn.Module, got {type(built).__name__}"
            )
        return built

    return build


def as_called(own: Any) -> str:
    """What a function that failed should know of how it was called; "": it named all of it."""
    if not callable(own):
        return ""
    names = positional(own, GIVEN, "")
    kinds = {p.kind for p in parameters(own).values()}
    if not names and kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        return f"; what it is given it names: {', '.join(GIVEN)}"
    if any(ours != its for ours, its in names.items()):
        how = " and ".join(f"{its} = {ours}" for ours, its in names.items())
        return f"; it was called with {how}, by their places: name them so"
    return ""


class Standing:
    """A module that is there already; its weights are everyone's start, whatever the seed."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self.__name__ = type(module).__name__
        self.__module__ = type(module).__module__

    def __call__(self, num_classes: int, input_shape: tuple[int, ...], params: Any) -> Any:
        return self.module
