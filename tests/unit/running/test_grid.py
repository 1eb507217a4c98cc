"""Grids: names, settings, what a recipe may say, and where a tuned grid grows."""

import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.running.grid import beyond_the_edge, read_sweep

RECIPE = {
    "rounds": 10,
    "topology": "ring16",
    "sweep": {"algorithm": ["dsgd", "dsgdm"], "lr": [0.1, 0.2, 0.4], "seed": [1, 2]},
}


def test_a_grid_has_every_combination_once_with_the_last_key_fastest(tmp_path):
    sweep = read_sweep(RECIPE, "grid", str(tmp_path))
    names = [sweep.name(point) for point in sweep.points()]
    assert len(set(names)) == 12
    assert names[:2] == ["dsgd-lr0.1-seed1", "dsgd-lr0.1-seed2"]


def test_runs_of_a_sweep_use_the_local_engine_unless_told_otherwise(tmp_path):
    assert read_sweep(RECIPE, "grid").base["engine"] == "local"
    assert read_sweep(RECIPE | {"engine": "ray"}, "grid").base["engine"] == "ray"


def test_dotted_keys_reach_into_a_part_whichever_comes_first(tmp_path):
    axes = {"algorithm.mu": [0.5], "algorithm": ["qg-dsgdm"]}
    sweep = read_sweep({"sweep": axes}, "grid", str(tmp_path))
    (point,) = sweep.points()
    assert sweep.settings(point)["algorithm"] == {"name": "qg-dsgdm", "mu": 0.5}
    assert sweep.name(point) == "mu0.5-qg-dsgdm"


def test_names_are_plain_folder_names(tmp_path):
    axes = {"topology": ["nets/a b.yaml", "erdos-renyi8:p=0.5"], "alpha": [None, 0.1]}
    sweep = read_sweep({"sweep": axes}, "grid", str(tmp_path))
    assert [sweep.name(point) for point in sweep.points()] == [
        "nets_a_b.yaml-alphanone",
        "nets_a_b.yaml-alpha0.1",
        "erdos-renyi8_p_0.5-alphanone",
        "erdos-renyi8_p_0.5-alpha0.1",
    ]


def test_a_sweep_of_version_0_1_0_goes_on_in_its_own_directories(tmp_path):
    sweep = read_sweep({"sweep": {"topology": ["base25:k=2"]}}, "grid", str(tmp_path))
    (point,) = sweep.points()
    assert sweep.name(point) == "base25_k_2"
    (sweep.folder / "base25_k=2").mkdir(parents=True)
    assert sweep.name(point) == "base25_k=2"


def test_parameters_and_lists_are_in_the_name_too():
    algorithm = [{"name": "dsgdm-sync", "over": "gossip"}]
    axes = {"algorithm": algorithm, "consensus.targets": [["free", 0.25]], "lr": [5e-6]}
    sweep = read_sweep({"sweep": axes, "consensus": {"phases": [0.5]}}, "grid")
    (point,) = sweep.points()
    assert sweep.name(point) == "dsgdm-sync-overgossip-targetsfree_0.25-lr5e-06"


def test_several_grids_follow_each_other_and_each_is_tuned_alone(tmp_path):
    grids = [
        {"algorithm": ["dsgd"], "lr": [0.1, 0.2], "seed": [1, 2]},
        {"algorithm": ["dadam"], "partition": ["iid"], "lr": [0.002, 0.001], "seed": [1]},
    ]
    sweep = read_sweep({"sweep": grids, "tune": "lr"}, "grid", str(tmp_path))
    names = [sweep.name(point) for point in sweep.points()]
    assert names[:4] == [f"dsgd-lr{lr}-seed{seed}" for lr in (0.1, 0.2) for seed in (1, 2)]
    assert names[4:] == ["dadam-iid-lr0.001-seed1", "dadam-iid-lr0.002-seed1"]
    cells = [(cell, len(seeds), values) for cell, seeds, values in sweep._cells()]
    assert cells == [("dsgd", 2, [0.1, 0.2]), ("dadam-iid", 1, [0.001, 0.002])]
    assert read_sweep(sweep.recipe(), "grid", str(tmp_path)) == sweep


