"""The user's own files that a recipe names: an algorithm's .py, a network's .yaml, its links' .csv.

A run keeps them as they were when it was built, in the folder `files` of its directory and of its
checkpoints; so it can go on when the originals have changed or are elsewhere.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.errors import ConfigError
from p2pqg.base.imported import imported_by
from p2pqg.base.registry import COPIES
from p2pqg.base.text import user_path
from p2pqg.base.user_code import names_a_file
from p2pqg.data import DATASETS
from p2pqg.topology.files import SUFFIXES as NETWORKS

FOLDER = COPIES
OWN_ALGORITHM = "own_algorithm.py"
"""The code of an algorithm that a script or notebook registered, and calls by its name."""
OWN_ALGORITHM_LETTERS = "own_algorithm.txt"
"""What is kept of one whose code cannot be: letters that tell it from others, see `base.digest`."""
IMPORTED = "imported.txt"
"""Letters of modules that these files import from packages of the user's, see `base.imported`."""
LONGEST = 250
"""A text that is longer names no file."""
KEYS = (
    *("algorithm", "rule", "attacks", "topology", "network", "scenario"),
    *("model", "loss", "metrics", "callbacks", "partition", "lr_schedule", "dataset"),
)
"""Keys of a recipe whose values may name a file."""
SUFFIXES = ("py", "safetensors", *(suffix[1:] for suffix in NETWORKS))
NAMED = re.compile(rf"(.+\.(?:{'|'.join(SUFFIXES)}))(:.*)?", re.IGNORECASE | re.DOTALL)
"""`my_file.py:my_method`, `net.csv:mixing=given`, `links.csv`: the path, and what follows it."""


def paths_in(settings: Mapping[str, Any]) -> dict[str, str]:
    """Path as a recipe writes it -> what its copy is called, another name for each."""
    found: dict[str, str] = {}

    def note(path: str) -> str:
        name = Path(path).name
        while path not in found and name in found.values():
            name = f"other-{name}"
        found.setdefault(path, name)
        return path

    for key in KEYS:
        _with_paths(_plain(settings.get(key)), partial(_kept_of, key, note))
    return found


def _kept_of(key: str, note: Callable[[str], str], path: str) -> str:
    """Data may be large, and stay where they are; what was given as an object is here alone."""
    is_data = key == "dataset" and not path.endswith(".py") and not is_copy(path)
    return path if is_data else note(path)


def is_copy(path: str) -> bool:
    """Whether a recipe names what its run keeps, and nothing else of that name.

    >>> is_copy("files/own_model.py"), is_copy("my_model.py")
    (True, False)
    """
    return Path(path).parent == Path(FOLDER)


def _plain(value: Any) -> Any:
    """A nested part of the settings as a mapping."""
    return vars(value) if dataclasses.is_dataclass(value) else value


def read(settings: Mapping[str, Any], neighbors: Iterable[Path] = ()) -> dict[str, bytes]:
    """Name -> content of the files that a recipe names, and of modules beside its algorithm's."""
    files = {file.name: file for file in neighbors}
    files |= {name: user_path(path) for path, name in paths_in(settings).items()}
    return {name: file.read_bytes() for name, file in files.items() if file.is_file()}


