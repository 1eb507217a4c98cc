"""RunConfig: the settings of one simulation, and their defaults.

A recipe, the flags of `p2pqg run` and the keywords of `p2pqg.run` are the same words.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from p2pqg.algorithms.control import Consensus
from p2pqg.algorithms.effects import ALGORITHMS
from p2pqg.algorithms.lr import LrSchedule
from p2pqg.algorithms.privacy import Privacy
from p2pqg.base import config as machinery
from p2pqg.base.errors import ConfigError, did_you_mean
from p2pqg.base.ranges import broken, shown
from p2pqg.base.shipped import shipped_folder
from p2pqg.base.text import user_path
from p2pqg.network import Impairments
from p2pqg.network.units import seconds
from p2pqg.recipe.own import TAKERS, Own, taken
from p2pqg.recipe.stopping import Stop

DEFAULT_ROUNDS = 500

ADDRESS = re.compile(r"auto|local|(ray://)?[^\s:/]+:\d{1,5}|(ray://)?\[[\da-fA-F:]+\]:\d{1,5}")
"""What the address of a Ray cluster looks like."""

ENDS = ("epochs", "rounds", "steps", "time")
"""Keys that say how long a run is."""

Part = str | dict[str, Any]
"""A part's name, or a mapping of its name (if not the default one) and its parameters."""


