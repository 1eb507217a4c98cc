"""One recipe at several scales."""

import pytest

from p2pqg.base.errors import ConfigError
from p2pqg.recipe.tiers import at_tier, choice, merged, usual_tier

RECIPE = {
    "dataset": "cifar10",
    "tune": "lr",
    "sweep": {"algorithm": ["dsgd"], "seed": [1, 2, 3]},
    "tiers": {
        "smoke": {"takes": "seconds", "dataset": "digits", "tune": None, "sweep": {"seed": [1]}},
        "paper": {"epochs": 300},
    },
}


def test_a_tier_replaces_lists_merges_mappings_and_takes_keys_away():
    assert at_tier(RECIPE, "smoke", "grid") == {
        "dataset": "digits",
        "sweep": {"algorithm": ["dsgd"], "seed": [1]},
    }


def test_a_tier_leaves_the_others_as_they_are():
    at_tier(RECIPE, "smoke", "grid")
    assert at_tier(RECIPE, "paper", "grid")["sweep"] == RECIPE["sweep"]


def test_who_names_no_tier_gets_the_shortest_that_is_more_than_a_smoke_test():
    assert at_tier(RECIPE, None, "grid") == at_tier(RECIPE, "paper", "grid")
    assert usual_tier({"tiers": {"smoke": {}}}) == "smoke"
    assert usual_tier({"tiers": {"small": {}, "smoke": {}}}) == "small"
    assert usual_tier({"lr": 0.1}) is None


def test_a_tier_that_nobody_chose_is_told_with_its_length_and_the_others():
    assert choice(RECIPE, "paper") == "tier paper; or --tier smoke (seconds)"
    assert choice({"tiers": {"only": {"takes": "a day"}}}, "only") == "tier only (a day)"


def test_without_changes_nothing_changes():
    common = {key: value for key, value in RECIPE.items() if key != "tiers"}
    assert merged(common, {}) == common
    assert at_tier(common, None, "grid") == common


@pytest.mark.parametrize(
    ("recipe", "tier", "text"),
    [
        (RECIPE, "smok", "unknown tier 'smok'; did you mean smoke\\?; known: smoke, paper"),
        (RECIPE, "gpu", "unknown tier 'gpu'; known: smoke, paper"),
        ({"lr": 0.1}, "smoke", "has no tiers, got --tier smoke"),
        ({"tiers": ["smoke"]}, "smoke", "tiers must be a mapping of names to mappings"),
        ({"tiers": {1: {"lr": 0.1}}}, "1", "tiers must be a mapping of names to mappings, got .1:"),
        ({"tiers": {}}, None, "tiers must be a mapping of names to mappings"),
        ({"tiers": {"smoke": None}}, "smoke", "tiers must be a mapping of names to mappings"),
    ],
)
def test_a_tier_that_is_not_there_is_refused_with_those_that_are(recipe, tier, text):
    with pytest.raises(ConfigError, match=text):
        at_tier(recipe, tier, "grid")


def test_a_tier_in_which_nothing_is_tuned_has_no_extensions():
    tiers = {"untuned": {"tune": None}, "tuned": {}}
    recipe = {"sweep": {}, "tune": "lr", "max_extensions": 2, "tiers": tiers}
    assert at_tier(recipe, "untuned", "grid") == {"sweep": {}}
    assert at_tier(recipe, "tuned", "grid") == {"sweep": {}, "tune": "lr", "max_extensions": 2}
