"""A data set of the Hugging Face hub, with its columns named: `hf:owner/name`.

Read through the package `datasets`, the extra `data`. Its cache is asked where there is no network.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError, DataError
from p2pqg.base.hub import check_reachable
from p2pqg.data._arrays import Arrays, dataset
from p2pqg.data._objects import raw_of
from p2pqg.data._reading import arrays_from
from p2pqg.data._tables import Columns

NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")


@dataclass(frozen=True, kw_only=True)
class Params(Columns):
    """What may be set."""

    path: str = ""
    """The data set's name on the hub: owner/name."""
    config: str = ""
    """One of its configurations, where it has several."""
    train: str = "train"
    """The split to learn from."""
    test: str = ""
    """The split to test with. Default: test, validation, valid or val; else a share is held out."""
    revision: str = ""
    """A commit or tag, so that it stays what it is."""


@dataset("hub", params=Params, source="the Hugging Face hub: hf:OWNER/NAME", own=True)
def hub(
    params: Params, data_dir: Path | None, tokenizer: str | None, columns: tuple[str, ...]
) -> Arrays:
    """A data set of the hub; name its columns."""
    what = f"hf:{params.path:.100}"
    if not NAME.fullmatch(params.path):
        raise ConfigError(f"dataset {what}: a name on the hub is owner/name")
    if os.path.exists(params.path):  # `datasets` would read that
        raise ConfigError(f"dataset {what}: there is a folder of that name here; start elsewhere")
    splits = _fetched(params, what)
    chosen = chosen_splits(splits, params.train, params.test, what)
    return arrays_from(raw_of(chosen, None, params, columns, what), params, tokenizer)


def chosen_splits(splits: Mapping[str, Any], train: str, test: str, what: str) -> dict[str, Any]:
    """The split to learn from as `train`, and that to test with; all others, if none is named.

    Raises:
        DataError: there is none of that name.
    """
    for name in (train, test):
        if name and name not in splits:
            raise DataError(f"{what} has no split {name}, only {', '.join(splits)}")
    if test:
        return {"train": splits[train], "test": splits[test]}
    others = {name: split for name, split in splits.items() if name != train}
    return others | {"train": splits[train]}  # in this order: others may be called train, too


def _fetched(params: Params, what: str) -> Any:
    """All splits; from the cache where the hub cannot be reached.

    Raises:
        DataError: `datasets` is not installed, or there is no such thing.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(f"{what} needs the package datasets: pip install 'p2pqg[data]'") from None
    try:
        with quiet(datasets):
            options = {"name": params.config or None, "revision": params.revision or None}
            try:
                check_reachable()
            except ConnectionError as unreachable:
                return _from_cache(datasets, params.path, options, unreachable)
            return datasets.load_dataset(params.path, **options)
    except Exception as error:  # no such name, a script that must not run, no space: a bit of all
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{what} is not to be had ({reason:.300})") from error


def _from_cache(datasets: Any, path: str, options: dict[str, Any], why: ConnectionError) -> Any:
    """What an earlier run downloaded."""
    before, datasets.config.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE, True
    try:
        return datasets.load_dataset(path, **options)
    except Exception:  # as above; that it is not in the cache is no news
        raise why from None
    finally:
        datasets.config.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def quiet(datasets: Any) -> Iterator[None]:
    """No progress bars, no remarks."""
    settings = datasets.utils.logging
    level, bars = settings.get_verbosity(), datasets.is_progress_bar_enabled()
    settings.set_verbosity_error()
    datasets.disable_progress_bar()
    try:
        yield
    finally:
        settings.set_verbosity(level)
        if bars:
            datasets.enable_progress_bar()
