"""The final numbers, the settings in which runs differ, and how to run them again."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from p2pqg.base import yaml_text
from p2pqg.base.dotted import flat
from p2pqg.base.text import typed, without_folders
from p2pqg.base.wording import counted, shortened
from p2pqg.page.runs import differing
from p2pqg.page.seeds import Seeds
from p2pqg.results.columns import column, measured, say
from p2pqg.results.standing import Standing

MOST_LETTERS = 160
"""Letters of a setting in the table of settings, at most."""


@dataclass(frozen=True)
class Cell:
    name: str
    text: str
    value: float | None = None
    """The number as recorded, where the text is a number."""
    best: bool = False
    note: str = ""
    """When it was measured, where that is not the end of the run."""


EVALUATED = (
    "test_accuracy",
    "test_accuracy_std",
    "test_accuracy_min",
    "averaged_model_accuracy",
    "honest_test_accuracy",
)
"""Results that are as old as the last evaluation."""
RESULTS = (
    "test_accuracy",
    "test_accuracy_std",
    "test_accuracy_min",
    "averaged_model_accuracy",
    "honest_test_accuracy",
    "train_loss",
    "consensus_distance",
    "bytes_sent",
    "wall_seconds",
    "sim_seconds",
)


def results_of(shown: Sequence[Standing]) -> list[str]:
    """Columns of the table: those of every run, and metrics that some have, after the accuracy."""
    own = dict.fromkeys(key for one in shown for key in measured(one.rounds))
    return [*RESULTS[: len(EVALUATED)], *own, *RESULTS[len(EVALUATED) :]]


def headline(one: Standing) -> list[Cell]:
    """The final numbers of a single run, as far as there are any."""
    values = {key: one.final.get(key) for key in results_of([one])}
    cells = [
        Cell(column(key).title, say(key, found), found, note=_age(one, key))
        for key, found in values.items()
    ]
    return [cell for cell in cells if cell.text != "-"]


def comparison(shown: Sequence[Standing]) -> list[list[Cell]]:
    """The final numbers, a row per run.

    Only runs that finished can be best, and cheapest only after equally many rounds. What reads
    the same is equally good; nothing is marked where every run reads the same.
    """
    rows = [[_rounds(one)] for one in shown]
    lengths = {row[0].value for row, one in zip(rows, shown, strict=True) if one.finished}
    for key in results_of(shown):
        choose = column(key).best
        values = [one.final.get(key, float("nan")) for one in shown]
        texts = [say(key, value) for value in values]
        if set(texts) == {"-"}:
            continue
        can = [v for v, one in zip(values, shown, strict=True) if one.finished and v == v]
        comparable = choose is max or (choose is min and len(lengths) == 1)
        best = None
        if choose and comparable and can and len(set(texts)) > 1:
            best = say(key, choose(can))
        for row, one, value, text in zip(rows, shown, values, texts, strict=True):
            is_best = one.finished and text == best
            note = _age(one, key) if text != "-" else ""
            note = ", ".join(filter(None, [_spread(one, key), note]))
            row.append(Cell(column(key).title, text, value, is_best, note))
    return rows


def _rounds(one: Standing) -> Cell:
    """Rounds done when the numbers of a row were measured."""
    done = one.final["rounds"] if isinstance(one, Seeds) else one.rounds_done
    return Cell(column("rounds").title, say("rounds", done), done, note=_spread(one, "rounds"))


def _spread(one: Standing, key: str) -> str:
    """How far seeds are apart; "" of one seed, and where they agree."""
    deviation = one.deviation.get(key, float("nan")) if isinstance(one, Seeds) else float("nan")
    text = say(key, deviation)
    return f"± {text}" if deviation > 0 and set(text) & set("123456789") else ""


def _age(one: Standing, key: str) -> str:
    """The round that a number is of, where that is not the last one."""
    is_tested = key in EVALUATED or key in measured(one.rounds)
    at = one.evaluated_rounds if is_tested else one.recorded
    if not one.finished and key in one.rounds and one.summary.get(key) is None:
        known = one.rounds.dropna(subset=key)["round"]  # later ones may be infinite
        at = int(known.max()) + 1 if len(known) else at
    if key == "wall_seconds" or not 0 < at < one.rounds_done:
        return ""
    return f"after {counted(at, 'round')}"


def settings(shown: Sequence[Standing], labels: Sequence[str]) -> list[list[Cell]]:
    """The settings in which the runs differ, a row per run; [] where their names say it all."""
    table = differing(shown)
    if all(list(table[key]) == list(labels) for key in table):
        return []
    return [
        [Cell(key.replace("_", " "), shortened(text, MOST_LETTERS)) for key, text in row.items()]
        for row in table.to_dict("records")
    ]


@dataclass(frozen=True)
class Recipe:
    run: int
    label: str
    path: str
    text: str
    command: str
    versions: str

    @property
    def link(self) -> str:
        return "data:text/yaml;base64," + base64.b64encode(self.text.encode()).decode()


def recipes(shown: Sequence[Standing], labels: Sequence[str]) -> list[Recipe]:
    found = []
    for run, (one, label) in enumerate(zip(shown, labels, strict=True)):
        path = _from_here(one.path)
        command = f"p2pqg run {typed(path / 'config.yaml')}"
        if one.config.get("name"):  # a directory that holds a run is not written to
            command += f" --name {typed(str(one.config['name']) + '-again')}"
        if isinstance(one, Seeds):
            command += f"   # and with --seed {', '.join(one.seeds[1:])}"
        versions = dict(one.summary.get("versions") or {})
        where = [str(one.summary[k]) for k in ("device", "precision") if one.summary.get(k)]
        if one.summary.get("engine"):
            hosted = counted(one.summary.get("actors") or 0, "actor")
            where.append(f"engine {one.summary['engine']}" + f", {hosted}" * (hosted[0] != "0"))
        texts = [", ".join(f"{name} {version}" for name, version in versions.items()), *where]
        text = yaml_text.dump(shortened := without_folders(one.config))
        whole, told = flat(one.config), flat(shortened)
        if gone := [key for key, value in whole.items() if told[key] != value]:
            text = f"# without the folders of the machine it ran on: {', '.join(gone)}\n{text}"
        versions_text = "; ".join(filter(None, texts)) or "not on record"
        found.append(Recipe(run, label, str(path), text, command, versions_text))
    return found


def _from_here(path: Path) -> Path:
    """The path without what leads to where we are."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
