"""An editor and a notebook know every key of a recipe, its type and its sentence."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args, get_type_hints

import pytest
from typing_extensions import is_typeddict

import p2pqg
from p2pqg.base.config import sentences
from p2pqg.recipe.keys import RESTART
from p2pqg.recipe.keywords import Restart, Resumed, Settings
from p2pqg.recipe.own import TAKERS
from p2pqg.recipe.settings import NESTED, RunConfig

KEYS = [field.name for field in fields(RunConfig)]


def arguments(function):
    """Name -> what the docstring says of it."""
    block = re.search(r"\nArgs:\n(.*?)\n\n", inspect.getdoc(function), re.S)[1]
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", block, re.M)
    return {name: " ".join(text.split()) for name, text in entries}


@pytest.mark.parametrize("key", KEYS)
def test_a_key_has_one_type_for_recipes_and_for_editors(key):
    given, kept = get_type_hints(Settings)[key], get_type_hints(RunConfig)[key]
    if key in TAKERS:  # and whatever else an object may be
        assert kept in get_args(given) or set(get_args(kept)) <= set(get_args(given))
    elif key in NESTED:
        keys = next(each for each in get_args(given) if is_typeddict(each))
        assert get_type_hints(keys) == get_type_hints(NESTED[key])
        assert Mapping[str, Any] in get_args(given)
    else:
        assert given == kept


def test_editors_know_no_other_keys():
    assert set(get_type_hints(Settings)) == set(KEYS)
    assert set(get_type_hints(Restart)) == set(RESTART)
    assert set(get_type_hints(Resumed)) == {*RESTART, *TAKERS}


def test_a_notebook_is_told_what_can_go_wrong():
    told = inspect.signature(p2pqg.Simulation.set_impairments).parameters
    assert list(told) == ["self", "none", *get_type_hints(NESTED["impairments"])]
    assert told["on_loss"].default == "keep"


def test_every_key_has_a_sentence():
    assert list(sentences(RunConfig)) == KEYS
    assert sentences(RunConfig)["lr"] == "Learning rate, > 0."


def test_run_says_of_every_key_what_the_recipe_says():
    said = arguments(p2pqg.run)
    assert list(said)[-len(KEYS) :] == KEYS
    assert {key: said[key] for key in KEYS} == sentences(RunConfig)


@pytest.mark.parametrize(
    ("function", "keys"),
    [
        (p2pqg.run, KEYS),
        (p2pqg.Simulation, KEYS),
        (p2pqg.resume, RESTART),
        (p2pqg.Simulation.restore, RESTART),
    ],
)
def test_a_notebook_is_told_the_keys_and_their_defaults(function, keys):
    told = inspect.signature(function).parameters
    assert set(keys) <= set(told)
    assert not any(p.kind == p.VAR_KEYWORD for p in told.values())
    defaults = {field.name: field.default for field in fields(RunConfig)}
    for key in keys:
        expected = None if defaults[key] is MISSING else defaults[key]
        assert told[key].default == expected, key