def test_what_a_recipe_is_for_is_not_handed_to_its_runs(tmp_path):
    values = RECIPE | {"source": "somebody", "paper": "table1", "figure": "network-size"}
    sweep = read_sweep(values, "grid", str(tmp_path))
    assert sweep.about == {"source": "somebody", "paper": "table1", "figure": "network-size"}
    assert not {"source", "paper", "figure"} & set(sweep.settings(sweep.points()[0]))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sweep": None}, "sweep must be a mapping"),
        ({"sweep": []}, "sweep\\[0\\] must be a mapping"),
        ({"sweep": {"out": ["a", "b"]}}, "sweep.out: .* set out beside sweep"),
        ({"sweep": [{"seed": [1], "name": ["a"]}]}, "sweep\\[0\\].name: .* set name beside sweep"),
        ({"sweep": [{"seed": [1]}, {"lr": 2}]}, "sweep\\[1\\].lr must be a list of values, got 2"),
        ({"tune": "lr", "sweep": [{"lr": [1, 2]}, {"lr": [1, 2, 3]}]}, "equally many.*got 2 and 3"),
        ({"sweep": {"lr": 0.1}}, "sweep.lr must be a list of values, got 0.1"),
        ({"sweep": {"lr": []}}, "sweep.lr must be a list"),
        ({"sweep": {"lr": [0.1, 0.1]}}, "sweep has lr0.1 twice"),
        ({"tune": "lrr"}, "tune must be a key of sweep, got 'lrr'; did you mean lr"),
        ({"tune": "algorithm"}, "sweep.algorithm must be numbers to be tuned"),
        ({"tune": "lr", "sweep": {"lr": [0.1]}}, "two numbers > 0 or more"),
        ({"tune": "lr", "max_extensions": -1}, "max_extensions must be an integer >= 0"),
        ({"max_extensions": 2}, "max_extensions is of a tuned key, add tune: lr; or leave it out"),
        ({"sweep": {"alhpa": [1]}}, "unknown key alhpa; did you mean alpha"),
        ({"sweep": {"lr": [0.1, -1]}}, "lr must be > 0, got -1"),
        ({"claim": {"left": {"lr": 0.1}}}, "grid: claim.holds_if is missing; set it"),
        (
            {"claim": {"left": {"algorithm": "d2"}, "holds_if": {"above": 0}}},
            "grid: claim: left: no run with d2; they have dsgd, dsgdm",
        ),
        (
            {"claim": {"left": {"lr": 0.1}, "holds_if": {"above": 0}}, "sweep": {"lr": [0.1]}},
            "grid: claim needs two seeds or more, the runs have only seed 0",
        ),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_starts(tmp_path, changes, text):
    with pytest.raises(ConfigError, match=text):
        read_sweep(RECIPE | changes, "grid", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("means", "value"),
    [
        ({0.1: 1, 0.2: 2, 0.4: 3}, 0.8),
        ({0.1: 3, 0.2: 2, 0.4: 1}, 0.05),
        ({0.1: 1, 0.2: 2, 0.4: 1}, None),
        ({0.1: float("-inf"), 0.3: float("-inf")}, 0.0333333),  # all failed: smaller steps
        ({0.1: 1, 1.0: 2}, 10.0),
    ],
)
def test_a_grid_grows_by_its_own_factor_beyond_the_edge_where_the_best_is(means, value):
    assert beyond_the_edge(means) == value


def test_values_that_differ_in_the_eighth_digit_have_directories_of_their_own(tmp_path):
    sweep = read_sweep({"sweep": {"lr": [0.1, 0.10000001]}}, "grid", str(tmp_path))
    one, other = sweep.points()
    assert [sweep.name(one), sweep.name(other)] == ["lr0.1", "lr0.10000001"]
    before = sweep.folder / "lr0.1"  # what both were called before
    before.mkdir(parents=True)
    (before / "config.yaml").write_text("lr: 0.1")
    assert [sweep.name(one), sweep.name(other)] == ["lr0.1", "lr0.10000001"]
    (before / "config.yaml").write_text("lr: 0.10000001")
    assert sweep.name(other) == "lr0.1"
