"""Every recipe under runs/ is what it says, at every tier."""

import pytest

from p2pqg.algorithms import ALGORITHMS
from p2pqg.base.config import load_yaml
from p2pqg.base.shipped import shipped_folder
from p2pqg.data import DATASETS, PARTITIONS
from p2pqg.models import MODELS
from p2pqg.paper.published import published
from p2pqg.recipe.settings import read_config
from p2pqg.recipe.tiers import at_tier
from p2pqg.running.grid import read_sweep
from p2pqg.topology import build as build_topology

RECIPES = sorted(shipped_folder("runs").rglob("*.yaml"))
TIERS = [(path, tier) for path in RECIPES for tier in load_yaml(path).get("tiers", [None])]
NAMES = [f"{path.stem}-{tier}" for path, tier in TIERS]
REGISTRIES = {
    "algorithm": ALGORITHMS,
    "dataset": DATASETS,
    "model": MODELS,
    "partition": PARTITIONS,
}


def settings_of(values, name):
    """The settings of every run of a recipe at a tier, which are read."""
    if "sweep" in values:
        sweep = read_sweep(values, name)  # reads each
        return [sweep.settings(point) for point in sweep.points()]
    settings = {key: value for key, value in values.items() if key != "source"}
    read_config(settings, where=name)
    return [settings]


@pytest.mark.parametrize(("path", "tier"), TIERS, ids=NAMES)
def test_every_tier_can_be_read_and_has_parts_that_exist(path, tier):
    values = at_tier(load_yaml(path), tier, path.stem)
    if "paper" in values:
        assert not published(values["paper"]).rows.empty
    if "figure" in values and "sweep" not in values:
        return  # figures check their own keys
    parts, networks = set(), set()
    for settings in settings_of(values, path.stem):
        networks.add((settings.get("topology", "ring16"), settings.get("clients")))
        for key in REGISTRIES.keys() & settings.keys():
            part = settings[key]
            parts.add((key, part if isinstance(part, str) else part.get("name")))
    for key, name in parts:
        assert name is None or name in REGISTRIES[key]
    for name, clients in networks:
        assert build_topology(name, clients=clients).num_clients > 1


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_tiers_are_small_middle_and_full(path):
    values = load_yaml(path)
    tiers = list(values.get("tiers", []))
    full = ["paper"] if "source" in values else []  # a question of our own has no paper's scale
    assert tiers == [] or tiers[:3] in (["smoke", "cpu", *full], ["smoke", "cpu", "paper"])
    assert all("takes" in changes for changes in load_yaml(path).get("tiers", {}).values())


def test_all_tables_of_the_paper_have_a_recipe_that_names_them():
    for number in range(1, 7):
        recipe = load_yaml(shipped_folder("runs") / f"table{number}.yaml")
        assert recipe["paper"] == f"table{number}"


def test_results_that_are_kept_were_made_by_the_recipe_and_its_rules():
    kept = [path for path in RECIPES if path.parent.parent.name == "results"]
    judged = 0
    for path in kept:
        made = load_yaml(path)
        if "claim" in made:
            name = path.parent.name
            recipes = [
                p
                for p in shipped_folder("runs").glob("*.yaml")
                if f"{name}-".startswith(f"{p.stem}-")
            ]
            recipe = max(recipes, key=lambda path: len(path.stem))  # table5-dmsgd, not table5
            tier = name.removeprefix(recipe.stem).removeprefix("-") or None
            values = at_tier(load_yaml(recipe), tier, recipe.stem)
            for key in ("claim", "sweep", "validation", "tune"):
                assert made.get(key) == values.get(key), f"{name}: {key}"
            judged += 1
    assert judged >= 1
