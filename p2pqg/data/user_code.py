"""A user's own function that makes data: decorated, or named as `my_data.py:load`."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

from p2pqg.base.draws import keyed
from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.registry import Entry
from p2pqg.base.signature import params_of
from p2pqg.base.source import blamed
from p2pqg.data import _arrays
from p2pqg.data._arrays import DATASETS, Arrays
from p2pqg.data._tables import Columns
from p2pqg.data.given import DATA, read

F = TypeVar("F", bound=Callable[..., Any])
DATA_DIR = "data_dir"
"""What a function may ask for beside its own settings."""


@overload
def dataset(name: F) -> F: ...


@overload
def dataset(
    name: str | None = None,
    *,
    model: str | None = None,
    params: type | None = None,
    source: str = "yours",
    text: bool = False,
) -> Callable[[F], F]: ...


def dataset(
    name: Any = None,
    *,
    model: str | None = None,
    params: type | None = None,
    source: str = "yours",
    text: bool = False,
) -> Any:
    """File a function that makes data, so that `dataset="my-data"` finds it.

        @p2pqg.dataset("my-data")
        def my_data(size=100):
            return X, y

    It returns anything that `dataset=` takes: arrays, data sets of torch, a frame, and so on; or a
    mapping with that under `data`, and perhaps `test` and settings beside it. Its keywords are
    settings: `dataset={"name": "my-data", "size": 50}`, and so are those of `Columns` that are not
    among them. One called `data_dir` gets the recipe's. When it is filed again, as by a notebook's
    cell that runs twice, it replaces the first one.

    Args:
        name: what users type; default: the function's name, with dashes.
        model: the name of the model that is trained on it by default.
        params: frozen data class of what may be set; then the function is one of
            `(params, data_dir) -> Arrays`, as p2pqg's own are.
        source: where the data come from, for `p2pqg list`.
        text: with params: samples are texts; the function takes the model's tokenizer too.
    """
    if callable(name):
        return dataset()(name)

    def file(function: F) -> F:
        called = name or function.__name__.replace("_", "-")
        if params is not None:
            return _arrays.dataset(called, model=model, params=params, source=source, text=text)(
                function
            )
        filed = DATASETS.register(
            called, params=settings_of(function), source=source, **_traits(model)
        )
        filed(_builder(function))
        return function

    return file


def from_file(function: Callable[..., Any], name: str) -> Entry:
    """A part made of a plain function of a user's file."""
    summary = (inspect.getdoc(function) or "").partition("\n")[0]
    build = _builder(function)
    return Entry(name, build, settings_of(function), summary, "yours", _traits(None))


def settings_of(function: Callable[..., Any]) -> type:
    """A data class of the keywords of a function, and of those of `Columns`."""
    ours = [field.name for field in dataclasses.fields(Columns)]
    own = params_of(function, [*ours, DATA_DIR])
    return dataclasses.make_dataclass(
        f"Settings of {function.__name__}", (), bases=(own, Columns), frozen=True, kw_only=True
    )


def _traits(model: str | None) -> dict[str, Any]:
    return {"model": model or "mlp", "looks": model is None, "own": True}


def _builder(function: Callable[..., Any]) -> Callable[..., Arrays]:
    """(settings, data_dir, tokenizer, columns) -> arrays; its name and home are the function's."""

    @functools.wraps(function)
    def build(
        settings: Any, data_dir: Path | None, tokenizer: str | None, columns: tuple[str, ...]
    ) -> Arrays:
        given = {
            field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)
        }
        asked = inspect.signature(function).parameters
        keywords = {key: value for key, value in given.items() if key in asked}
        if DATA_DIR in asked:
            keywords[DATA_DIR] = data_dir
        try:
            with keyed(0):  # it is the same for all seeds
                made = function(**keywords)
        except ConfigError:
            raise
        except Exception as error:  # of the user's own code
            raise DataError(blamed(error, f"dataset {function.__name__}")) from error
        if made is None:
            raise DataError(f"dataset {function.__name__} returned nothing; return (X, y)")
        ours = {field.name for field in dataclasses.fields(Columns)} - set(asked)
        settings = {name: given[name] for name in ours}
        own = made if type(made) is dict and DATA in made else {DATA: made}
        return read(
            settings | own,
            tokenizer=tokenizer,
            columns=columns,
            what=f"dataset {function.__name__}",
        )

    return build


DATASETS.wrap = from_file
