"""What every algorithm owes, and what most do: the conformance kit on all that are registered."""

import pytest
import torch
from toys import few_steps

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base import config
from p2pqg.engine.block import Block, lockstep
from p2pqg.engine.routes import Routing
from p2pqg.engine.rule import Rule
from p2pqg.testing import (
    UNIVERSAL,
    bytes_sent,
    check_again,
    check_alone,
    check_bytes,
    check_complete_is,
    check_equal_stays_equal,
    check_mean_finds_optimum,
    check_private,
    suitable_topology,
)
from p2pqg.topology import build

VARIANTS = [
    ("qg-dsgdm", {"tau": 3}),
    ("qg-dadam", {"variant": "official-v1"}),
    ("qg-dadam", {"variant": "official-v2"}),
    ("dsgdm-sync", {"over": "allreduce"}),
    ("dsgdm-sync", {"what": "gradient"}),
    ("slowmo", {"tau": 3}),
    ("slowmo", {"tau": 3, "average": False}),
    ("d2", {"lazy": True}),
    ("dsgdm-n-gt", {"form": "atc"}),
    ("momentum-tracking", {"form": "atc", "init": "allreduce"}),
    ("relay-sgd", {"relay": "update", "fill": "own"}),
    ("choco-sgd", {"compressor": "sign", "order": "paper"}),
    ("choco-sgd", {"compressor": "random-k", "ratio": 0.5}),
    ("choco-sgd", {"compressor": "qsgd"}),
    ("qg-dsgdm-n", {"local_steps": 3, "tau": 2}),
    ("qg-dadam", {"local_steps": 3, "variant": "official-v2"}),
    ("dfedsam", {"local_steps": 2, "gossips": 2}),
    ("k-gt", {"init": "allreduce"}),
    ("led", {"lazy": True}),
    ("gut", {"mu": 0.5, "lazy": True}),
    ("qg-gutm", {"nesterov": True}),
    ("beer", {"compressor": "sign"}),
    ("ef21", {"compressor": "sign", "beta": 0.9}),
    ("dsmt", {"gap": 0.2}),
    ("ngc", {"alpha": 0.0}),
    ("cga", {"layerwise": False, "nesterov": False, "margin": 0.0}),
    ("noloco", {"inner": "sgd", "local_steps": 3}),
    ("diloco", {"inner": "sgd", "local_steps": 3}),
]
ALONE = [name for name, entry in ALGORITHMS.items() if entry.traits["asynchronous"]]
"""Their clients do not wait: test_asynchronous.py says what they owe."""
TOGETHER = sorted(set(ALGORITHMS) - set(ALONE))
EVERYTHING = [(name, few_steps(name)) for name in TOGETHER] + VARIANTS


def name_of(value):
    if isinstance(value, dict):
        return "-".join(str(v) for v in value.values()) or "default"
    return getattr(value, "__name__", str(value))


def every(*exempt):
    """Everything but some: names, or pairs of a name and one parameter's value."""
    return pytest.mark.parametrize(
        ("name", "params"),
        [
            (name, params)
            for name, params in EVERYTHING
            if name not in exempt and not any((name, value) in exempt for value in params.values())
        ],
        ids=name_of,
    )


CENTRALIZED = [name for name, entry in ALGORITHMS.items() if entry.traits["centralized"]]
RANDOM = [("choco-sgd", "random-k"), ("choco-sgd", "qsgd")]


@every(*RANDOM, "dsgd-ceca", "teleportation")
@pytest.mark.parametrize("check", UNIVERSAL, ids=name_of)
def test_algorithm_keeps_the_rules_of_the_house(check, name, params):
    check(name, **params)


@pytest.mark.parametrize("check", [c for c in UNIVERSAL if c.__name__ != "check_permutation"])
@pytest.mark.parametrize("compressor", ["random-k", "qsgd"])
def test_random_compressors_draw_by_client_and_round(check, compressor):
    check("choco-sgd", compressor=compressor)


@pytest.mark.parametrize("check", [c for c in UNIVERSAL if c.__name__ != "check_permutation"])
@pytest.mark.parametrize("name", ["dsgd-ceca", "teleportation"])
def test_some_networks_know_clients_by_their_numbers(check, name):
    check(name)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_private_gradients_suit_every_algorithm(name):
    params = ALGORITHMS[name].params
    local = {"local_steps": 2} if hasattr(params, "local_steps") else {}
    check_private(name, **local)


@every()
def test_the_same_rows_again_give_the_last_gradient(name, params):
    check_again(name, **params)


# RelaySGD fills in for those not heard yet, whose number differs from client to client at first.
# Teleportation lets most clients stand still.
@every("relay-sgd", "teleportation", *RANDOM)
def test_equal_clients_stay_equal_forever(name, params):
    check_equal_stays_equal(name, **params)


