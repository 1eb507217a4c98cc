"""Which runs are alike: their settings side by side, and in which they differ."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import pandas as pd

from p2pqg.base.digest import comparable, is_known
from p2pqg.base.dotted import flat
from p2pqg.base.errors import ConfigError
from p2pqg.base.text import read_json
from p2pqg.base.user_code import GIVEN
from p2pqg.base.wording import missing, plain_text
from p2pqg.recipe.keys import CARE, WHERE
from p2pqg.recipe.own_files import FOLDER, IMPORTED, is_copy, letters_in
from p2pqg.results.directory import SEEDS
from p2pqg.results.redrawn import drawn_otherwise
from p2pqg.results.run import Run

SAME_RESULTS = {"out", "name", "eval_every", "eval_first", "record_every", *CARE}
"""Settings that change nothing but what is on disk."""
SAME_NUMBERS = {*SAME_RESULTS, *WHERE}
"""Settings that do not change what is learned."""

OWN_FILES = "files."
"""Before the name of a file of the user's in a frame of runs, such as files.my_model.py: what is in
it, as a few letters. Code that was edited between two runs makes them unlike."""
KEPT = re.compile(r"(data|partition)-[0-9a-f]{16}\.safetensors")
"""Files of what was given as an object: the recipe says their content."""
SPLIT = ("partition.path", "partition.content")
"""Settings that say how the samples of a run were split by an object of Python."""
CONTENT = "dataset.content"
"""What is in a data set, as a few letters: files that were changed between two runs, say."""
DRAWN = {
    "data": ("dataset.path", ("dataset.path", CONTENT)),
    "start weights": ("model.start", (f"{OWN_FILES}own_model.safetensors",)),
}
"""What an object may be of -> the setting that names the file it is kept in, and all settings in
which it shows."""
PLAIN = {str, int, float, bool, type(None)}
"""Types of which what is equal is also written alike."""
LARGE = 2**20
"""Bytes of a file that are read at once."""
ADDED = {"dataset.standardise": False, "dataset.tokens": False}
"""Settings of parts that a version of p2pqg did not know yet, and what was so then."""


class Configured(Protocol):
    """A run, or where one stands: whatever has a resolved recipe."""

    @property
    def config(self) -> dict[str, Any]: ...


def settings_of(runs: Iterable[Configured]) -> pd.DataFrame:
    """One row per run, one column per setting; NaN where a run does not have that setting."""
    rows = []
    for run in runs:
        row = flat(run.config)
        row["topology"] = _network(row["topology"], row["clients"])
        if (place := _place_of(run)) is not None and drawn_otherwise(place, row["topology"]):
            row["topology"] += " (drawn by an older version)"
        for key in (SPLIT[0], DRAWN["data"][0]):
            # Where it lies says nothing: a seed that began later reads the file of the first one.
            if KEPT.fullmatch(name := Path(str(row.get(key))).name):
                row[key] = f"{FOLDER}/{name}"
        rows.append(row | _split_of_first_seed(run, row) | own_files(run))
    for key in {key for row in rows for key, value in row.items() if GIVEN in str(value)}:
        given = [row for row in rows if GIVEN in str(row.get(key))]
        for row, name in zip(given, comparable([row[key] for row in given]), strict=True):
            row[key] = name
    _keep_content_of_files(rows)
    return with_defaults(pd.DataFrame(rows).drop(columns="name", errors="ignore"))


def gave_others(runs: Iterable[Configured]) -> list[str]:
    """Data sets that are made by code, or of the hub, and were not the same for all of the runs.

    That is no setting: on another machine the same code may come to other last digits.
    """
    from p2pqg.recipe.parts import TOKENS, is_of_files

    found: dict[str, set[str]] = {}
    for run in runs:
        data = dict(run.config.get("dataset") or {})
        if (content := data.pop("content", "")) and not is_of_files(data["name"]):
            model = run.config.get("model") if content.endswith(TOKENS) else ""  # as it reads
            found.setdefault(json.dumps([data, model], default=str), set()).add(content)
    return [json.loads(key)[0]["name"] for key, contents in found.items() if len(contents) > 1]


def _keep_content_of_files(rows: list[dict[str, Any]]) -> None:
    """Leave out what code made, see `gave_others`.

    Data of older runs, of which nobody knows what was in them, are taken for what all others had.
    """
    from p2pqg.recipe.parts import is_of_files

    for row in rows:
        if CONTENT in row and not is_of_files(str(row.get("dataset"))):
            del row[CONTENT]
    for name in {row.get("dataset") for row in rows if CONTENT in row}:
        same = [row for row in rows if row.get("dataset") == name]
        if len(known := {row[CONTENT] for row in same if row.get(CONTENT)}) == 1:
            for row in same:
                row[CONTENT] = row.get(CONTENT) or min(known)


def with_defaults(frame: pd.DataFrame) -> pd.DataFrame:
    """The same runs: what a version of p2pqg did not know yet is at its default."""
    from p2pqg.base.config import plain
    from p2pqg.recipe.settings import RunConfig

    defaults = {key: value for key, value in flat(plain(RunConfig())).items() if value is not None}
    for key, was in ADDED.items():
        if key in frame:
            frame = frame.assign(**{key: [was if pd.isna(v) else v for v in frame[key]]})
    gaps = [key for key in frame.columns[frame.isna().any()] if key in defaults]
    frame = frame.assign(**{key: frame[key].fillna(defaults[key]) for key in gaps})
    others = {key: value for key, value in defaults.items() if key not in frame}
    return pd.concat([frame, pd.DataFrame(others, index=frame.index)], axis=1)  # not one by one


def differing(settings: pd.DataFrame) -> list[str]:
    """The columns of `settings_of` in which runs differ in a way that a reader wants to know.

    Parameters of a part, such as algorithm.mu, count where runs with the same part differ, and the
    number of clients where the topology's name does not tell it.
    """
    within = {key: [key.partition(".")[0]] for key in settings if "." in key}
    within |= {"clients": ["topology"]}
    return [
        key
        for key in settings
        if key not in SAME_RESULTS and differs(settings, key, within.get(key, []))
    ]


def differs(settings: pd.DataFrame, key: str, within: list[str]) -> bool:
    """Whether rows that agree in the columns `within` differ in `key`."""
    if key.startswith(OWN_FILES) or key == CONTENT:
        # That some name no such file is another setting; of older runs nobody knows the content.
        settings = settings[settings[key].notna()]
    values = settings[key].tolist()  # few rows: no frames
    if _is_one(values):
        return False
    columns = [values, *(settings[name].tolist() for name in within if name in settings)]
    columns = [map(plain_text, column) for column in columns]
    texts: dict[tuple[str, ...], str] = {}
    return any(
        texts.setdefault(tuple(group), text) != text for text, *group in zip(*columns, strict=True)
    )


def _is_one(values: Sequence[Any]) -> bool:
    """Whether all are one text or number, as most settings are, or missing; False: or not."""
    kinds = set(map(type, values))
    if len(kinds) > 1 or not kinds <= PLAIN:
        return False
    return len({None if missing(value) else value for value in values}) <= 1


def unlike(settings: pd.DataFrame) -> list[str]:
    """The columns of `settings_of` in which runs differ that should be seeds of one setting.

    The split may be drawn anew for each seed.
    """
    return [key for key in differing(settings) if key not in {*SAME_NUMBERS, *SPLIT, "seed"}]


def drawn_anew(runs: Sequence[Configured]) -> dict[str, tuple[str, ...]]:
    """What was given as an object, another one for each seed: what it is -> the settings it is in.

    Data count where all have as many samples of the same shape, type and classes, and weights that
    a model starts with where they are of the same names and shapes: a seed may draw them. Whether
    they are draws of one thing nobody can know, so who averages over such runs has to be told.
    """
    if len(runs) < 2:
        return {}
    rows = [flat(run.config) for run in runs]
    found = {}
    for what, (path, keys) in DRAWN.items():
        forms = [_form(run, row.get(path)) for run, row in zip(runs, rows, strict=True)]
        if all(form is not None and form == forms[0] for form in forms):
            found[what] = keys
    if not found:
        return {}
    other = unlike(settings_of(runs))
    return {what: keys for what, keys in found.items() if {*keys} & {*other}}


def not_kept(runs: Sequence[Configured]) -> list[str]:
    """Settings that were objects which the runs of a list could not keep: were they the same?

    Of runs that began together, as seeds of one command, they were; and where all that they are is
    in the letters of their names.
    """
    homes = [place.parent for place in map(_place_of, runs) if place is not None]
    together = len(homes) == len(runs) and len(set(homes)) == 1 and (homes[0] / SEEDS).is_file()
    if len(runs) < 2 or together:
        return []
    rows = [flat(run.config) for run in runs]
    lost = [key for key, value in rows[0].items() if GIVEN in str(value)]
    return [key for key in lost if not all(is_known(str(row.get(key))) for row in rows)]


def _form(one: Configured, path: Any) -> Any:
    """What a file of arrays that a run keeps looks like, apart from the numbers; None: no file."""
    if not isinstance(path, str) or not is_copy(path):
        return None
    try:
        with _opened(one, Path(path).name) as file:  # the head of safetensors is JSON
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (OSError, KeyError, ValueError):
        return None
    about = json.loads(head.pop("__metadata__", {}).get("p2pqg", "{}"))
    said = {key: value for key, value in about.items() if key not in ("mean", "std", "notes")}
    return said, {name: (array["dtype"], array["shape"]) for name, array in head.items()}


def _opened(one: Configured, name: str) -> BinaryIO:
    """One of the files that a run keeps."""
    place = _place_of(one)
    return (place / FOLDER / name).open("rb") if place else io.BytesIO(_in_memory(one)[name])


def _in_memory(one: Configured) -> Mapping[str, bytes]:
    """The user's files that a live simulation has."""
    return getattr(one, "own_files", None) or {}


