"""What a simulation came through as a recipe: `p2pqg run` repeats it bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from pprint import pformat
from typing import Any

from p2pqg.base import yaml_text
from p2pqg.base.config import plain
from p2pqg.base.digest import bare
from p2pqg.base.errors import ConfigError
from p2pqg.base.text import user_path, write_bytes, write_text
from p2pqg.base.user_code import GIVEN
from p2pqg.control.playable import Playable
from p2pqg.network.events import Event
from p2pqg.network.verbs import item_of
from p2pqg.recipe.own_files import FOLDER
from p2pqg.recipe.settings import ENDS, RunConfig


@dataclass(frozen=True)
class Recipe:
    """A run that can be repeated.

    Attributes:
        settings: keys of a recipe, without those that are as by default.
        last: items of a scenario for what was done after the last round: without effect so far.
        files: name -> content, of the user's own files that the recipe names.
    """

    settings: Mapping[str, Any]
    last: Sequence[Mapping[str, Any]] = ()
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

    @property
    def yaml(self) -> str:
        """The file; what was done last, and has had no effect yet, is a comment."""
        text = yaml_text.dump(dict(self.settings), default_flow_style=None, width=100)
        return text + self._told_last()

    @property
    def python(self) -> str:
        """The recipe as a call of `p2pqg.run`."""
        keys = "".join(
            f"    {key}={pformat(value, width=90, sort_dicts=False)},\n"
            for key, value in self.settings.items()
        )
        return f"import p2pqg\n\nrun = p2pqg.run(\n{keys})\n{self._told_last()}"

    def _told_last(self) -> str:
        style = {"default_flow_style": True, "width": 10**6}
        lines = [f"#  - {yaml_text.dump(dict(item), **style)}" for item in self.last]
        head = "# Done after the last round, and so without effect yet:\n"
        return head + bare("".join(lines)) if lines else ""

    def save(self, path: str | Path) -> list[Path]:
        """Write the YAML, and the Python beside it; the user's own files into `files/`.

        Args:
            path: of the YAML file.

        Returns:
            What was written.

        Raises:
            ConfigError: it is no such path, or cannot be written.
        """
        path = user_path(path)
        if path.suffix not in (".yaml", ".yml"):
            raise ConfigError(f"a recipe must be a .yaml file, got {str(path)!r}; add .yaml")
        texts = {path: self.yaml, path.with_suffix(".py"): self.python}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for name, content in self.files.items():
                (path.parent / FOLDER).mkdir(exist_ok=True)
                write_bytes(path.parent / FOLDER / name, content)
            for file, text in texts.items():
                write_text(file, text)
        except OSError as error:
            raise ConfigError(
                f"{path}: a recipe cannot be written ({error.strerror}); choose another path"
            ) from None
        return list(texts)


def recipe_of(sim: Playable) -> Recipe:
    """The recipe of what a simulation is after the rounds that it has done.

    Its own recipe, as long as that many rounds, and what was done by hand in its scenario.

    Raises:
        ConfigError: it has not done a round; or something was given that a recipe cannot say.
    """
    if not sim.round:
        raise ConfigError("save as recipe: no round is done yet; play at least one")
    experiment = sim.experiment
    settings = plain(experiment.config)
    planned = experiment.planned_rounds
    settings |= dict.fromkeys(ENDS) | {"rounds": sim.round, "planned_epochs": None}
    settings["planned_rounds"] = planned if planned != sim.round else None
    by_hand = [
        {"at": f"round {done['round']}", **{k: v for k, v in done.items() if k != "round"}}
        for done in sim.interventions
    ]
    for item in by_hand:
        if GIVEN in str(item):
            raise ConfigError(
                f"save as recipe: what was done in {item['at']} was given an object of Python, "
                "which a recipe cannot say; give it as a name or a file"
            )
    in_time = [done["round"] < sim.round for done in sim.interventions]
    settings["scenario"] = [
        *(item for item, early in zip(by_hand, in_time, strict=True) if early),
        *_played(settings["scenario"], experiment.scenario, sim),
    ]
    last = [item for item, early in zip(by_hand, in_time, strict=True) if not early]
    default = plain(RunConfig())
    return Recipe(
        {key: value for key, value in settings.items() if value != default[key]},
        last,
        experiment.own_files,
    )


def _played(items: Sequence[Any], scenario: Any, sim: Playable) -> Iterator[Any]:
    """The scenario that the simulation began with, as far as it has come.

    An item that was to happen later would be refused in a shorter run; what it has done by then
    stands for it.
    """
    done = scenario.rounds[: sim.cursor[0]]
    late = [event for event in scenario.rounds if event.at >= sim.round]
    broken = {_number(event) for event in late}
    by_item = {n: list(some) for n, some in groupby(sorted(done, key=_number), key=_number)}
    for number, item in enumerate(items):
        came = [event for event in by_item.get(number, []) if event.at < sim.round]
        to_the_end = "churn" in item or ("every" in item and "between" not in item and came)
        if number not in broken or to_the_end:
            yield item
            continue
        for event in came:
            said = item_of(event.action, event.arguments)
            yield {"at": f"round {event.at:.0f}", **said}


def _number(event: Event) -> int:
    """The item of a scenario that an event comes of: `scenario[3]`, `scenario[3] (line 7)`."""
    return int(event.where.partition("[")[2].partition("]")[0])
