"""Whether earlier runs of a folder are made of what new ones would be: code and data of a user's.

A sweep or a study may be started again days later. If a file was edited meanwhile, its runs are not
of one thing, and tables would say so only when all are done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from p2pqg.base.errors import ConfigError
from p2pqg.recipe.own_files import from_copies, paths_in
from p2pqg.recipe.parts import CONTENT, is_of_files
from p2pqg.recipe.settings import RunConfig
from p2pqg.results.run import Run


def check(
    folder: Path, earlier: Iterable[Run], to_come: Iterable[RunConfig], what: str
) -> list[str]:
    """Refuse new runs beside those of other code or other files of data.

    Args:
        folder: of all of them.
        earlier: runs that began in it.
        to_come: resolved recipes of runs that are left.
        what: the runs are called in the message.

    Returns:
        A line for each data set of which code, or the hub, gives other values now: on another
        machine the same code may.

    Raises:
        ConfigError: a file is not what it was when an earlier run began.
    """
    recipes = [vars(config) for config in to_come]
    now = [_data(recipe) for recipe in recipes]
    if not any(content for _, content in now) and not any(map(paths_in, recipes)):
        return []  # nothing in them is a user's own
    told = dict[str, None]()
    for run in earlier:
        news: list[str] = []
        from_copies(run.config, run.path, news.append)
        if news:
            _refuse(folder, what, "code", news[0].partition("; ")[0])
        data, content = _data(run.config)
        if any(same == data and content and it and it != content for same, it in now):
            if is_of_files(data["name"]):
                name = data.get("path") or data["data_dir"]
                _refuse(folder, what, "data", f"{name} has changed since the run began")
            told[f"dataset {data['name']} gives other values now than to earlier {what}"] = None
    return list(told)


def _data(resolved: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The data set of a recipe: its settings, where it is, and what is in it."""
    settings = {**resolved["dataset"], "data_dir": resolved.get("data_dir")}
    return settings, settings.pop(CONTENT, "")


def _refuse(folder: Path, what: str, kind: str, why: str) -> None:
    raise ConfigError(
        f"{folder} holds {what} of other {kind} ({why}); put it back, or choose another --out"
    )
