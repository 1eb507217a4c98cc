"""Draw random recipes, and see whether each run keeps the laws that no setting suspends.

    python tests/stress/laws.py [--draws 1000] [--seed 0] [--minutes 60] [--laws restored,packed]

A law says what does not change a run: that it is stopped and restored, forked, advanced in
portions, packed otherwise (`course`); that its scenario is carried out by hand; that its clients
have other numbers, its loss another unit, its network another name, or that equal clients are many
(`method`: full batches of a small problem). A recipe that breaks one is made smaller, one key after
the other, as long as it breaks it, and printed. One or two draws a second.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import math
import random
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recipes import ENDS, Recipe, allowed, recipe, smaller

import p2pqg
from p2pqg.algorithms.effects import ALGORITHMS
from p2pqg.base.errors import ConfigError, DivergedError, RunError

ROUNDING = 1e-9
"""What another order of sums may change, of numbers of size 1; in float64."""
ROUNDING_OF_FLOATS = 1e-4
"""The same in float32 and below, over a few rounds."""
SECONDS_TO_SHRINK = 25.0


class Broken(AssertionError):
    """A law does not hold."""


# what is compared


def begun(given: Recipe, **more: Any) -> p2pqg.Simulation:
    return p2pqg.Simulation(**{"record_every": 1} | copy.deepcopy(given) | more)


def over(simulation: p2pqg.Simulation) -> p2pqg.Simulation:
    """The same at its end."""
    simulation.finish()
    return simulation


def same(one: p2pqg.Simulation, other: p2pqg.Simulation, what: str, digits: float = 0.0) -> None:
    """Whether all is equal but wall time: bit for bit, or but for rounding."""
    for client in range(one.network.num_clients):
        mine, others = one.state(client), other.state(client)
        if mine.keys() != others.keys():
            raise Broken(f"{what}: client {client} has {mine.keys() ^ others.keys()}")
        for name, value in mine.items():
            _equal(value, others[name], f"{what}: {name} of client {client}", digits)
    for name in ("round", "events", "stopped"):
        if getattr(one, name) != getattr(other, name):
            raise Broken(f"{what}: {name} {getattr(one, name)}, {getattr(other, name)}")
    _equal(one.sim_seconds, other.sim_seconds, f"{what}: sim_seconds", digits)
    for name in ("history", "clients", "links"):
        _equal_tables(getattr(one, name), getattr(other, name), f"{what}: {name}", digits)


def _equal(mine: Any, others: Any, what: str, digits: float) -> None:
    mine, others = np.asarray(mine), np.asarray(others)
    if mine.dtype.kind == "f" and digits and mine.shape == others.shape:
        fine = np.allclose(mine, others, rtol=digits, atol=digits, equal_nan=True)
    else:
        fine = np.array_equal(mine, others, equal_nan=mine.dtype.kind == "f")
    if not fine:
        raise Broken(f"{what}: {mine.ravel()[:4]}, {others.ravel()[:4]}")


def _equal_tables(mine: pd.DataFrame, others: pd.DataFrame, what: str, digits: float) -> None:
    if list(mine.columns) != list(others.columns):
        raise Broken(f"{what}: columns {set(mine.columns) ^ set(others.columns)}")
    for name in mine.columns.drop("wall_seconds", errors="ignore"):
        _equal(mine[name].to_numpy(), others[name].to_numpy(), f"{what}: {name}", digits)


# laws of the course of a run: any recipe


def restored(given: Recipe, whole: p2pqg.Simulation, chance: random.Random) -> None:
    """Stopped, saved and restored it comes to the same end; so do a fork and its parent."""
    here = chance.randint(0, whole.round)
    with begun(given) as parent, tempfile.TemporaryDirectory() as folder:
        parent.advance(rounds=here)
        parent.checkpoint(Path(folder) / "here")
        with p2pqg.Simulation.restore(Path(folder) / "here") as again, parent.fork() as fork:
            same(parent, again, f"as restored at {here}")
            same(whole, over(again), f"restored at {here}", loosely(whole))
            same(again, over(fork), f"forked at {here}")
            same(again, over(parent), f"parent of a fork at {here}")


def in_portions(given: Recipe, whole: p2pqg.Simulation, chance: random.Random) -> None:
    """Round by round is all at once."""
    with begun(given) as simulation:
        while not simulation.is_over:
            simulation.advance(rounds=1)
        same(whole, simulation, "round by round", loosely(whole))


def gone_back(given: Recipe, whole: p2pqg.Simulation, chance: random.Random) -> None:
    """Whoever went to the end, and back, comes to the same end."""
    here = chance.randint(0, whole.round)
    with begun(given) as simulation:
        simulation.advance(rounds=here)
        moment = simulation.moment()
        over(simulation).go_back(moment)
        same(whole, over(simulation), f"gone back to {here}", loosely(whole))


def packed(given: Recipe, whole: p2pqg.Simulation, chance: random.Random) -> None:
    """Several blocks of clients come to the numbers of one."""
    if not whole.experiment.waits or given.get("precision") != "float64":
        return
    several = min(2, whole.experiment.num_clients)
    with begun(given, clients_per_actor=chance.randint(1, several)) as simulation:
        same(whole, over(simulation), "in other blocks", ROUNDING)


def by_hand(given: Recipe, whole: p2pqg.Simulation, chance: random.Random) -> None:
    """What a scenario does between rounds, its methods do when they are called."""
    items = given.get("scenario", [])
    if not items or not all(str(item.get("at")).startswith("round") for item in items):
        return
    with begun({key: value for key, value in given.items() if key != "scenario"}) as simulation:
        for item in sorted(items, key=_round_of):
            while simulation.round < _round_of(item) and not simulation.is_over:
                simulation.advance(rounds=1)
            if simulation.round == _round_of(item):
                (verb,) = item.keys() - {"at"}
                _call(simulation, verb, copy.deepcopy(item[verb]))
        over(simulation)
        for client in range(whole.network.num_clients):
            for name, value in whole.state(client).items():
                _equal(simulation.state(client)[name], value, f"by hand: {name} of {client}", 0)
        _equal(simulation.sim_seconds, whole.sim_seconds, "by hand: sim_seconds", 0)


def longer(given: Recipe, whole: p2pqg.Simulation, chance: random.Random) -> None:
    """A run that goes on for longer, its plans being those of the long one, is the long one."""
    ends = {key: given[key] for key in ENDS if given.get(key)}
    if not ends or "stop" in given or ("time" in ends and not whole.experiment.waits):
        return  # who does not wait is cut off within a round, which is over then
    ((key, length),) = ends.items()
    if isinstance(length, str):
        length = float(length.split()[0])
    half = length // 2 if isinstance(length, int) and key != "time" else length / 2
    plan = (
        {} if given.get("planned_epochs") else {"planned_rounds": whole.experiment.planned_rounds}
    )
    if not half:
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            with begun({**given, **plan, key: half}) as short:
                over(short).checkpoint(Path(folder) / "here")
                at = short.round
        except ConfigError:
            if not given.get("scenario"):  # it has items that never come
                raise
            return
        with p2pqg.Simulation.restore(Path(folder) / "here", **ends) as again:
            over(again)
            exact = loosely(whole)
            for client in range(whole.network.num_clients):
                for name, value in whole.state(client).items():
                    what = f"longer from {key} {half} (round {at}): {name} of {client}"
                    _equal(again.state(client)[name], value, what, exact)
            if again.events != whole.events:
                raise Broken(f"longer: events {again.events}, {whole.events}")
            _equal(again.sim_seconds, whole.sim_seconds, "longer: sim_seconds", exact)
            if not whole.experiment.waits:  # a round ends where it was stopped
                return
            rows, others = (sim.history.set_index("round") for sim in (again, whole))
            both = rows.index.intersection(others.index)  # the short one's last round is a row
            since = ["train_loss"] if given.get("record_every") else []  # mean since the last row
            for name in others.columns.drop(["wall_seconds", *since]):
                mine, theirs = rows.loc[both, name], others.loc[both, name]
                told = mine.notna() & theirs.notna()  # it was evaluated at its end
                _equal(mine[told].to_numpy(), theirs[told].to_numpy(), f"longer: {name}", exact)


def _round_of(item: Recipe) -> int:
    return int(item["at"].split()[1])


def _call(simulation: p2pqg.Simulation, verb: str, value: Any) -> None:
    method = getattr(simulation, verb)
    if isinstance(value, dict):
        given = {key: one for key, one in value.items() if one != "all"}
        method(**given) if verb != "set_rule" else method(value)
    elif value in ("all", "none"):
        method() if value == "all" else method(None)
    else:
        method(value)


def adds_up(given: Recipe, whole: p2pqg.Simulation, chance: random.Random) -> None:
    """Numbers that are told agree: rows with those of the clients, links with bytes, models too."""
    rows, clients, links = whole.history, whole.clients, whole.links
    for name in ("round", "bytes_sent", "gradients", "epoch", "sim_seconds"):
        if name in rows and (rows[name].diff().dropna() < 0).any():
            raise Broken(f"{name} falls: {rows[name].tolist()}")
    if len(rows) and rows["round"].iloc[-1] != whole.round - 1:
        raise Broken(f"the last row is of round {rows['round'].iloc[-1]} of {whole.round}")
    if len(links) and len(rows):
        _equal(links["bytes"].sum(), rows["bytes_sent"].iloc[-1], "bytes of links", 1e-12)
    json.dumps(whole.summary())
    exact = given.get("precision") == "float64"
    told = [(dict(row), dict(of)) for row, of in _evaluated(rows, clients)]
    for row, of in [*told, (whole.evaluate(), _columns(whole.present()[1]))]:
        apart, right = of["distance_to_mean"].astype(float), of["test_accuracy"].astype(float)
        means = {
            "test_loss": of["test_loss"].astype(float).mean(),
            "consensus_distance": (apart**2).mean(),
            "test_accuracy": right.mean(),
            "test_accuracy_std": right.std(ddof=0),
            "test_accuracy_min": right.min(),
        }
        for name, mean in means.items():
            if row.get(name) is not None and not math.isnan(row[name]) and math.isfinite(mean):
                _equal(row[name], mean, f"{name} of clients", 1e-9 if exact else 1e-3)
    models, here = whole.parameters(), sorted(_here(whole))
    if exact and not given.get("personal") and np.isfinite(models).all():
        distance = np.square(models[here] - models[here].mean(0)).sum(1).mean()
        _equal(whole.evaluate()["consensus_distance"], distance, "distance of models", ROUNDING)


def _evaluated(rows: pd.DataFrame, clients: pd.DataFrame) -> Iterator[tuple[pd.Series, Any]]:
    for round, group in clients.groupby("round") if len(clients) else ():
        yield rows[rows["round"] == round].iloc[0], group


def _columns(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows)


def _here(whole: p2pqg.Simulation) -> set[int]:
    return set(range(whole.network.num_clients)) - set(whole.network.absent)


def loosely(whole: p2pqg.Simulation) -> float:
    """Clients that do not wait are computed together from one row to the next: to rounding."""
    if whole.experiment.waits:
        return 0.0
    return ROUNDING if whole.experiment.config.precision == "float64" else ROUNDING_OF_FLOATS


# laws of a method: full batches of a problem of our own


SAMPLES, FEATURES, CLASSES = 6, 3, 3
"""Of a client."""
KEPT = ("algorithm", "rule", "consensus", "momentum", "lr", "weight_decay", "lr_schedule")
"""Keys whose meaning does not depend on how many clients there are, or which."""


def plain(given: Recipe, n: int, seed: int) -> Recipe:
    """The method of a recipe, with full batches of shards that are equally large."""
    draws = np.random.default_rng(seed)
    X, y = draws.standard_normal((n * SAMPLES, FEATURES)), draws.integers(CLASSES, size=n * SAMPLES)
    y[:CLASSES] = range(CLASSES)
    return {key: given[key] for key in KEPT if key in given} | {
        "dataset": _with_test(X.astype(np.float32), y),
        "partition": np.arange(n * SAMPLES).reshape(n, SAMPLES).tolist(),
        **{"model": "logistic", "batch_size": SAMPLES, "rounds": 6, "precision": "float64"},
        **{"engine": "local", "topology": p2pqg.mixing_matrix(f"{given['graph']}{n}", round=0)},
        **{"eval_every": 100, "loss": torch.nn.CrossEntropyLoss(reduction="none")},
    }


def _with_test(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    return X, y, X[:CLASSES], y[:CLASSES]


def relabelled(given: Recipe, chance: random.Random) -> None:
    """Who has which number does not matter."""
    n = chance.randint(2, 6)
    one = plain(given, n, chance.randrange(1000))
    order = chance.sample(range(n), n)
    other = one | {
        "topology": one["topology"][np.ix_(order, order)],
        "partition": [one["partition"][client] for client in order],
    }
    _equal(_end(other), _end(one)[order], f"clients in order {order}", ROUNDING)


def rescaled(given: Recipe, chance: random.Random) -> None:
    """A loss of another unit, c times as large, with lr / c and c times the weight decay."""
    if "warmup_from" in given.get("lr_schedule", {}):
        return
    c, one = 4.0, plain(given, chance.randint(1, 6), chance.randrange(1000))
    other = one | {
        "loss": lambda outputs, targets: c * one["loss"](outputs, targets),
        "lr": one["lr"] / c,
        "weight_decay": c * one.get("weight_decay", 1e-4),
    }
    _equal(_end(other), _end(one), f"a loss {c:g} times as large", ROUNDING)


def doubled(given: Recipe, chance: random.Random) -> None:
    """Each sample twice, in batches twice as large, is each once."""
    n = chance.randint(1, 6)
    one = plain(given, n, chance.randrange(1000))
    if one.get("lr_schedule", {}).get("scaling") == "linear":
        return
    X, y, *_ = one["dataset"]
    other = one | {
        "dataset": _with_test(np.tile(X, (2, 1)), np.tile(y, 2)),
        "partition": [[*own, *(i + n * SAMPLES for i in own)] for own in one["partition"]],
        "batch_size": 2 * SAMPLES,
    }
    _equal(_end(other), _end(one), "each sample twice", ROUNDING)


def merged(given: Recipe, chance: random.Random) -> None:
    """Clients that are equal stay so, and each is as one that is alone."""
    n = chance.randint(2, 6)
    alone = plain(given, 1, chance.randrange(1000))
    if alone.get("lr_schedule", {}).get("scaling") == "linear":
        return
    X, y, *_ = alone["dataset"]
    equal = alone | {
        "dataset": _with_test(np.tile(X, (n, 1)), np.tile(y, n)),
        "partition": np.arange(n * SAMPLES).reshape(n, SAMPLES).tolist(),
        "topology": p2pqg.mixing_matrix(f"{given['graph']}{n}", round=0),
    }
    single = _end(alone)
    _equal(_end(equal), np.tile(single, (n, 1)), f"{n} equal clients", ROUNDING)


def renamed(given: Recipe, chance: random.Random) -> None:
    """A network by its name is the network by its matrices."""
    one = plain(given, chance.randint(2, 6), chance.randrange(1000))
    n, rounds = len(one["partition"]), range(one["rounds"])
    name = f"{chance.choice(['ring', 'star', 'exponential', 'onepeer-exponential', 'base'])}{n}"
    matrices = np.stack([p2pqg.mixing_matrix(name, round=t) for t in rounds])
    static = (matrices == matrices[0]).all()
    other = one | {"topology": matrices[0] if static else matrices}
    _equal(_end(other), _end(one | {"topology": name}), f"{name} by its matrices", ROUNDING)


def _end(given: Recipe) -> np.ndarray:
    with begun(given) as simulation:
        return over(simulation).parameters()


COURSE: dict[str, Callable[[Recipe, p2pqg.Simulation, random.Random], None]] = {
    law.__name__: law
    for law in (adds_up, restored, in_portions, gone_back, packed, by_hand, longer)
}
METHOD: dict[str, Callable[[Recipe, random.Random], None]] = {
    law.__name__: law for law in (relabelled, rescaled, doubled, merged, renamed)
}
BY_NUMBER = {"dsgd-ceca", "teleportation"}
OWN_UNIT = {"adam", "dadam", "qg-dadam", "diloco", "noloco"}
SUSPENDED: dict[str, Callable[[Recipe], bool]] = {
    "relabelled": lambda r: _draws(r) or _name(r) in BY_NUMBER,
    "rescaled": lambda r: _name(r) in OWN_UNIT or "of" in r.get("consensus", {}),
    "merged": lambda r: _draws(r) or _name(r) in BY_NUMBER | {"relay-sgd", "dsmt", "cga"},
    "doubled": lambda r: False,
    "renamed": lambda r: False,
}
"""Where a law does not hold: clients' numbers are drawn or chosen by, or gradients have a unit."""


