"""One loader for all text data sets: Parquet files, or a download with Hugging Face's `datasets`.

It looks in `data_dir`, in its folder of the data set's name, and in the cache. Texts are cut into
tokens once, and remembered.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from p2pqg.base.cache_dir import cache_dir
from p2pqg.base.errors import DataError
from p2pqg.base.hub import check_reachable
from p2pqg.data import _parquet
from p2pqg.data._arrays import Arrays
from p2pqg.data._cache import Part, content_of_parts, remembered
from p2pqg.data._images import places
from p2pqg.data._labels import check_called_alike, numbered
from p2pqg.data._leak import leaked
from p2pqg.data._tokens import fingerprint, tokenise

TOKENISER = "1"
"""Part of the cache key; raise it when the same texts would become other numbers."""


@dataclass(frozen=True, kw_only=True)
class TextParams:
    """What may be set of every text data set."""

    length: Annotated[int, ">= 1"] = 64
    """Tokens kept of a text, >= 1; the paper keeps 128. Shorter ones are filled up."""


@dataclass(frozen=True, kw_only=True)
class TextSet:
    """What the loader must know about a data set.

    Attributes:
        num_classes: None: as many as there are labels.
        hub: its name on the Hugging Face hub; None: it is nowhere to be had.
        text_columns, label_columns: names of the columns; the first one present counts.
    """

    name: str
    num_classes: int | None
    hub: str | None
    text_columns: tuple[str, ...] = ("text",)
    label_columns: tuple[str, ...] = ("label",)


def load_texts(spec: TextSet, params: TextParams, data_dir: Path | None, tokenizer: str) -> Arrays:
    """Find, read, check and tokenise a text data set.

    Args:
        spec: which one.
        params: what the user may set.
        data_dir: where to look first.
        tokenizer: how the model reads, see `_tokens.py`.

    Returns:
        int32 tokens [samples, length].

    Raises:
        DataError: no such folder, a missing or broken file, wrong columns, or no network.
        ConfigError: no such tokenizer.
    """
    files = _find(spec, data_dir)
    train, test = (_tokens(spec, params, part, tokenizer) for part in files)
    if spec.num_classes:
        return Arrays(train.x, train.y, test.x, test.y, num_classes=spec.num_classes)
    names, of_test = (_parquet.class_names(part, spec.label_columns) for part in files)
    check_called_alike(test.y, of_test, dict(enumerate(names)), str(files[1][0]))
    labels = numbered(train.y, test.y, str(files[0][0].parent), names, test_what=str(files[1][0]))
    return Arrays(
        train.x,
        labels.train,
        test.x,
        labels.test,
        num_classes=labels.num_classes,
        classes=labels.names,
        notes=(*labels.notes, *leaked(train.x, test.x, str(data_dir))),
        content=content_of_parts(train, test),
    )


def _find(spec: TextSet, data_dir: Path | None) -> tuple[list[Path], list[Path]]:
    given = places(spec.name, data_dir)
    downloads = cache_dir() / spec.name
    for folder in [*given, downloads]:
        if found := _parquet.find_both(folder):
            return found
    if spec.hub is None:
        raise DataError(f"{data_dir}: needs train.parquet and test.parquet")
    _download(spec, downloads, looked_in=given)
    return [downloads / "train.parquet"], [downloads / "test.parquet"]


def _tokens(spec: TextSet, params: TextParams, files: list[Path], tokenizer: str) -> Part:
    """Tokens and labels of one part; from the cache while its files' content stays the same."""
    contents = hashlib.blake2b()
    for file in files:
        contents.update(file.read_bytes())
    key = (TOKENISER, spec.name, contents.hexdigest(), fingerprint(tokenizer), params.length)

    def make() -> Part:
        texts, labels = zip(*(_read(spec, file) for file in files), strict=True)
        joined = [text for some in texts for text in some]
        return Part(tokenise(joined, tokenizer, params.length), np.concatenate(labels))

    part = remembered(f"{spec.name}-{files[0].stem}", key, make)
    return part._replace(content=contents.hexdigest()[:16])


def _read(spec: TextSet, file: Path) -> tuple[list[str], np.ndarray]:
    texts, labels = _parquet.read(file, spec.text_columns, spec.label_columns, spec.num_classes)
    if not _parquet.is_text(texts.type) or texts.null_count:
        raise DataError(
            f"{file}: the column of texts must hold a text in every row, it holds {texts.type}, "
            f"{texts.null_count} of its rows null"
        )
    return texts.to_pylist(), labels


def _download(spec: TextSet, folder: Path, looked_in: list[Path]) -> None:
    """Fetch both parts into `folder`: all of it or nothing."""
    try:
        check_reachable()
        from datasets import load_dataset

        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
            for part in ("train", "test"):
                load_dataset(spec.hub, split=part).to_parquet(f"{unfinished}/{part}.parquet")
            folder.mkdir(exist_ok=True)
            for child in Path(unfinished).iterdir():
                os.replace(child, folder / child.name)
    except Exception as error:  # not installed, no network, no space: nothing is left
        where = " and ".join(str(place) for place in looked_in)
        reason = str(error).strip().partition("\n")[0]
        raise DataError(
            f"{spec.name} is not in {where or 'the cache'} and could not be downloaded "
            f"({reason}); point data_dir to a folder with train.parquet and test.parquet, or "
            "pip install 'p2pqg[text]' where there is a network"
        ) from error
