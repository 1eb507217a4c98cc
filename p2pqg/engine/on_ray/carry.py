"""A user's own code travels with the actors: they need not have the file, nor the notebook."""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

from ray import cloudpickle

from p2pqg.base.registry import Entry
from p2pqg.base.user_code import beside, is_library


def packed(thing: Any) -> bytes:
    """What `pickle.loads` in another process of this machine makes the same thing of.

    Also what was written in a script or notebook, which goes by value.

    Raises:
        Exception: of many kinds: it holds something that cannot travel.
    """
    data: bytes = cloudpickle.dumps(thing)
    return data


def by_value(parts: Iterable[Entry]) -> Any:
    """What stands in for `pickle` where users' own parts go to a process without their files."""
    for part in parts:
        carry(part)
    return cloudpickle


def carry(part: Entry) -> None:
    """Have Ray send a user's own part by value, and the modules that lie beside its file.

    What was written in a notebook travels by value anyway, and what is installed by its name.
    """
    if part.is_ours:
        return
    for name in set(_modules_of(part)):
        home = sys.modules.get(name)
        if home is None or name == "__main__" or is_library(home):
            continue
        for module in {home, *beside(home)}:
            cloudpickle.register_pickle_by_value(module)
        _modules_go_by_name()


def _modules_go_by_name() -> None:
    """Modules that are more than a module, such as torch.classes, are imported where they arrive.

    Cloudpickle sends along what code may mean by its attributes: with `self.classes` in a function
    that knows `torch`, that is torch.classes; and it knows the names of plain modules only.
    """
    for module in list(sys.modules.values()):
        kind = type(module)
        is_more = issubclass(kind, ModuleType) and kind is not ModuleType
        if is_more and kind.__reduce__ is object.__reduce__:
            copyreg.pickle(kind, _by_name)


def _by_name(module: ModuleType) -> Any:
    name = next(name for name, other in list(sys.modules.items()) if other is module)
    return import_module, (name,)


def _modules_of(part: Entry) -> Iterator[str]:
    """Names of the modules that its code is in; of a module of torch, those of all its layers."""
    yield part.build.__module__
    layers = getattr(getattr(part.build, "module", None), "modules", None)
    if layers is not None:
        yield from (type(layer).__module__ for layer in layers())