def _name(given: Recipe) -> str:
    algorithm = given.get("algorithm", "qg-dsgdm-n")
    return algorithm if isinstance(algorithm, str) else algorithm["name"]


def _draws(given: Recipe) -> bool:
    return bool(ALGORITHMS[_name(given)].traits["draws"])


# drawing, and what is made of it


def attempt(given: Recipe, seed: int, laws: list[str]) -> str:
    """Try the laws on an allowed recipe; one word on what became of it.

    Raises:
        Broken: one does not hold.
        Exception: whatever else came up, which nothing allowed may raise.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        outcome = _attempt(given, seed, laws)
    for warning in told:
        if not issubclass(warning.category, p2pqg.Notice):
            raise Broken(f"{warning.category.__name__}: {str(warning.message)[:200]}")
    return outcome


def _attempt(given: Recipe, seed: int, laws: list[str]) -> str:
    if "graph" in given:
        return _attempt_method(given, seed, laws)
    with begun(given) as whole:
        try:
            over(whole)
        except DivergedError:
            return "diverged"
        except RunError:
            return "failed"
        for name, law in COURSE.items():
            if name in laws:
                law(given, whole, random.Random(f"{name} {seed}"))
    return "ran"


def _attempt_method(given: Recipe, seed: int, laws: list[str]) -> str:
    outcome = "suspended"
    for name in METHOD:
        if name in laws and not SUSPENDED[name](given):
            try:
                METHOD[name](given, random.Random(f"{name} {seed}"))
                outcome = "ran"
            except DivergedError:
                outcome = "diverged"
            except ConfigError:
                outcome = "refused"
    return outcome


def drawn(seed: int, laws: list[str], refusals: dict[str, str]) -> Recipe | None:
    """An allowed recipe, or a method of one; None: nothing was left of it."""
    chance = random.Random(seed)
    given = recipe(chance)
    waits = not ALGORITHMS[_name(given)].traits["asynchronous"]
    if waits and METHOD.keys() & set(laws) and chance.random() < 0.3:
        graph = chance.choice(["ring", "complete", "star", "chain", "exponential"])
        return {key: given[key] for key in KEPT if key in given and key != "loss"} | {
            "graph": graph
        }
    return allowed(given, chance, refusals)


def kind_of(error: BaseException) -> str:
    """What is broken, without the numbers that differ from case to case."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if "p2pqg" in f.filename]
    place = "" if isinstance(error, Broken) or not ours else f" @ {ours[-1].name}"
    said = re.sub("[-+0-9][-+.0-9e]*", "#", str(error))[:100]
    return f"{type(error).__name__}: {said}{place}"