def with_imported(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that a run keeps, and beside them what tells the modules apart that they import."""
    lines = [f"{letters} {path}\n" for path, letters in imported_by(files).items()]
    return {**files, IMPORTED: "".join(lines).encode()} if lines else dict(files)


def letters_in(imported: bytes) -> dict[str, str]:
    """Path of a module -> its letters, of the content of IMPORTED.

    >>> letters_in(b"1a2b3c4d mylab/nets.py\\n")
    {'mylab/nets.py': '1a2b3c4d'}
    """
    rows = (line.split(" ", 1) for line in imported.decode().splitlines())
    return {path: letters for letters, path in rows}


def kept(folder: Path) -> dict[str, bytes]:
    """Name -> content of the files that a run or checkpoint kept; its own folder may be missing."""
    files = sorted((folder / FOLDER).glob("*.*"))
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def from_copies(
    settings: Mapping[str, Any], folder: Path, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """The settings that name a file which is not what it was: now they name its copy.

    Args:
        settings: of a recipe.
        folder: of the run or checkpoint that kept copies.
        tell: called with a line for each file.
    """
    copies = kept(folder)
    swap = {}
    named = paths_in(settings)
    for path, name in named.items():
        if is_copy(path):
            swap[path] = str(folder / FOLDER / name)
            continue
        originals = _originals(path, named, copies)
        news = [text for copy, file in originals.items() if (text := _news(file, copies[copy]))]
        if news:
            swap[path] = str(folder / FOLDER / name)
            tell(f"{news[0]} since the run began; its own copy is used")
    before = {key: _plain(settings.get(key)) for key in KEYS}
    changed = {key: _with_paths(value, partial(_swapped, swap)) for key, value in before.items()}
    changed["algorithm"] = _registered(changed["algorithm"], folder / FOLDER / OWN_ALGORITHM)
    return {key: value for key, value in changed.items() if value != before[key]}


def _registered(algorithm: Any, copy: Path) -> Any:
    """An algorithm; where nobody has registered it, by the code that the run kept."""
    name = algorithm.get("name") if isinstance(algorithm, Mapping) else algorithm
    unknown = isinstance(name, str) and not names_a_file(name) and name not in ALGORITHMS
    if not (unknown and copy.is_file()):
        return algorithm
    named = f"{copy}:{name}"
    return {**algorithm, "name": named} if isinstance(algorithm, Mapping) else named


def check_place(settings: Mapping[str, Any], recipe: str) -> None:
    """Refuse settings whose files are left in the recipe's folder.

    Args:
        settings: of a recipe.
        recipe: its file.

    Raises:
        ConfigError: paths name nothing from here, but something in that folder.
    """
    folder = user_path(recipe).parent
    paths = list[str]()
    for given in (settings, *_values_tried(settings)):
        paths += paths_in(given)
        if not settings.get("data_dir"):
            paths += _data_named(_plain(given.get("dataset")))
    left = [
        path
        for path in dict.fromkeys(paths)
        if len(path) < LONGEST and not user_path(path).exists() and (folder / path).exists()
    ]
    if left:
        raise ConfigError(
            f"{recipe}: {' and '.join(left)} cannot be found from here, where paths begin, but "
            f"from the recipe's folder; run it there (cd {folder})"
        )


def _values_tried(settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Key -> the values that a recipe's grids and tuning try."""
    grids = settings.get("sweep")
    for axes in grids if isinstance(grids, list) else [grids]:
        if isinstance(axes, Mapping):
            yield {str(key): values for key, values in axes.items()}
    if isinstance(tune := settings.get("tune"), Mapping):
        yield {str(k): v.get("choose") for k, v in tune.items() if isinstance(v, Mapping)}


def _data_named(value: Any) -> Iterator[str]:
    """Files and folders of data, of one value of `dataset` or of a list of them."""
    for data in value if isinstance(value, list) else [value]:
        named = [data.get("name"), data.get("path")] if isinstance(data, Mapping) else [data]
        yield from (one for one in named if isinstance(one, str) and one and one not in DATASETS)


def _originals(path: str, named: Mapping[str, str], copies: Mapping[str, bytes]) -> dict[str, Path]:
    """Name of a copy -> its original, for a file and, of one of code, the modules beside it."""
    name, file = named[path], user_path(path)
    if name not in copies:
        return {}
    found = {name: file}
    if file.suffix == ".py":
        others = [user_path(p) for p in named if p != path and p.endswith(".py")]
        for copy in set(copies) - set(named.values()):
            beside = file.with_name(copy)
            elsewhere = any(other.with_name(copy).is_file() for other in others)
            if copy.endswith(".py") and (beside.is_file() or not elsewhere):
                found[copy] = beside
    return found


def _news(file: Path, before: bytes) -> str:
    """What has become of a file; "" if nothing."""
    if not file.is_file():
        return f"{file} has gone"
    return "" if file.read_bytes() == before else f"{file} has changed"


def _swapped(swap: Mapping[str, str], path: str) -> str:
    return swap.get(path, path)


def _with_paths(value: Any, change: Callable[[str], str]) -> Any:
    """Plain data with every path in it changed."""
    if isinstance(value, Mapping):
        return {key: _with_paths(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_with_paths(part, change) for part in value)
    if isinstance(value, str) and (named := NAMED.fullmatch(value)):
        return change(named[1]) + (named[2] or "")
    return value
