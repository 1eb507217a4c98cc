"""Objects of the user's where a recipe has names: a module, arrays, a graph, a function.

A recipe is plain data; what is none stands beside it, under the same keys. A run keeps what can be
kept in its folder `files`: code as Python, arrays and weights as safetensors; never a pickle. The
recipe names the copy then, `files/own_model.py:Net`. What cannot be kept, a lambda say, is called
`given:NAME#...`, with a few letters that tell it from others (see `base.digest`), and has to be
given again to whoever wants to go on.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from os import PathLike, fspath
from typing import Any

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.digest import bare, given_name
from p2pqg.base.errors import ConfigError
from p2pqg.base.source import UnkeptError, code_of, named_in_code
from p2pqg.base.user_code import GIVEN, names_a_file
from p2pqg.data import is_object
from p2pqg.recipe.own_files import FOLDER, OWN_ALGORITHM, OWN_ALGORITHM_LETTERS
from p2pqg.topology.keeping import copy_of


@dataclass(frozen=True)
class Own:
    """The objects of one simulation.

    Attributes:
        objects: key of the recipe -> the object; of `metrics`, a mapping of columns to functions.
        files: name -> content, what a run keeps of them.
        lost: key -> why its object cannot be kept, a line each.
    """

    objects: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    lost: Mapping[str, str] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """The object under a key of the recipe; None: it has a name there."""
        return self.objects.get(key)

    @property
    def notes(self) -> list[str]:
        """What a user should know, a line each."""
        again = {"algorithm": "define it again before you resume"}
        return [
            f"{key}: {why}; a run cannot keep it: {again.get(key, 'give it again to resume')}"
            for key, why in self.lost.items()
        ]


NOTHING = Own()

PLAIN = {"attacks", "impairments", "network", "scenario"}
"""Keys under which there is plain data alone, and no object."""


@dataclass
class _Kept:
    """What becomes of the settings while objects are taken out of them."""

    settings: dict[str, Any]
    objects: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)

    def code(self, key: str, thing: Any, called: str = "") -> str:
        """What the recipe calls a function or class; its code goes into a file of its own."""
        try:
            name = named_in_code(thing)
            text, beside = code_of(thing)
        except UnkeptError as reason:
            return self.lose(key, thing, str(reason))
        file = f"own_{called or key}.py"
        self.files[file] = text.encode()
        self.files |= {path.name: path.read_bytes() for path in beside if path.is_file()}
        return f"{FOLDER}/{file}:{name}"

    def lose(self, key: str, thing: Any, why: str) -> str:
        """What the recipe calls an object that cannot be kept."""
        given = given_name(thing, values=not key.startswith("callbacks"))
        self.lost[key] = f"{bare(given).removeprefix(GIVEN)} {why}"
        return given


def taken(settings: Mapping[str, Any]) -> tuple[dict[str, Any], Own]:
    """Take the objects out of keywords.

    Returns:
        The settings with a name in place of each object, and the objects.
    """
    kept = _Kept({key: _as_a_recipe_says(value) for key, value in settings.items()})
    kept.settings |= {key: _plain(kept.settings[key]) for key in PLAIN & kept.settings.keys()}
    _keep_algorithm(kept, kept.settings.get("algorithm"))
    _check_rule(kept.settings.get("rule"))
    for key, take in TAKERS.items():
        if kept.settings.get(key) is not None:
            take(kept, kept.settings[key])
    return kept.settings, Own(kept.objects, kept.files, kept.lost)


def _as_a_recipe_says(value: Any) -> Any:
    """A value as a recipe would say it: of a `Path` its text, of an enum its value.

    >>> from pathlib import Path
    >>> _as_a_recipe_says({"path": Path("models/bert"), "edges": {"3-4": Path("a.csv")}})
    {'path': 'models/bert', 'edges': {'3-4': 'a.csv'}}
    >>> Method = Enum("Method", {"OURS": "qg-dsgdm"}, type=str)
    >>> _as_a_recipe_says({"name": Method.OURS})
    {'name': 'qg-dsgdm'}
    """
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Enum):
        return _as_a_recipe_says(value.value)
    if type(value) is dict:
        return {key: _as_a_recipe_says(one) for key, one in value.items()}
    if type(value) is list and any(isinstance(one, PathLike | Enum | dict) for one in value):
        return [_as_a_recipe_says(one) for one in value]
    return value


def _plain(value: Any) -> Any:
    """Numbers and lists of numpy and torch as Python's own, within mappings and lists, too.

    >>> import numpy as np
    >>> _plain([{"at": np.int64(3), "set_lr": np.float64(0.1), "drop_clients": np.arange(2)}])
    [{'at': 3, 'set_lr': 0.1, 'drop_clients': [0, 1]}]
    """
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value


def check_given(name: str, key: str) -> None:
    """Refuse the name of an object that is not there any more.

    Raises:
        ConfigError: it is one.
    """
    if name.startswith(GIVEN):
        what = bare(name).removeprefix(GIVEN)
        raise ConfigError(
            f"{key} was an object of Python ({what}), which a run cannot keep; give it again: "
            f"p2pqg.resume(path, {key}=...), or the same keyword of run"
        )


def _check_rule(value: Any) -> None:
    """Refuse a rule of gossip that is a function: it goes with the network, which is plain data."""
    rule = value.get("name") if isinstance(value, Mapping) else value
    if callable(rule):
        name = getattr(rule, "__name__", type(rule).__name__).strip("<>")
        raise ConfigError(
            f"rule {name} is a Python function; write it to a file and say rule: my_file.py:{name}"
        )


def _take_model(kept: _Kept, value: Any) -> None:
    if isinstance(value, str):
        return
    given = dict(value) if isinstance(value, Mapping) else {"name": value}
    model = given.get("name")
    if model is None or isinstance(model, str):
        return
    kept.objects["model"] = model
    if inspect.isclass(model) or (callable(model) and not hasattr(model, "state_dict")):
        given["name"] = kept.code("model", model)
    elif hasattr(model, "state_dict"):
        from p2pqg.models._keeping import code_of_module, weights_of  # brings torch

        try:
            text, beside = code_of_module(model)
            weights = weights_of(model)
        except UnkeptError as reason:
            given["name"] = kept.lose("model", model, str(reason))
        else:
            kept.files["own_model.py"] = text.encode()
            kept.files |= {path.name: path.read_bytes() for path in beside if path.is_file()}
            kept.files["own_model.safetensors"] = weights
            given["name"] = f"{FOLDER}/own_model.py:given"
            given["start"] = f"{FOLDER}/own_model.safetensors"
    else:
        given["name"] = f"{GIVEN}{type(model).__name__}"  # refused when the model is looked for
    kept.settings["model"] = given


def _take_function(key: str) -> Callable[[_Kept, Any], None]:
    """How a function is taken for a key whose value is a name, or a mapping with one."""

    def take(kept: _Kept, value: Any) -> None:
        given = dict(value) if isinstance(value, Mapping) else {"name": value}
        function = given.get("name")
        if callable(function):
            kept.objects[key] = function
            given["name"] = kept.code(key, function)
            kept.settings[key] = given if len(given) > 1 else given["name"]

    return take


def _take_metrics(kept: _Kept, value: Any) -> None:
    if callable(value) or isinstance(value, str):
        value = [value]
    if isinstance(value, Mapping):
        named = dict(value)
    elif isinstance(value, list | tuple):
        named = {_column_of(one): one for one in value}
        if len(named) < len(value):
            raise ConfigError("metrics: two have the same name; give them names: {name: metric}")
    else:
        return
    own = {str(column): one for column, one in named.items() if callable(one)}
    if own:
        kept.objects["metrics"] = own
    names = {}
    for column, one in named.items():
        if callable(one):
            names[str(column)] = kept.code(f"metrics.{column}", one, f"metric_{column}")
        else:
            names[str(column)] = one
    kept.settings["metrics"] = names


def _column_of(metric: Any) -> str:
    """`my_metrics.py:auc` is the column auc."""
    if isinstance(metric, str):
        return metric.rpartition(":")[2].replace("-", "_")
    return getattr(metric, "__name__", type(metric).__name__)


def _take_callbacks(kept: _Kept, value: Any) -> None:
    given = list(value) if isinstance(value, list | tuple) else [value]
    own = {number: one for number, one in enumerate(given) if not isinstance(one, str)}
    if not own:
        return
    kept.objects["callbacks"] = own
    names: list[str] = []
    for number, one in enumerate(given):
        key = f"callbacks[{number}]"
        if isinstance(one, str):
            names.append(one)
        elif inspect.isfunction(one) or inspect.isclass(one) or not _is_made_of_nothing(one):
            names.append(
                kept.code(key, one, f"callback_{number}")
                if inspect.isfunction(one) or inspect.isclass(one)
                else kept.lose(key, one, "is an object that knows more than its class")
            )
        else:
            names.append(kept.code(key, type(one), f"callback_{number}"))
    kept.settings["callbacks"] = names


def _is_made_of_nothing(one: Any) -> bool:
    """Whether `Class()` gives the same object again."""
    try:
        return vars(type(one)()) == vars(one)
    except Exception:  # a constructor that wants more, or values that cannot be compared
        return False


def _take_lr(kept: _Kept, value: Any) -> None:
    is_file = isinstance(value, str) and names_a_file(value)
    if not (callable(value) or is_file):
        return
    kept.settings.pop("lr")
    schedule = dict(kept.settings.get("lr_schedule") or {})
    if not is_file:
        kept.objects["lr"] = value
    name = value if is_file else kept.code("lr", value)
    kept.settings["lr_schedule"] = schedule | {"function": name}


def _take_dataset(kept: _Kept, value: Any) -> None:
    """Arrays become files when they have been read: how depends on the model."""
    if is_object(value):
        kept.objects["dataset"] = value
        kept.settings["dataset"] = "given"


def _take_test(kept: _Kept, value: Any) -> None:
    if not isinstance(value, str):
        if "dataset" not in kept.objects:
            raise ConfigError(
                "test must be common or own; a test set of one's own goes with dataset=, an object"
            )
        kept.objects["test"] = value
        del kept.settings["test"]


def _take_partition(kept: _Kept, value: Any) -> None:
    if not isinstance(value, str | Mapping):
        kept.objects["partition"] = value
        kept.settings["partition"] = "given"


def _take_topology(kept: _Kept, value: Any) -> None:
    if isinstance(value, str):
        return
    kept.objects["topology"] = value
    if inspect.isroutine(value):
        kept.settings["topology"] = kept.code("topology", value)
        return
    try:
        name, content = copy_of(value)
    except ValueError as reason:
        kept.settings["topology"] = kept.lose("topology", value, str(reason))
    else:
        kept.files[name.partition(":")[0]] = content
        kept.settings["topology"] = f"{FOLDER}/{name}"


def _keep_algorithm(kept: _Kept, value: Any) -> None:
    """One that a script or notebook registered stays a name; its code is kept beside it."""
    name = value.get("name") if isinstance(value, Mapping) else value
    files, why = kept_of_algorithm(name)
    kept.files |= files
    if why:
        kept.lost["algorithm"] = f"{name} {why}"


def kept_of_algorithm(name: Any) -> tuple[dict[str, bytes], str]:
    """What a run keeps of an algorithm that a script or notebook registered.

    Returns:
        Its files, none of other algorithms; and why its code cannot be kept, "" if it can. Then the
        only file has letters that tell it from others.
    """
    if not isinstance(name, str) or name not in ALGORITHMS:
        return {}, ""
    entry = ALGORITHMS[name]
    if entry.is_ours:
        return {}, ""
    try:
        text, beside = code_of(entry.build)
    except UnkeptError as reason:
        parts = entry.build, entry.params, entry.traits["start"]
        letters = " ".join(given_name(part).removeprefix(GIVEN) for part in parts)
        return {OWN_ALGORITHM_LETTERS: f"{letters}\n".encode()}, str(reason)
    files = {path.name: path.read_bytes() for path in beside if path.is_file()}
    return {OWN_ALGORITHM: text.encode(), **files}, ""


TAKERS: dict[str, Callable[[_Kept, Any], None]] = {
    "topology": _take_topology,
    "dataset": _take_dataset,
    "test": _take_test,
    "partition": _take_partition,
    "model": _take_model,
    "loss": _take_function("loss"),
    "metrics": _take_metrics,
    "callbacks": _take_callbacks,
    "lr": _take_lr,
}
"""Key -> what takes its object out of the settings."""