def shrunk(given: Recipe, seed: int, laws: list[str], kind: str, until: float) -> Recipe:
    """The smallest found that breaks the same law."""
    for less in smaller(given):
        if time.monotonic() > until:
            break
        try:
            attempt(copy.deepcopy(less), seed, laws)
        except ConfigError:
            continue
        except Exception as error:  # whatever it is, if it is the one that is looked for
            if kind_of(error) == kind:
                return shrunk(less, seed, laws, kind, until)
    return given


def storm(seeds: range, laws: list[str], until: float = math.inf) -> dict[str, int]:
    """Try the laws on what these seeds draw, and print what is broken: kind -> how often."""
    broken, outcomes = collections.Counter[str](), collections.Counter[str]()
    refusals: dict[str, str] = {}
    for seed in seeds:
        if time.monotonic() > until:
            break
        given = None
        try:
            given = drawn(seed, laws, refusals)
            outcomes["nothing left" if given is None else attempt(given, seed, laws)] += 1
        except Exception as error:  # the other draws go on
            kind = kind_of(error)
            broken[kind] += 1
            if broken[kind] == 1:
                until_then = time.monotonic() + SECONDS_TO_SHRINK
                least = given and shrunk(given, seed, laws, kind, until_then)
                print(f"seed {seed}: {type(error).__name__}: {error}\n  {least}", flush=True)
                if not isinstance(error, Broken):
                    print("".join(traceback.format_exception(error)[-4:]), flush=True)
    print(f"{dict(outcomes)}, {len(refusals)} kinds of refusals; broken: {dict(broken)}")
    return dict(broken)


def main() -> int:
    """Draw and try; 0 if every law holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000, help="default: 1000")
    parser.add_argument("--seed", type=int, default=0, help="of the first draw")
    parser.add_argument("--minutes", type=float, default=math.inf, help="then it ends")
    known = [*COURSE, *METHOD]
    parser.add_argument("--laws", default=",".join(known), help=f"default: {','.join(known)}")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    seeds = range(options.seed, options.seed + options.draws)
    return int(bool(storm(seeds, options.laws.split(","), until)))


if __name__ == "__main__":
    torch.set_num_threads(1)  # all that is drawn is small
    sys.exit(main())
