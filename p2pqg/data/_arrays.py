"""What a data set is: arrays in memory; and how one is filed and loaded by name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from p2pqg.base import config
from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.registry import F, NoParams
from p2pqg.base.text import user_path
from p2pqg.base.user_code import FileRegistry
from p2pqg.data._columns import Column

DATASETS = FileRegistry("dataset")


@dataclass(frozen=True, eq=False)
class Arrays:
    """A data set: all training samples (to be partitioned) and the test set every client shares.

    Attributes:
        train_x: uint8 images [samples, channels, height, width], float32 features
            [samples, features], int32 tokens [samples, length], float32 states of texts [samples,
            length, width] (see `_encoded.py`), or paths of images that stay on disk, as bytes
            [samples]. A user's own features may be float64.
        train_y: of task "classes" int64 [samples], 0 .. num_classes - 1; of "regression" floats
            [samples, outputs]; of "multilabel" uint8 [samples, outputs], 0 or 1; of "own" int64 or
            floats [samples, ...].
        test_x: as train_x.
        test_y: as train_y.
        num_classes: outputs of a model: classes, targets or labels.
        mean: per channel, of images / 255; None: used as they are.
        std: per channel, of images / 255.
        augmentation: None; "crop-flip": pad 4, random crop to the old size, random mirror; of paths
            "resized-crop": a random part, scaled, and random mirror.
        side: of images that stay on disk, as the model sees them.
        task: "classes", "regression", "multilabel" or "own": what is to be learned.
        classes: names of the classes or outputs, where the data say them; else empty.
        tokenizer: how texts were cut into tokens, see `_tokens.py`; empty: they are no texts.
        columns: name -> what each training sample belongs to, such as its hospital.
        notes: what a reader should know of how the data were read, a line each.
        drawn: test samples that were drawn out of the training samples, none being given: the
            others are numbered anew.
        frozen: changes when what computed the states of texts does; empty: they are no states.
        content: of the files that images or texts were read from, in digits; empty: not known.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    num_classes: int
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    augmentation: str | None = None
    side: int = 0
    task: str = "classes"
    classes: tuple[str, ...] = ()
    tokenizer: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    drawn: int = 0
    frozen: str = ""
    content: str = ""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (channels, height, width), (features,) or (length,)."""
        return (3, self.side, self.side) if self.side else self.train_x.shape[1:]


def dataset(
    name: str,
    *,
    model: str | None = None,
    params: type = NoParams,
    source: str = "",
    text: bool = False,
    files: bool = True,
    own: bool = False,
) -> Callable[[F], F]:
    """File a function `(params, data_dir) -> Arrays` under its name.

    Args:
        name: what users type.
        model: the name of the model that is trained on it by default; None: what suits a sample,
            see `usual_model`.
        params: frozen data class of what may be set.
        source: where the data come from, for `p2pqg list`.
        text: samples are texts; the function takes the name of the model's tokenizer too.
        files: it is read from files; else data_dir means nothing to it.
        own: a user's own data, of any kind: the function takes the name of the model's tokenizer
            (or None, see `load`) and names of columns, `(params, data_dir, tokenizer, columns)`.
    """
    traits = {"text": text, "files": files, "own": own, "looks": model is None}
    return DATASETS.register(name, params=params, source=source, model=model or "mlp", **traits)


def load(
    name: str,
    data_dir: str | Path | None = None,
    tokenizer: str | None = None,
    columns: Sequence[str] = (),
    **params: Any,
) -> Arrays:
    """The data set called `name`, in memory.

    Args:
        name: a key of DATASETS.
        data_dir: where to look first, itself or its folder `name`; None: only the cache and the
            network. It must be there; data sets that need no files say that they ignore it.
        tokenizer: how the model reads texts, see `_tokens.py`; None: it takes numbers; "": of a
            user's own data, it takes whole numbers as they are, for it embeds them.
        columns: names of columns of a user's own data that go along, for `partition: column:NAME`.
        params: what the data set lets one set.

    Raises:
        ConfigError: unknown name or params, or texts for a model that reads none (or vice versa).
        DataError: missing, broken, and not to be had from the network either.
    """
    entry = DATASETS.named(name)
    folder = None if data_dir is None else user_path(data_dir)
    if folder is not None and not os.path.isdir(folder):
        raise DataError(f"data_dir must be an existing folder, got {str(data_dir)!r:.200}")
    chosen: Any = config.made(entry.params, params, "dataset.", name)
    if entry.traits.get("own"):
        return entry.build(chosen, folder, tokenizer, tuple(columns))
    if columns:
        raise ConfigError(f"dataset {name} has no columns, so there is no {columns[0]!r}")
    if not entry.traits.get("text"):
        if tokenizer:
            raise ConfigError(
                f"dataset {name} holds no texts, and the model reads nothing else; use model cnn"
            )
        arrays = entry.build(chosen, folder)
        if folder is None or entry.traits.get("files", True):
            return arrays
        ignored = f"data_dir {data_dir} is ignored: {name} needs no files"
        return dataclasses.replace(arrays, notes=(*arrays.notes, ignored))
    if not tokenizer:
        raise ConfigError(f"dataset {name} holds texts; use model transformer or distilbert")
    return entry.build(chosen, folder, tokenizer)