@every(
    "relay-sgd",
    *CENTRALIZED,
    "slowmo",
    "dsgd-ceca",
    "teleportation",
    ("dsgdm-sync", "allreduce"),
    *RANDOM,
    "momentum-tracking",
    ("k-gt", "allreduce"),
)
def test_without_a_network_every_client_is_alone(name, params):
    check_alone(name, **params)


@pytest.mark.parametrize("params", [{"form": "cta"}, {"form": "atc"}], ids=name_of)
def test_without_a_network_momentum_tracking_is_alone(params):
    check_alone("momentum-tracking", **params)


def test_without_a_network_slowmo_without_average_is_alone():
    check_alone("slowmo", average=False, tau=3)


# Adam's step does not shrink with the gradient, nor does the distance at which DFedSAM looks;
# SlowMo is slow (below). CGA rests where gradients are at odds.
@every(
    *("adam", "dadam", "qg-dadam", "slowmo", "cga"),
    *("dfedsam", "diloco", "noloco", "teleportation"),
)
def test_the_mean_of_the_clients_finds_the_optimum_of_equal_curvature(name, params):
    slow, quick = ("qg-dsgdm", "qg-gutm", "relay-sgd"), ("dfedavgm", "k-gt", "led")
    rounds = 600 if name in slow else 100 if name in quick else 300
    check_mean_finds_optimum(name, rounds=rounds, **params)


@pytest.mark.parametrize("name", ["diloco", "noloco"])
def test_the_mean_of_outer_steps_on_plain_inner_ones_finds_it_too(name):
    check_mean_finds_optimum(name, inner="sgd", local_steps=3, lr=0.05, rounds=300)


def test_the_mean_of_slowmo_finds_the_optimum_of_equal_curvature():
    check_mean_finds_optimum("slowmo", rounds=1100)


@pytest.mark.parametrize(
    ("name", "params", "centralized"),
    [
        ("dsgd", {}, "sgd"),
        ("dsgdm", {}, "sgdm"),
        ("dsgdm-n", {}, "sgdm-n"),
        ("qg-dsgdm", {"beta": 0.0}, "sgd"),
        ("qg-dsgdm-n", {"beta": 0.0}, "sgd"),
        ("dsgdm-sync", {}, "sgdm-n"),
        ("dsgdm-sync", {"over": "allreduce", "nesterov": False}, "sgdm"),
        ("dsgdm-sync", {"what": "gradient"}, "sgdm-n"),
        ("slowmo", {"slow_beta": 0.0, "tau": 3}, "sgdm-n"),
        ("slowmo", {"slow_beta": 0.0, "tau": 3, "nesterov": False}, "sgdm"),
        ("d2-plus", {}, "sgd"),
        ("edm", {}, "sgdm"),
        ("edm", {"beta": 0.0}, "sgd"),
        ("dsgd-gt", {"form": "atc"}, "sgd"),
        ("dsgdm-gt", {"form": "atc"}, "sgdm"),
        ("gt-hsgd", {}, "sgd"),
        ("dsgdm-n-gt", {"form": "atc"}, "sgdm-n"),
        ("momentum-tracking", {"form": "atc"}, "sgdm"),
        ("decentlam", {}, "sgdm"),
        ("sgp", {}, "sgdm-n"),
        ("sgp", {"nesterov": False}, "sgdm"),
        ("choco-sgd", {"compressor": "identity", "gamma": 1.0, "order": "paper"}, "sgd"),
        ("dfedavgm", {"local_steps": 1}, "sgd"),
        ("ngc", {}, "sgdm-n"),
        ("ef21", {"compressor": "identity"}, "sgd"),
        ("dsmt", {"beta": 0.0, "lazy": False}, "sgd"),
        ("k-gt", {"local_steps": 1}, "sgd"),
        ("k-gt", {"local_steps": 1, "init": "allreduce"}, "sgd"),
        (
            "noloco",
            {"inner": "sgd", "local_steps": 1, "outer_beta": 0.0, "outer_lr": 1.0, "gamma": 1.0},
            "sgd",
        ),
        ("diloco", {"inner": "sgd", "local_steps": 1, "outer_beta": 0.0, "outer_lr": 1.0}, "sgd"),
        (
            "choco-sgd",
            {"compressor": "identity", "gamma": 1.0, "order": "paper", "beta": 0.9},
            "sgdm",
        ),
    ],
    ids=name_of,
)
def test_on_the_complete_graph_it_is_a_centralized_method(name, params, centralized):
    check_complete_is(name, centralized, **params)