def setting_told(key: str) -> str:
    """A setting in a message; a file of the user's by its name."""
    if not key.startswith(OWN_FILES):
        return key
    name = key.removeprefix(OWN_FILES)
    return f"{name} ({'edited in between' if name.endswith('.py') else 'other content'})"


def check_one_setting(
    rows: pd.DataFrame, where: str, what: str, repair: str, tuned: Collection[str] = ()
) -> None:
    """Refuse runs of which a mean over the seeds would be one of unlike runs.

    Args:
        rows: a frame of runs, perhaps several of a seed: at different values of tuned keys.
        where: in a message, where they are asked for.
        what: in a message, what they have in common.
        repair: what to do about a setting in which they differ.
        tuned: keys in which they may differ.

    Raises:
        ConfigError: they differ in more.
    """
    from p2pqg.recipe.settings import RunConfig

    known = {field.name for field in dataclasses.fields(RunConfig)}  # metrics are no settings
    own = [key for key in rows if key.startswith(OWN_FILES) or key.partition(".")[0] in known]
    other = [key for key in unlike(rows[own]) if key not in tuned]
    if other:
        told = ", ".join(map(setting_told, other))
        raise ConfigError(f"{where}: runs with {what} differ in {told}: {repair}")


C = TypeVar("C", bound=Configured)