def _is_no_text(value: str) -> bool:
    """Whether it came from bytes that the locale could not read (PEP 383); files need text."""
    return any("\udc80" <= letter <= "\udcff" for letter in value)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One simulation. The keys of a recipe, the flags of `run`, the keywords of `p2pqg.run`."""

    topology: str = "ring16"
    """A network and its number of clients, ring16 or base25:k=2; or a file."""
    clients: Annotated[int | None, ">= 1"] = None
    """Number of clients, where the topology's name leaves it out."""
    alpha: Annotated[float | None, "> 0"] = None
    """Dirichlet concentration, > 0. 0.1: clients see few classes; 100: nearly alike."""
    partition: Part | None = None
    """How data is split; default: qg-dirichlet with alpha, iid without."""
    algorithm: Part | None = None
    """A method, or one of a file: my_file.py:my_method; default: qg-dsgdm-n."""
    dataset: Part | None = None
    """What is learned; default: digits, which is embedded."""
    data_dir: str | None = None
    """Where to look for the data set before it is downloaded."""
    model: Part | None = None
    """What learns; default: the data set's."""
    loss: Part | None = None
    """What is minimised; default: cross-entropy; of numbers mse."""
    metrics: list[str] | dict[str, str] = field(default_factory=list)
    """What is measured beside accuracy and loss: f1, top5, my_metrics.py:auc."""
    test: Literal["common", "own"] = "common"
    """own: each model is tested on its client's own mix of labels, too."""
    validation: float = 0.0
    """Share of the training samples that is held out before they are split, in [0, 1)."""
    personal: list[str] = field(default_factory=list)
    """Names of parameters that never leave their client: head.*"""
    stop: Stop = field(default_factory=Stop)
    """When to end early: {when: test_accuracy >= 0.95}, or {patience: 5}; see
    `p2pqg.recipe.stopping.Stop`."""
    callbacks: list[str] = field(default_factory=list)
    """What is told of rows and evaluations: my_file.py:on_round."""
    epochs: Annotated[float | None, "> 0"] = None
    """Passes over the clients' own data, in place of rounds."""
    rounds: Annotated[int | None, ">= 1"] = None
    """Communication rounds; default 500, if nothing else is set. Where clients do not wait, a round
    is as many steps as there are clients."""
    steps: Annotated[int | None, ">= 1"] = None
    """End when every client has made so many steps."""
    time: float | str | None = None
    """End at this time of the simulated clock: in seconds, or as 600 s, 10 min."""
    planned_rounds: Annotated[int | None, ">= 1"] = None
    """The length that milestones and phases are fractions of, where a run went on beyond it."""
    planned_epochs: Annotated[float | None, "> 0"] = None
    """The same in epochs."""
    batch_size: Annotated[int, ">= 1"] = 32
    """Samples per client and step."""
    lr: Annotated[float, "> 0"] = 0.1
    """Learning rate, > 0."""
    lr_schedule: LrSchedule = field(default_factory=LrSchedule)
    """How lr changes: warm-up, milestones, scaling; see `p2pqg.algorithms.lr.LrSchedule`."""
    momentum: float | None = None
    """The algorithm's beta."""
    local_steps: Annotated[int | None, ">= 1"] = None
    """Gradient steps between two exchanges, where the algorithm has them; default: its own."""
    local_epochs: Annotated[float | None, "> 0"] = None
    """The same in passes over a shard of mean size, e.g. 0.5."""
    consensus: Consensus = field(default_factory=Consensus)
    """Consensus control: gossip repeated until the clients agree well enough; see
    `p2pqg.algorithms.control.Consensus`."""
    rule: Part | None = None
    """What a receiver makes of its inbox, see `p2pqg list rules`, or one of a file,
    my_file.py:my_rule; default: the sum weighted by W."""
    privacy: Privacy = field(default_factory=Privacy)
    """Noise on gradients clipped sample by sample: {clip: 1.0, sigma: 0.5}; see
    `p2pqg.algorithms.privacy.Privacy`."""
    weight_decay: Annotated[float, ">= 0"] = 1e-4
    """Added to the gradient as weight_decay * x, >= 0."""
    seed: Annotated[int, "[0, 4294967295]"] = 0
    """Seed of everything random, below 2**32; several, 1,2,3, make a run each."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where clients compute; auto: on GPUs where there are any."""
    precision: Literal["float32", "bf16", "fp16", "float64"] = "float32"
    """Of matrix products and convolutions; with bf16 and fp16 states and gradients are float32."""
    engine: Literal["ray", "local"] = "ray"
    """Ray actors, or local: in this process, without Ray, with the same numbers."""
    clients_per_actor: int | Literal["auto"] = "auto"
    """Clients that share one Ray actor; auto: what suits the machine."""
    transport: Literal["object-store", "direct"] = "object-store"
    """How rows travel between actors; direct: by Ray's direct transport, which is alpha."""
    capture: Literal["auto", "off", "rehearse"] = "auto"
    """On a GPU: steps are captured once and replayed, where that is right and faster; rehearse: the
    same without graphs, on any device."""
    eval_every: Annotated[int | None, ">= 1"] = None
    """Rounds between evaluations; default: a hundred a run, fewer where they cost over a tenth."""
    eval_first: bool | None = None
    """Evaluate after the first round, too; default: if it is cheap and eval_every was not set."""
    record_every: Annotated[int | None, ">= 1"] = None
    """Rounds between rows of rounds.parquet; default: about a hundred rows."""
    out: str = "runs/out"
    """Folder of results; each run has a directory of its own in it."""
    name: str | None = None
    """That directory's name; default: topology, algorithm and time."""
    address: str | None = None
    """A running Ray cluster; none: a Ray of our own, as by default."""
    network: dict[str, Any] | None = None
    """Speed of links and clients: then there is a simulated clock; see
    `p2pqg.network.ClockParams`."""
    impairments: Impairments = field(default_factory=Impairments)
    """What goes wrong in every round: messages lost or late, clients that sit out, noise; see
    `p2pqg.network.Impairments`."""
    attacks: list[Any] | dict[str, Any] = field(default_factory=list)
    """Who lies, how and when, see `p2pqg.network.lies`; ways to lie: `p2pqg list attacks`."""
    scenario: list[Any] = field(default_factory=list)
    """What happens when, see `p2pqg.network.scenario`."""
    checkpoint_every: float = 60.0
    """Seconds between checkpoints, the last two of which are kept; 0: none, not even at the end."""
    max_restarts: Annotated[int, ">= 0"] = 3
    """How often actors that died are replaced, >= 0."""
    profile: bool = False
    """Say where the time of a round goes, and write trace.json for chrome://tracing."""

    def __post_init__(self) -> None:
        if self.address == "none":  # as who goes on with a run says that had one
            object.__setattr__(self, "address", None)

    @property
    def ends(self) -> str | None:
        """The key that says how long the run is, of `ENDS`."""
        return next((key for key in ENDS if getattr(self, key) is not None), None)

    def problems(self) -> Iterator[str]:
        if self.address is not None and not ADDRESS.fullmatch(self.address):
            forms = "auto, none, HOST:PORT or ray://HOST:PORT"
            yield f"address must be {forms}, got {self.address!r:.60}"
        if not self.out:
            yield "out must be a folder, got ''; . is the one you are in"
        yield from self._unreadable()
        yield from self._misnamed()
        yield from self._wrong_ends()
        if not 0 <= self.validation < 1:
            yield f"validation must be a share in [0, 1), got {self.validation}"
        if not 0 <= self.checkpoint_every < math.inf:
            yield f"checkpoint_every must be seconds >= 0, got {self.checkpoint_every}"
        name = self.name
        if name is not None and ("/" in name or name in ("", ".", "..") or not name.isprintable()):
            yield f"name must be a plain folder name, got {name!r}"

    def _unreadable(self) -> Iterator[str]:
        for key, value in vars(self).items():
            if isinstance(value, str) and not value.isprintable() and _is_no_text(value):
                yield (
                    f"{key} has bytes that are no UTF-8, got {value!r:.60}; rename it, or set "
                    "LC_ALL=C.UTF-8"
                )

    def _misnamed(self) -> Iterator[str]:
        """Parts whose name is none."""
        for key in ("algorithm", "dataset", "model", "partition"):
            if getattr(self, key) == "":
                yield f"{key} must be a name, got ''; leave it out for the usual one"
        for key in ("algorithm", "dataset", "model", "partition", "loss", "rule"):
            part = getattr(self, key)
            name = part.get("name") if isinstance(part, Mapping) else None
            if not isinstance(name, str | int | float | None):
                kind = "a function" if callable(name) else f"an object ({type(name).__name__})"
                repair = f"give it itself: {key}=..." if key in TAKERS else "name a file: my.py:it"
                if key == "dataset":
                    repair = 'what holds samples is data: dataset={"data": ...}'
                yield f"{key}.name must be a text, got {kind}; {repair}"

    def _wrong_ends(self) -> Iterator[str]:
        """Several that say how long it is, or a time that is none."""
        ends = {key: getattr(self, key) for key in ENDS if getattr(self, key) is not None}
        if len(ends) > 1:
            got = " and ".join(f"{key} {value}" for key, value in ends.items())
            yield broken(f"set one of {', '.join(ENDS)}, not several; got {got}", *ENDS)
        if self.time is not None:
            try:
                if seconds(self.time, "time") == 0:
                    yield "time must be > 0, got 0"
            except ConfigError as error:
                yield str(error)


