"""The laws of `tests/stress/laws.py` on two draws, always the same ones; and how it tells."""

import sys

import laws
import pytest

COURSE, METHOD = 3, 15
"""Seeds of a recipe and of a method that are quick."""


@pytest.mark.parametrize("seed", [COURSE, METHOD])
def test_what_is_drawn_keeps_the_laws(seed):
    known = [*laws.COURSE, *laws.METHOD]
    given = laws.drawn(seed, known, {})
    assert ("graph" in given) == (seed == METHOD)
    assert laws.attempt(given, seed, known) == "ran"


def test_a_law_that_does_not_hold_is_told_with_the_smallest_recipe(monkeypatch, capsys):
    def attempt(given, seed, known):
        if "stop" in given and 1 in given["scenario"]:
            raise laws.Broken(f"{seed} of 3.5e-4 rounds")

    given = {"topology": "ring4", "stop": {"patience": 1}, "seed": 2, "scenario": [0, 1, 2]}
    monkeypatch.setattr(laws, "attempt", attempt)
    monkeypatch.setattr(laws, "drawn", lambda *rest: given)
    assert laws.storm(range(2), []) == {"Broken: # of # rounds": 2}
    least = {"topology": "ring4", "stop": {}, "scenario": [1]}
    assert f"seed 0: Broken: 0 of 3.5e-4 rounds\n  {least}\n" in capsys.readouterr().out


def test_the_tool_ends_with_1_where_a_law_is_broken(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["laws.py", "--draws", "0"])
    assert laws.main() == 0
    monkeypatch.setattr(laws, "storm", lambda *rest: {"broken": 1})
    assert laws.main() == 1
