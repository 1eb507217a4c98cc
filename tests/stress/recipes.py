"""Random recipes: every key of `RunConfig` now and then, for runs of some milliseconds.

Most of what is drawn may not be combined; `allowed` leaves out what is refused, key by key.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import random
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from p2pqg.algorithms.attacks import ATTACKS
from p2pqg.algorithms.effects import ALGORITHMS
from p2pqg.algorithms.gossip_rules import GOSSIP_RULES
from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import Registry
from p2pqg.data.partition import PARTITIONS
from p2pqg.models.judging.losses import LOSSES
from p2pqg.models.judging.metrics import METRICS
from p2pqg.network.verbs import VERBS
from p2pqg.recipe.settings import RunConfig, read_settings
from p2pqg.simulation.build import build
from p2pqg.topology._registry import TOPOLOGIES
from p2pqg.topology.mixing_rules import RULES

Recipe = dict[str, Any]

ENDS = ("rounds", "epochs", "steps", "time")
NEEDED = ("topology", "dataset", "model", "precision", "batch_size", "lr", "engine")
"""Keys that are never left out."""
ELSEWHERE = {
    *("data_dir", "callbacks", "address", "out", "name", "max_restarts", "device", "engine"),
    *("transport", "profile", "planned_epochs", "clients_per_actor", "checkpoint_every"),
    *("capture", *ENDS),
}
"""Keys that are not drawn: of where a run is and how it is carried out; its end is drawn apart."""
MOST_CLIENTS = 16
LONGEST = 500
"""Letters of a line that tells what is wrong."""


def recipe(chance: random.Random) -> Recipe:
    """One that may be refused."""
    drawn = Drawer(chance)
    fields = [field.name for field in dataclasses.fields(RunConfig) if field.name not in ELSEWHERE]
    first = ["topology", "dataset", "algorithm"]
    for key in [*first, *(key for key in fields if key not in first)]:
        if chance.random() < ODDS.get(key, 0.1):
            drawn.recipe[key] = getattr(drawn, key)()
    drawn.recipe |= drawn.end() | {"engine": "local"}
    if drawn.does_not_wait:
        drawn.recipe["network"] = drawn.network() | {"compute": drawn.compute()}
    return drawn.recipe


def allowed(given: Recipe, chance: random.Random, refusals: dict[str, str]) -> Recipe | None:
    """What is left of a recipe where the keys that are complained of are left out; None: nothing.

    Lines that refuse are noted by their ends: end -> line.
    """
    found = copy.deepcopy(given)
    for _ in range(40):
        try:
            build(*read_settings({"record_every": 1, **copy.deepcopy(found)}))
        except ConfigError as error:
            told = str(error)
        else:
            return found
        refusals.setdefault(told[-60:], told)
        if any(len(line) > LONGEST for line in told.splitlines()):
            raise AssertionError(f"a long line: {told}")
        left = [key for key in found if key not in (*NEEDED, *ENDS)]
        if not left or chance.random() < 0.1:
            found = {key: found[key] for key in found if key not in (*ENDS, "partition", "clients")}
            found |= {"topology": "ring4", "rounds": 3}
            continue
        named = [key for key in left if key in told]
        _leave_out(found, chance.choice(named or left), chance)
    return None


def smaller(given: Recipe) -> Iterator[Recipe]:
    """The same with one thing less, one after the other."""
    for key, value in given.items():
        if key not in (*NEEDED, *ENDS):
            yield {k: v for k, v in given.items() if k != key}
        if isinstance(value, dict):
            for inner in value:
                yield given | {key: {k: v for k, v in value.items() if k != inner}}
        if isinstance(value, list):
            for place in range(len(value)):
                yield given | {key: value[:place] + value[place + 1 :]}


def _leave_out(found: Recipe, key: str, chance: random.Random) -> None:
    value = found[key]
    if isinstance(value, list) and len(value) > 1 and key in ("scenario", "attacks"):
        value.pop(chance.randrange(len(value)))
    elif isinstance(value, dict) and len(value) > 1:
        value.pop(chance.choice([inner for inner in value if inner != "name"]))
    else:
        found.pop(key)


class Drawer:
    """Values of keys, each method that of its key, given the recipe so far."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.recipe, self.n = chance, Recipe(), 1

    @property
    def does_not_wait(self) -> bool:
        name = _name(self.recipe.get("algorithm", "dsgd"))
        return bool(ALGORITHMS[name].traits["asynchronous"])

    def one_of(self, *values: Any) -> Any:
        return self.chance.choice(values)

    def often(self, share: float) -> bool:
        return self.chance.random() < share

    def of(self, registry: Registry, odds: float = 0.3) -> Any:
        """A part by its name, some of its parameters given."""
        name = self.chance.choice(sorted(registry))
        given = self.params(registry[name].params, odds)
        return {"name": name, **given} if given else name

    def params(self, kind: Any, odds: float) -> dict[str, Any]:
        hints = typing.get_type_hints(kind, include_extras=True)
        return {
            field.name: self.value(hints[field.name], field.default)
            for field in dataclasses.fields(kind)
            if field.name != "lr" and self.often(odds)
        }

    def value(self, hint: Any, default: Any) -> Any:
        """One of a field's type, within its range."""
        origin, within = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            kinds = typing.get_args(within[0]) or (within[0],)
            if types.NoneType in kinds and self.often(0.2):
                return None
            words = [w for k in kinds if typing.get_origin(k) is typing.Literal for w in k.__args__]
            if words and self.often(0.3):
                return self.chance.choice(words)
            return self.number(within[1], whole=int in kinds and float not in kinds)
        if origin is typing.Literal:
            return self.chance.choice(within)
        if origin in (types.UnionType, typing.Union):
            return self.value(self.chance.choice(within), default)
        default = None if default is dataclasses.MISSING else default
        return {bool: self.often(0.5), int: self.one_of(1, 2, 3), types.NoneType: None}.get(
            hint, self.one_of(0.3, 0.9, 1.5) if hint is float else default
        )

    def number(self, within: str, whole: bool) -> float:
        """One of a range such as "> 0" or "[0, 1)", its ends among them."""
        if within.startswith(">"):
            low = float(within.split()[1])
            if whole:
                return int(low) + self.chance.randrange(4) + ("=" not in within)
            return low + self.one_of(*([0.0] if "=" in within else []), 0.01, 0.1, 0.5, 1.0, 3.0)
        low, high = map(float, within[1:-1].split(","))
        if whole:
            return self.chance.randint(int(low), min(int(high), int(low) + 6))
        ends = [low] * (within[0] == "[") + [high] * (within[-1] == "]")
        return round(self.one_of(*ends, *(low + s * (high - low) for s in (0.1, 0.5, 0.9))), 6)

    # the network and the data

    def topology(self) -> str:
        common = ["ring", "complete", "star", "torus", "chain", "exponential"]
        name = self.chance.choice(common if self.often(0.5) else sorted(TOPOLOGIES))
        entry, n = TOPOLOGIES[name], self.one_of(1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 8)
        self.n = entry.traits.get("size") or n
        if self.n > MOST_CLIENTS:
            return self.topology()
        given = self.params(entry.params, 0.2)
        if self.often(0.2):
            given["mixing"] = self.chance.choice(sorted(RULES))
        words = {k: str(v).lower() if isinstance(v, bool) else v for k, v in given.items()}
        options = ",".join(f"{k}={v}" for k, v in words.items() if isinstance(v, str | int | float))
        return f"{name}{self.n}" + (f":{options}" if options else "")

    def dataset(self) -> Recipe:
        samples, classes = self.one_of(12, 24, 40, 61), self.one_of(1, 2, 3, 3, 4)
        found = {"name": "synthetic", "samples": samples, "classes": classes}
        if self.often(0.1):
            found["separation"] = self.one_of(0.0, 10.0)
        if self.often(0.05):
            found["test_samples"] = self.one_of(1, 7)
        return found | (
            {"image_side": 8} if self.often(0.08) else {"features": self.one_of(1, 3, 5)}
        )

    def model(self) -> Any:
        if "image_side" in self.recipe["dataset"]:
            return self.one_of("cnn", "logistic", "lenet")
        hidden = self.one_of([3], [4, 3], [])
        return self.one_of("logistic", {"name": "mlp", "hidden": hidden})

    def clients(self) -> int:
        return self.n

    def partition(self) -> Any:
        if self.often(0.7):
            return self.of(PARTITIONS)
        samples = self.recipe["dataset"]["samples"]
        order = self.chance.sample(range(samples), samples)
        cuts: Sequence[int] = range(1, self.n)  # one sample each, and the last has all others
        if self.often(0.5) and self.n <= samples:
            cuts = sorted(self.chance.sample(range(1, samples), self.n - 1))
        return [order[a:b] for a, b in itertools.pairwise([0, *cuts, samples])]

    def alpha(self) -> float:
        return self.one_of(0.1, 1.0, 100.0)

    def test(self) -> str:
        return self.one_of("common", "own")

    def validation(self) -> float:
        return self.one_of(0.0, 0.1, 0.3)

    def loss(self) -> Any:
        return self.of(LOSSES)

    def metrics(self) -> list[str]:
        return self.chance.sample(sorted(METRICS), 2)

    def personal(self) -> list[str]:
        return [self.one_of("*.bias", "head.*", "*", "0.*", "*weight")]

    # the method

    def algorithm(self) -> Any:
        return self.of(ALGORITHMS, 0.35)

    def rule(self) -> Any:
        return self.of(GOSSIP_RULES)

    def lr(self) -> float:
        return self.one_of(0.01, 0.05, 0.1, 0.3)

    def lr_schedule(self) -> Recipe:
        kind = self.one_of("milestones", "step", "cosine")
        found: Recipe = {"kind": kind}
        if kind == "milestones":
            found["milestones"] = self.one_of([], [0.5], [0.2, 0.75])
        if kind == "step":
            found["step_epochs"] = self.one_of(0.1, 0.3, 1.0)
            found["decay"] = 0.9  # qg-dsgdm divides rounding by lr
        if kind == "cosine" and self.often(0.5):
            found["floor"] = self.one_of(0.0, 0.1)
        if self.often(0.4):
            found |= {"warmup_epochs": self.one_of(0.1, 0.5, 2.0), "warmup_from": 0.001}
        if self.often(0.3):
            found |= {"scaling": "linear", "base_batch_size": self.one_of(1, 8, 64)}
        return found

    def momentum(self) -> float:
        return self.one_of(0.0, 0.5, 0.9)

    def weight_decay(self) -> float:
        return self.one_of(0.0, 1e-4, 0.1)

    def local_steps(self) -> int:
        return self.one_of(1, 2, 3)

    def local_epochs(self) -> float:
        return self.one_of(0.2, 0.5, 1.0)

    def consensus(self) -> Recipe:
        phases = self.one_of(1, 1, 2)
        targets = [self.one_of(0.5, 0.01, 1e-4, "free", "exact") for _ in range(phases)]
        found: Recipe = {"targets": targets}
        if phases == 2:
            found["phases"] = [self.one_of(0.3, 0.5)]
        if self.often(0.3):
            found["of"] = "gradient"
        elif self.often(0.3):
            found["reference"] = [self.one_of(0.1, 1.0)]
        if self.often(0.4):
            found["measure"] = "exchange"
        if self.often(0.3):
            found["max_exchanges"] = self.one_of(1, 2, 5)
        return found

    def privacy(self) -> Recipe:
        return {"clip": self.one_of(0.1, 1.0), "sigma": self.one_of(0.3, 1.0)}

    def batch_size(self) -> int:
        return self.one_of(1, 2, 3, 5, 8, 50)

    def seed(self) -> int:
        return self.one_of(0, 1, 2**31)

    def precision(self) -> str:
        return self.one_of(*["float64"] * 8, "float32", "float32", "bf16")

    # its course

    def end(self) -> Recipe:
        return self.one_of(
            *[{"rounds": rounds} for rounds in range(1, 7)],
            {"epochs": self.one_of(0.1, 0.5, 1.0, 1.5)},
            {"steps": self.one_of(1, 3, 5)},
            {"time": self.one_of(0.5, 2, "5 s")},
        )

    def planned_rounds(self) -> int:
        return self.one_of(2, 4, 8)

    def stop(self) -> Recipe:
        if self.often(0.5):
            return {"when": self.one_of("test_accuracy >= 0.5", "train_loss < 0.9")}
        metric = self.one_of("test_loss", "consensus_distance", "averaged_model_accuracy")
        return {"patience": self.one_of(1, 2), "metric": metric}

    def eval_every(self) -> int:
        return self.one_of(1, 2, 3, 7)

    def eval_first(self) -> bool:
        return self.often(0.5)

    def record_every(self) -> int:
        return self.one_of(1, 1, 2, 3, 7)

    # what happens to the network

    def compute(self) -> Any:
        if self.often(0.4):
            return self.one_of(0.1, "50 ms", 1)
        found: Recipe = {"seconds": self.one_of(0.1, 1.0)}
        if self.often(0.6):
            found["varies"] = self.one_of("uniform", "lognormal", "exponential", "constant")
        if self.often(0.3):
            found["speeds"] = {"0": self.one_of(0.5, 2.0)}
        if self.often(0.2):
            found["stragglers"] = {"probability": 0.3, "slowdown": 4}
        return found

    def network(self) -> Recipe:
        found: Recipe = {}
        if self.often(0.7):
            found["links"] = self.one_of(
                *("wan", "4g", "lan", "perfect", {"class": "4g", "per": "link"}),
                {"class": "wan", "jitter": "10 ms"},
                {"latency": 0.3, "bandwidth": 1e4},
            )
        if self.often(0.25):
            found["uplink"] = self.one_of("10 Mbit/s", 1e4, {"0": 1e3, "default": 1e5})
        if self.often(0.25):
            found["downlink"] = self.one_of("10 Mbit/s", 1e4)
        if self.often(0.8):
            found["compute"] = self.compute()
        if self.often(0.3):
            found["synchrony"] = self.one_of("global", "neighbors")
        if self.often(0.15):
            found["deadline"] = self.one_of(0.5, 1.5, "3 s")
        return found

    def impairments(self) -> Recipe:
        found: Recipe = {}
        if self.often(0.5):
            found["loss"] = self.one_of(0.1, 0.3, 0.7, 1.0)
            if self.often(0.3):
                found["burst"] = self.one_of(2, 4)
        if self.often(0.3):
            found["by"] = "link"
        if self.often(0.4):
            found["on_loss"] = "renormalise"
        if self.often(0.3):
            found["delay"] = self.one_of(1, 2, [0, 2], [1, 3])
        if self.often(0.3):
            found["participation"] = self.one_of(0.2, 0.5, 0.9)
        if self.often(0.2):
            found["noise"] = self.one_of(0.01, 0.1)
        return found

    def who(self) -> Any:
        some = self.chance.sample(range(self.n), min(self.n, self.one_of(1, 1, 2)))
        return self.one_of({"count": 1}, {"share": 0.3}, *[some] * 5)

    def attacks(self) -> list[Recipe]:
        found = [{"who": self.who(), "how": self.of(ATTACKS)} for _ in range(self.one_of(1, 1, 2))]
        for item in found:
            if self.often(0.5):
                item["when"] = self.one_of(0, 1, 2, [0, 1], [1, 3])
        return found

    def scenario(self) -> list[Recipe]:
        return [self.item() for _ in range(self.one_of(1, 2, 3, 4))]

    def item(self) -> Recipe:
        verb, kind = self.chance.choice(sorted(VERBS)), self.chance.random()
        when: Recipe = {"at": f"round {self.chance.randrange(5)}"}
        if kind < 0.15:
            when = {"every": f"{self.one_of(1, 2)} rounds", "between": [self.one_of(0, 1), 3]}
        elif kind < 0.3:
            when = {"at": f"{self.one_of(0.1, 0.5, 2)} s"}
        return when | {verb: self.done(verb)}

    def link(self) -> Any:
        a, b = self.chance.sample(range(self.n), 2) if self.n > 1 else (0, 1)
        return self.one_of([a, b], f"{a}-{b}", f"{a}->{b}")

    def done(self, verb: str) -> Any:
        """What a verb of scenarios is given."""
        n, links = self.n, [self.link() for _ in range(self.one_of(1, 1, 2))]
        some = self.chance.sample(range(n), min(n, self.one_of(1, 1, 2)))
        back = {
            "clients": self.one_of("all", [self.chance.randrange(n)]),
            "how": self.one_of("stale", "neighbor", "average"),
        }
        joined = {"count": 1, "links": [[n, self.chance.randrange(n)]]}
        names = ("ring", "complete", "star", "chain", "onepeer-exponential", "exponential")
        given: Mapping[str, Sequence[Any]] = {
            "set_topology": [f"{name}{n}" for name in names],
            "drop_links": [links],
            "add_links": [links],
            "restore_links": ["all", links],
            "drop_clients": [some],
            "restore_clients": [back, back["clients"]],
            "add_clients": [1, 2, joined, {"count": 1, "topology": f"ring{n + 1}"}],
            "set_algorithm_params": [
                *({"beta": 0.5}, {"mu": 0.5}, {"local_steps": 2}, {"gamma": 0.2}, {"tau": 2}),
                *({"beta1": 0.5}, {"ratio": 0.5}, {"gossips": 2}, {"every": 2}, {"lazy": True}),
            ],
            "set_lr": [0.01, 0.2],
            "set_rule": ["none", self.of(GOSSIP_RULES)],
            "attack": [{"who": self.who(), "how": self.of(ATTACKS)}],
            "stop_attack": ["all", [self.chance.randrange(n)]],
            "set_network": [
                *({"compute": 0.2}, {"links": "wan"}, {"links": "4g"}, {"uplink": 1e4}),
                *({"synchrony": "neighbors"}, {"deadline": 2.0}),
            ],
            "set_impairments": [
                *("none", {"loss": 0.5}, {"delay": 2}, {"delay": 0}, {"participation": 0.5}),
                *({"noise": 0.1}, {"on_loss": "renormalise"}, {"by": "link"}),
                {"loss": 0.3, "burst": 3},
            ],
        }
        return self.chance.choice(given[verb])


ODDS = {
    **dict.fromkeys(("topology", "dataset", "model", "precision", "batch_size", "lr"), 1.0),
    **{"algorithm": 0.95, "record_every": 0.8, "eval_every": 0.7, "seed": 0.7, "alpha": 0.4},
    **{"weight_decay": 0.5, "scenario": 0.35, "network": 0.3, "impairments": 0.3},
    **{"eval_first": 0.3, "partition": 0.25, "lr_schedule": 0.2, "planned_rounds": 0.03},
    **{"local_epochs": 0.04, "loss": 0.05, "stop": 0.06},
}
"""How often a key is given; any other 0.1."""


def _name(part: Any) -> str:
    return part if isinstance(part, str) else part["name"]