def by_seed(runs: Sequence[C]) -> list[list[C]]:
    """Groups of runs that differ in their seed only, in the order of their first runs.

    Runs stay alone that have their seed in common with another of their setting.
    """
    settings = settings_of(runs)
    kept = [key for key in settings if key not in {*SAME_NUMBERS, "seed"}]
    groups: dict[tuple[str, ...], list[C]] = {}
    for one, row in zip(runs, settings[kept].to_dict("records"), strict=True):
        groups.setdefault(tuple(plain_text(value) for value in row.values()), []).append(one)
    found: list[list[C]] = []
    for group in groups.values():
        seeds = {str(one.config.get("seed")) for one in group}
        found += [group] if len(seeds) == len(group) else [[one] for one in group]
    return found


def _place_of(one: Configured) -> Path | None:
    """The directory of a run, or of the run that stands somewhere; None: it is on no disk."""
    return getattr(getattr(one, "run", one), "path", None)


def _split_of_first_seed(one: Configured, row: Mapping[str, Any]) -> dict[str, Any]:
    """The split of runs that began together: a function draws one for each seed: one setting."""
    path = _place_of(one)
    if path is None or SPLIT[1] not in row or not (path.parent / SEEDS).is_file():
        return {}
    seeds = (Run(path.parent / f"seed{seed}") for seed in read_json(path.parent / SEEDS)["seeds"])
    for run in seeds:
        if (run.path / "config.yaml").exists():
            first = flat(run.config)
            return {key: first.get(key) for key in SPLIT}
    return {}


def own_files(one: Configured) -> dict[str, str]:
    """What a run has of the user's files, as letters that tell contents apart."""
    path = _place_of(one)
    told = {
        name: _letters([content])
        for name, content in _in_memory(one).items()
        if not KEPT.fullmatch(name)
    }
    imported = _in_memory(one).get(IMPORTED, b"")
    if path is not None and (path / FOLDER).is_dir():
        for file in (path / FOLDER).iterdir():
            if file.is_file() and not KEPT.fullmatch(file.name):
                about = file.stat()
                told[file.name] = _letters_of(file, about.st_size, about.st_mtime_ns)
                imported = file.read_bytes() if file.name == IMPORTED else imported
    names = sorted(name for name in told if name != IMPORTED)
    own = {name: told[name] for name in names} | letters_in(imported)
    return {f"{OWN_FILES}{name}": letters for name, letters in own.items()}


@lru_cache(maxsize=4096)
def _letters_of(file: Path, size: int, changed: int) -> str:
    """Of a file as it is now, perhaps a large one: start weights of two runs are of one size."""
    with file.open("rb") as content:
        return _letters(iter(partial(content.read, LARGE), b""))


def _letters(content: Iterable[bytes]) -> str:
    found = hashlib.blake2b(digest_size=4)
    for part in content:
        found.update(part)
    return found.hexdigest()


def _network(topology: str, clients: int) -> str:
    """The topology's name with its number of clients: `ring` and 16 -> `ring16`."""
    bare = not any(character.isdigit() or character in ":/." for character in topology)
    return f"{topology}{clients}" if bare else topology