@pytest.mark.parametrize(
    ("name", "params", "vectors", "scalars", "allreduced"),
    [
        ("sgd", {}, 0, 0, 1),
        ("sgdm", {}, 0, 0, 1),
        ("sgdm-n", {}, 0, 0, 1),
        ("adam", {}, 0, 0, 1),
        ("dsgd", {}, 1, 0, 0),
        ("dsgdm", {}, 1, 0, 0),
        ("dsgdm-n", {}, 1, 0, 0),
        ("qg-dsgdm", {}, 1, 0, 0),
        ("qg-dsgdm", {"tau": 4}, 1, 0, 0),
        ("qg-dsgdm-n", {}, 1, 0, 0),
        ("dadam", {}, 1, 0, 0),
        ("qg-dadam", {}, 1, 0, 0),
        ("dsgdm-sync", {}, 2, 0, 0),
        ("dsgdm-sync", {"over": "allreduce"}, 1, 0, 1),
        ("dsgdm-sync", {"what": "gradient"}, 2, 0, 0),
        ("dsgdm-sync", {"what": "gradient", "over": "allreduce"}, 1, 0, 1),
        ("slowmo", {"tau": 4}, 1, 0, 1 / 4),
        ("slowmo", {"tau": 4, "average": False}, 1, 0, 0),
        ("dmsgd", {}, 1, 0, 0),
        ("d2", {}, 1, 0, 0),
        ("d2-plus", {"lazy": True}, 1, 0, 0),
        ("edm", {}, 1, 0, 0),
        ("dsgd-gt", {}, 2, 0, 0),
        ("dsgdm-gt", {}, 2, 0, 0),
        ("dsgdm-n-gt", {"form": "atc"}, 2, 0, 0),
        ("gt-hsgd", {}, 2, 0, 0),
        ("decentlam", {}, 1, 0, 0),
        ("momentum-tracking", {}, 2, 0, 0),
        ("momentum-tracking", {"init": "allreduce"}, 2, 0, 1 / 12),  # in the first of 12 rounds
        (
            "relay-sgd",
            {},
            1,
            1,
            1 / 60,
        ),  # a count; and at first one number to learn how many we are
        ("sgp", {}, 1, 1, 0),
        ("choco-sgd", {"compressor": "identity"}, 1, 0, 0),
        ("dsgdm-n", {"local_steps": 4}, 1, 0, 0),
        ("dfedavgm", {}, 1, 0, 0),
        ("dfedsam", {"gossips": 3}, 3, 0, 0),
        ("k-gt", {}, 2, 0, 0),
        ("k-gt", {"init": "allreduce"}, 2, 0, 1 / 12),
        ("led", {}, 1, 0, 0),
        ("gut", {}, 1, 0, 0),
        ("qg-gutm", {}, 1, 0, 0),
        ("beer", {"compressor": "identity"}, 23 / 12, 0, 0),  # models alone in the first of 12
        ("ef21", {"compressor": "identity"}, 0, 0, 8 / 2),  # each to all: n - 1 messages a client
        ("extra", {}, 1, 0, 0),
        ("nids", {}, 11 / 12, 0, 0),  # nothing in the first of 12
        ("dsmt", {}, 23 / 12, 0, 0),  # models alone in the first of 12
        ("powergossip", {}, 11 / 12, 0, 0),  # nothing in the first of 12; a row is no matrix
        ("dsgd-ceca", {}, 1, 0, 0),
        ("ngc", {}, 2, 0, 0),
        ("ngc", {"alpha": 0.0}, 1, 0, 0),
        ("cga", {}, 2, 0, 0),
        ("noloco", {}, 2, 0, 0),
        ("diloco", {}, 0, 0, 1),
    ],
    ids=name_of,
)
def test_bytes_are_messages_times_their_size(name, params, vectors, scalars, allreduced):
    check_bytes(name, vectors, scalars, allreduced, **params)


def test_bytes_grow_with_the_rounds():
    assert bytes_sent("dsgd", "ring16", 6) == 2 * bytes_sent("dsgd", "ring16", 3)


@every()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_state_keeps_the_precision_it_was_started_in(name, params, dtype):
    made, _ = config.read(ALGORITHMS[name].params, {"lr": 0.1, **params})
    rule = Rule(ALGORITHMS[name], made, lambda round: 0.1, seed=0)
    routing = Routing(build(suitable_topology(name, **params)), (0, 3, 8))
    blocks = [
        Block(rule, routing, b, torch.ones(k, 5, dtype=dtype), lambda x, step, again=False: x / 2)
        for b, k in enumerate((3, 5))
    ]
    lockstep(blocks, 3)
    for block in blocks:
        tensors = [v for v in block.state if isinstance(v, torch.Tensor) and v.is_floating_point()]
        assert {v.dtype for v in tensors} == {dtype}
        assert torch.isfinite(block.x).all()
