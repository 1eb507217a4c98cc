"""What a run was given as objects, and kept: arrays as safetensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError, DataError, did_you_mean
from p2pqg.base.registry import Entry
from p2pqg.data._arrays import DATASETS, Arrays
from p2pqg.data._files import located
from p2pqg.data._objects import raw_of
from p2pqg.data._reading import arrays_from
from p2pqg.data._stored import check, fetch
from p2pqg.data._tables import Columns

DATA = "data"
"""Key of the object, where settings go with it: `dataset={"data": frame, "label": "y"}`."""


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    path: str = ""
    """The file that the run kept; in data_dir, or from the current folder."""
    content: str = ""
    """Digest of what was given; data of another one are refused."""


def kept(
    params: Params, data_dir: Path | None, tokenizer: str | None, columns: tuple[str, ...]
) -> Arrays:
    """Your own arrays, as a run kept them that was given them as objects."""
    arrays = fetch(located(params.path, data_dir, "given"), params.content)
    if arrays.tokenizer != (tokenizer or ""):
        held, read = (f"tokens of {t}" if t else "numbers" for t in (arrays.tokenizer, tokenizer))
        raise ConfigError(
            f"{params.path} holds {held}, and the model reads {read}; give the data anew"
        )
    for name in columns:
        if name not in arrays.columns:
            known = did_you_mean(name, arrays.columns) or "; it has none"
            raise DataError(f"{params.path} has no column {name!r}{known}")
    return arrays


def is_object(value: Any) -> bool:
    """Whether `dataset=` is an object, not a name or a recipe's mapping."""
    if type(value) is dict:
        return DATA in value or any(map(_holds_arrays, value.values()))
    return value is not None and not isinstance(value, str)


def _holds_arrays(value: Any) -> bool:
    """Whether it is an array, or samples as in a dictionary of the clients' (X, y)."""
    return any(map(_is_array, value)) if isinstance(value, tuple) else _is_array(value)


def _is_array(value: Any) -> bool:
    """Whether it is one, and not a number of NumPy's, which a setting may be."""
    return hasattr(value, "__array__") and getattr(value, "ndim", 1) > 0


def read(
    value: Any,
    *,
    test: Any = None,
    tokenizer: str | None = None,
    columns: Sequence[str] = (),
    what: str = "dataset",
    held: bool = False,
) -> Arrays:
    """Arrays from what a user gives as `dataset=`.

    Args:
        value: `(X, y)` or `(X, y, X_test, y_test)` of numpy, torch, pandas or lists; a map-style
            Dataset, or a pair of them; a DatasetDict or Dataset of Hugging Face; a frame, or
            `(frame, "label")`; a list of `(X, y)`, one for each client; `Arrays`. Or a mapping with
            it under `data`, and with settings: those of `Columns`, and `test`.
        test: the test part, where `value` has none.
        tokenizer: how the model reads texts; None: it takes numbers; "": it takes whole numbers as
            they are, for it embeds them.
        columns: names of columns of a table that go along, for `partition: column:NAME`.
        what: the data are called in a message.
        held: the user goes on holding `value`, and may write into it.

    Returns:
        arrays; of data that come client by client with the column `client`.

    Raises:
        DataError: something else, or what is in it cannot be learned from.
        ConfigError: wrong settings.
    """
    from p2pqg.base import config  # it takes long to import, and few need it here

    settings: Mapping[str, Any] = {}
    if type(value) is dict and DATA in value:
        settings = {key: given for key, given in value.items() if key not in (DATA, "test")}
        test = value.get("test", test)
        value = value[DATA]
    chosen = config.made(Columns, settings, f"{what}.")
    if isinstance(value, Arrays):
        check(value, what)
        return value
    raw = replace(raw_of(value, test, chosen, tuple(columns), what), held=held)
    return arrays_from(raw, chosen, tokenizer)


def usual_model(arrays: Arrays) -> str:
    """The model for data that name none: by what a sample looks like."""
    if arrays.train_x.dtype.kind == "i":
        return "transformer"
    if len(arrays.input_shape) == 3:
        return "resnet20-gn" if arrays.input_shape[0] == 3 else "cnn"
    return "mlp"


DATASETS.unlisted["given"] = Entry(
    "given",
    kept,
    Params,
    source="yours: kept by a run",
    traits={"model": "mlp", "looks": True, "own": True},
)
