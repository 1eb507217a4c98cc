"""One self-contained HTML page on a run, or on several side by side.

Everything is inside: styles, drawings (SVG), a small script for what it is nice to have (values
under the pointer, copying). Runs have Okabe and Ito's colors, accuracies those of viridis, which
color-blind readers can tell apart. All texts of the user's are escaped by the template,
`page.html`.

`runs.py`, `seeds.py` and `networks.py` find what is shown; `words.py`, `tables.py` and `claims.py`
say it; `curves.py` and `ranking.py` (on `charts.py`), `maps.py` and `pictures.py` draw it.
`replay.py` leads through the rounds with the drawing of the control room: `scene.py`,
`front.py`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape

from p2pqg.base.errors import ConfigError
from p2pqg.base.own_version import own_version
from p2pqg.base.text import draft_of, json_text, user_path, without_folders
from p2pqg.page import charts, claims, curves, front, maps, pictures, ranking, tables, words
from p2pqg.page.charts import MOST_RUNS
from p2pqg.page.networks import network_now, shards_of
from p2pqg.page.replay import Replay
from p2pqg.page.runs import gather, labels
from p2pqg.page.seeds import Seeds, best_first, by_setting
from p2pqg.results.standing import Standing

HERE = Path(__file__).parent
MOST_REPLAYS = 4
"""Runs that a page leads through their rounds."""


def write_page(run_dirs: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write a page on the runs in or below some directories.

    Args:
        run_dirs: one or more.
        out: the file; default: report.html in the run's directory, or in that which holds them all.

    Returns:
        The path of the file.

    Raises:
        ConfigError: no run there, a file that cannot be read or written, nothing recorded. Nothing
            was written then.
    """
    shown = gather(run_dirs)
    home = shown[0].path
    if len(shown) > 1:
        home = Path(os.path.commonpath([one.path.absolute() for one in shown]))
    path = home / "report.html" if out is None else user_path(out)
    if path.is_dir():
        raise ConfigError(f"--out must be a file, got a folder; try {path / 'report.html'}")
    text = render(best_first(by_setting(shown)), claims.judged(run_dirs))
    try:
        with draft_of(path, hidden=True) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}; set --out") from None
    return path


def render(shown: list[Standing], verdicts: Sequence[claims.Judged] = ()) -> str:
    """The page as text: tables of all of them, drawings of the first MOST_RUNS."""
    # A page is sent on: but for what is worked out again from files, paths lose their folders.
    everybody = [replace(one, config=without_folders(one.config)) for one in shown]
    every_name = labels(everybody)
    recipes = tables.recipes(shown, every_name)
    shown, names = shown[:MOST_RUNS], every_name[:MOST_RUNS]
    shards = shards_of(shown)
    counts = [found for found, _ in shards]
    networks = [network_now(one) for one in shown]
    shown = everybody[:MOST_RUNS]
    style, script = (
        (HERE / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")
    )
    replays = _replays(shown, names)
    made = (curves.chart(shown, names, measure) for measure in curves.measures_of(shown))
    text = _template().render(
        title=words.heading(everybody, every_name),
        sentence=words.sentence(everybody, counts),
        notes=words.notes(everybody, every_name),
        names=names,
        every_name=every_name,
        most_runs=MOST_RUNS,
        has_seeds=any(isinstance(one, Seeds) for one in shown),
        headline=tables.headline(shown[0]),
        verdicts=verdicts,
        comparison=tables.comparison(everybody) if len(shown) > 1 else [],
        settings=tables.settings(everybody, every_name) if len(shown) > 1 else [],
        events=words.events(everybody),
        axes={key: curves.AXES[key] for key in curves.axes_of(shown)},
        charts=(drawn := [chart for chart in made if chart]),
        can_zoom=any(plot.zoomed for chart in drawn for plot in chart.plots),
        hardships=words.hardships(everybody),
        has_spread=not shown[0].spread.empty,
        spreads=curves.spreads(shown, names) if len(shown) > 1 else [],
        ranking=ranking.by_accuracy(shown, names, (now := [network for network, _ in networks])),
        steps=ranking.by_steps(shown, names, now),
        pictures=pictures.pictures(shown, names, shards, networks),
        span=maps.accuracy_range(shown),
        viridis=maps.VIRIDIS,
        tiles=pictures.tiles(counts, networks[0][0]),
        recipes=recipes,
        points=json_text(points(shown), indent=None).replace("<", "\\u003c"),
        size=charts.SIZE,
        written=time.strftime("%d %B %Y, %H:%M"),
        version=own_version(),
        style=style,
        script=script,
        script_hash=_hash(script),
        replays=json_text(replays, indent=None).replace("<", "\\u003c") if replays else "",
        replay_style=front.style() if replays else "",
        replay_script=(replay_script := front.script() + front.replaying()) if replays else "",
        replay_hash=_hash(replay_script) if replays else "",
    )
    return text.lstrip()  # of the lines that macros left


def _replays(shown: list[Standing], names: list[str]) -> list[dict[str, Any]]:
    """The first runs through their rounds, as far as they were evaluated on the way."""
    runs = [
        Replay(number, one.path, name).whole()
        for number, (one, name) in enumerate(zip(shown, names, strict=True))
        if number < MOST_REPLAYS and one.run is not None
    ]
    return [run for run in runs if run is not None]


def _hash(script: str) -> str:
    """What the page's own policy knows a script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE, encoding="utf-8"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["unbroken"] = unbroken
    return environment.get_template("page.html")


def unbroken(text: str) -> Markup:
    """A text whose names, such as qg-dsgdm-n, stay on one line."""
    return Markup(
        re.sub(r"[\w.]+(?:-[\w.]+)+", r'<span class="name">\g<0></span>', str(escape(text)))
    )


def points(shown: list[Standing]) -> dict[str, list[dict[str, list[Any]]]]:
    """What is told under the pointer: measure -> for each run, its columns, thinned as drawn."""
    found: dict[str, list[dict[str, list[Any]]]] = {}
    axes = curves.axes_of(shown)
    for measure in curves.measures_of(shown):
        found[measure.key] = []
        for one in shown:
            frame = curves.measured_rows(one, measure.key)
            frame = frame.iloc[charts.thinned(frame[measure.key].to_numpy())]
            columns = {key: curves.along(key, frame) for key in [*axes, measure.key]}
            found[measure.key].append({key: _short(values) for key, values in columns.items()})
    return found


def _short(values: np.ndarray) -> list[float | int | None]:
    """Six digits will do under the pointer; integers stay whole."""
    return [
        None if value != value else int(value) if value == int(value) else float(f"{value:.6g}")
        for value in values.tolist()
    ]