@dataclass(frozen=True, kw_only=True)
class ResolvedConfig(RunConfig):
    """The settings of a simulation with every default filled in; parts with all their parameters.

    Of epochs, rounds, steps and time one is set, as the recipe has it.
    """

    clients: int
    algorithm: dict[str, Any]
    dataset: dict[str, Any]
    model: dict[str, Any]
    partition: dict[str, Any]
    eval_every: int
    record_every: int


def chosen(part: Part | None, default: str) -> tuple[str, dict[str, Any]]:
    """A part's name and its parameters; parameters alone are those of the default."""
    if part is None or isinstance(part, str):
        return part or default, {}
    settings = {str(k).replace("-", "_"): v for k, v in part.items()}
    name = settings.pop("name", default)
    return shown(name) if isinstance(name, int) else str(name), settings


NESTED = {
    "lr_schedule": LrSchedule,
    "consensus": Consensus,
    "impairments": Impairments,
    "stop": Stop,
    "privacy": Privacy,
}
"""Keys that have keys of their own."""


ABROAD = {
    "criterion": "did you mean loss?",
    "graph": "did you mean topology?",
    "learning_rate": "did you mean lr?",
    "lr_scheduler": "did you mean lr_schedule? A function of the round or epoch is lr=",
    "num_nodes": "did you mean clients?",
    "num_workers": "did you mean clients?",
    "optimizer": "how clients step is the algorithm: adam and dadam have moments, sgd has none",
    "scheduler": "did you mean lr_schedule? A function of the round or epoch is lr=",
    "workers": "did you mean clients?",
}
"""Keys of other libraries that no key of ours is like."""


