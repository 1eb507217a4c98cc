"""What a figure is: numbers, and a drawing of them; and how the figure of a recipe is made.

    figure: two-agents               # a key of FIGURES
    rounds: 60                       # its parameters, and the keys of a run where it trains

One that is drawn of a sweep may have them to itself: `figure: {name: accuracy-against, x: alpha}`.
A figure's numbers are a frame that goes into figureN.csv, and its drawing is made of nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from p2pqg.base import config as machinery
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.registry import Entry, F, NoParams, Registry
from p2pqg.base.text import draft_of, user_path
from p2pqg.results.run_frames import read_runs
from p2pqg.running.grid import NOT_OF_A_RUN

FIGURES = Registry("figure")
"""Entries are (params, Recipe) -> frame; traits `number`, `draw` (frame -> figure), `trains`."""

OF_THE_SWEEP = (*NOT_OF_A_RUN, "tiers", "sweep", "tune", "max_extensions", "name", "out")
"""Keys of a recipe that are not the figure's."""
FORMATS = ("svg", "pdf", "png")


def runs_in(recipe: Recipe, *needed: str) -> pd.DataFrame:
    """The runs in its folder that have come to an end, as a frame; see `run_frames`.

    Args:
        recipe: of the figure.
        needed: settings that they must have.

    Raises:
        ConfigError: there are no such runs, or they have no such setting.
    """
    runs = read_runs([recipe.folder])
    if runs.empty:
        raise nothing_finished(recipe)
    for key in needed:
        if key not in runs:
            raise ConfigError(f"the runs have no setting {key}{did_you_mean(key, runs)}")
    return runs


def nothing_finished(recipe: Recipe) -> ConfigError:
    """For a figure of runs, where all of them diverged or were stopped."""
    return ConfigError(
        f"{recipe.folder}: no run of the figure's sweep has finished; start it again to go on"
    )


@dataclass(frozen=True)
class Recipe:
    """What a figure has besides its own parameters.

    Attributes:
        settings: the recipe's keys for runs.
        folder: where the runs of its sweep are, and its files go.
    """

    settings: Mapping[str, Any]
    folder: Path


def figure(
    name: str,
    *,
    number: int | None = None,
    draw: Callable[[pd.DataFrame], Any],
    params: type = NoParams,
    source: str = "",
    trains: bool = False,
) -> Callable[[F], F]:
    """File a function `(params, Recipe) -> frame` under its name.

    Args:
        name: what recipes say.
        number: of the paper's figure; its files are called figureN, those of a figure that the
            paper does not have are called by its name.
        draw: makes the figure of the frame as it is read from the file.
        params: frozen data class of what may be set.
        source: paper and section.
        trains: its recipe may have the keys of a run, too.
    """
    return FIGURES.register(
        name, params=params, source=source, number=number, draw=draw, trains=trains
    )


def read_figure(values: Mapping[str, Any]) -> tuple[Entry, Any, dict[str, Any]]:
    """The figure of a recipe: its entry, its parameters, and the keys for its runs.

    Args:
        values: the recipe, with the tier it is made in merged in.

    Raises:
        ConfigError: with every problem; nothing was started.
    """
    from p2pqg.recipe.settings import read_config

    said = values.get("figure")
    named = dict(said) if isinstance(said, Mapping) else {"name": said}
    entry = FIGURES[str(named.pop("name", None))]
    rest = {str(key).replace("-", "_"): value for key, value in values.items()}
    rest = {key: value for key, value in rest.items() if key not in OF_THE_SWEEP}
    own = [field.name for field in dataclasses.fields(entry.params)]
    params, problems = machinery.read(
        entry.params, {key: rest.pop(key) for key in list(rest) if key in own} | named
    )
    if not entry.traits["trains"]:
        problems += [f"unknown key {key}{did_you_mean(key, own)}" for key in rest]
    elif not values.get(
        "sweep"
    ):  # which reads each of its runs; what they share may be half of one
        try:
            read_config(rest)
        except ConfigError as error:
            first, *more = str(error).split("\n  ")
            problems += more or [first]
    if problems:
        raise ConfigError.of(problems, f"figure {entry.name}")
    return entry, params, rest


def run_figure(values: Mapping[str, Any], folder: str | Path) -> Path:
    """Make the figure of a recipe: figureN.csv with its numbers, then .svg, .pdf and .png.

    One that is not of the paper has its own name instead of figureN.

    Args:
        values: the recipe, with the tier it is made in merged in.
        folder: where the files go; if the recipe has a sweep, its runs are there already.

    Returns:
        The path of the .svg; the other files lie beside it.

    Raises:
        ConfigError: the recipe is wrong, a sweep's runs are missing, or the folder cannot be
            written.
    """
    from p2pqg.plots.canvas import write

    entry, params, settings = read_figure(values)
    folder = user_path(folder)
    number = entry.traits["number"]
    stem = folder / (f"figure{number}" if number else entry.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None
    frame = entry.build(params, Recipe(settings, folder))
    with draft_of(stem.with_suffix(".csv")) as draft:
        frame.to_csv(draft, index=False)
    drawn = entry.traits["draw"](pd.read_csv(stem.with_suffix(".csv")))
    for suffix in FORMATS:
        write(drawn, stem.with_suffix(f".{suffix}"))
    return stem.with_suffix(".svg")
