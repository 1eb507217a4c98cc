"""What a person does in a control room, for tests."""

from collections.abc import Iterator
from typing import Any

import numpy as np


def ask(room, *asked):
    for one in asked:
        room.act(one)
        assert room.wait(60)
    return room.sentence


def verb(name, branch=0, **given):
    return {"do": "verb", "branch": branch, "verb": name, "given": given}


def play(rounds):
    return {"do": "play", "rounds": rounds}


def random_actions(rng: np.random.Generator, names: list[str]) -> Iterator[dict[str, Any]]:
    """Twenty of all kinds; some may be refused, which is what a person meets, too."""
    n = 8

    def some(k):
        return rng.choice(n, k, replace=False).tolist()

    makers = {
        "drop_links": lambda: {"links": [[k := int(rng.integers(n)), (k + 1) % n]]},
        "restore_links": lambda: {},
        "add_links": lambda: {"links": [some(2)]},
        "drop_clients": lambda: {"clients": some(1)},
        "restore_clients": lambda: {"how": str(rng.choice(["stale", "neighbor", "average"]))},
        "set_lr": lambda: {"lr": float(rng.choice([0.05, 0.1, 0.2]))},
        "set_impairments": lambda: {"loss": float(rng.choice([0.0, 0.1])), "by": "link"},
        "set_algorithm_params": lambda: {"mu": float(rng.choice([0.5, 0.9]))},
        "set_topology": lambda: {"topology": str(rng.choice(["ring8", "exponential8"]))},
        "attack": lambda: {"who": some(1), "how": "sign-flip"},
        "stop_attack": lambda: {},
        "add_clients": lambda: {"count": 1, "links": [[n, some(1)[0]]]},
    }
    for number in range(20):
        name = names[number % len(names)]
        yield verb(name, **makers[name]())