def read_config(values: Mapping[str, Any], where: str = "") -> RunConfig:
    """A RunConfig from a mapping; ConfigError with all its problems.

    Args:
        values: keys as in RunConfig; None means default.
        where: the file it came from, for messages.
    """
    known = {field.name for field in dataclasses.fields(RunConfig)}
    given = {  # of a key that is not known None is no default
        key: fspath(value) if isinstance(value, PathLike) else value
        for key, value in values.items()
        if value is not None or str(key).replace("-", "_") not in known
    }
    nested: dict[str, Any] = {}
    problems: list[str] = []
    for key, kind in NESTED.items():
        below = given.pop(key, None)
        if not isinstance(below, Mapping | None):
            got = "a function" if callable(below) else machinery.written(below)[:60]
            repair = "; a function of the round or epoch is lr=" if key == "lr_schedule" else ""
            problems.append(f"{key} must be keys and values, got {got}{repair}")
            continue
        nested[key], found = machinery.read(kind, below or {}, f"{key}.")
        problems += found
    if callable(given.get("algorithm")):
        problems.append(_function_as_algorithm(given.pop("algorithm")))
    for key in [key for key in given if str(key).replace("-", "_") in ABROAD]:
        del given[key]
        problems.append(f"unknown key {key}; {ABROAD[str(key).replace('-', '_')]}")
    if isinstance(given.get("lr"), list | tuple):
        problems.append("lr must be a number, or a function: lr=lambda round: values[round]")
        del given["lr"]
    if any(not isinstance(key, str) for key in _keys(given.get("partition"))):
        problems.append("partition must be a list of index arrays, one for each client, no mapping")
        del given["partition"]
    config, found = machinery.read(RunConfig, given)
    problems += found
    if config is None or problems:
        raise ConfigError.of(problems, where)
    return dataclasses.replace(config, **nested)


def _keys(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _function_as_algorithm(given: Any) -> str:
    """What to write instead: an algorithm goes by the name it was decorated with, or its file's."""
    named = next((entry.name for entry in ALGORITHMS.values() if entry.build is given), None)
    if named:
        return f"algorithm must be a name, got a function; this one's is {named!r}"
    name = getattr(given, "__name__", "it").strip("<>")
    return (
        f"algorithm must be a name, got a {'class' if isinstance(given, type) else 'function'}; "
        "write @algorithm(...) of p2pqg above a function, and name it as you do there, or its "
        f"file: 'my_method.py:{name}'"
    )


C = TypeVar("C", bound=RunConfig)


def with_changes(config: C, changes: Mapping[str, Any]) -> C:
    """The same with other values, also of keys that have keys of their own."""
    made = {
        key: machinery.made(NESTED[key], value, f"{key}.") if key in NESTED else value
        for key, value in changes.items()
    }
    return dataclasses.replace(config, **made)


def read_settings(values: Mapping[str, Any]) -> tuple[RunConfig, Own]:
    """Keywords, of which some may be objects -> what a recipe says of them, and the objects.

    Raises:
        ConfigError: with all problems of the settings.
    """
    plain, own = taken(values)
    return read_config(plain), own


def recipe(path: str | Path) -> dict[str, Any]:
    """A recipe's mapping, from a file or from those shipped in `runs/`."""
    given = user_path(path)
    if not given.exists() and given.suffix == "" and given.parent == Path():
        shipped = shipped_folder("runs") / f"{given.name}.yaml"
        if shipped.exists():
            given = shipped
    if not given.exists():
        known = sorted(f.stem for f in shipped_folder("runs").glob("*.yaml"))
        near = did_you_mean(given.stem, known, show_known=False)
        name, _, tier = given.stem.rpartition("-")  # as its results are called
        if name in known and tier in (recipe(name).get("tiers") or {}):
            near = f"; that is {name} with --tier {tier}"
        raise ConfigError(f"{path}: no such recipe{near or '; shipped ones: ' + ', '.join(known)}")
    return machinery.load_yaml(given)
