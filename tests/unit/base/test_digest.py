"""Objects that no file can keep are told apart by their code and by what it uses."""

import functools
import subprocess
import sys
import tracemalloc
from types import ModuleType

import numpy as np
import pytest
import torch

from p2pqg.base.digest import bare, comparable, given_name, is_known


def closing_over(value):
    return lambda outputs, targets: value


class Weighing:
    def __init__(self, weight):
        self.weight = weight

    def __call__(self, outputs, targets):
        return self.weight


def test_the_same_code_over_the_same_values_has_the_same_name():
    for make in (lambda: closing_over(0.5), lambda: closing_over([np.arange(3), {"a": (1, 2)}])):
        assert given_name(make()) == given_name(make())
    assert given_name(Weighing(0.5)) == given_name(Weighing(0.5))
    assert given_name(closing_over(0.5)).startswith("given:<lambda>#")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda o, t: o, lambda o, t: t),
        (closing_over(1), closing_over(2)),
        (closing_over(np.arange(3)), closing_over(np.arange(4))),
        (closing_over([1, {"a": 2}]), closing_over([1, {"a": 3}])),
        (closing_over(closing_over(1)), closing_over(closing_over(2))),
        (Weighing(1), Weighing(2)),
        (Weighing(1).__call__, Weighing(2).__call__),
        (lambda o, t, by=1: by, lambda o, t, by=2: by),
    ],
)
def test_other_code_or_other_values_make_another_name(one, other):
    assert given_name(one) != given_name(other)
    assert is_known(given_name(one))


def test_what_a_function_calls_is_of_its_code(monkeypatch):
    monkeypatch.setitem(globals(), "helper", lambda: 1)
    one = lambda o: [helper() for _ in o]  # noqa: E731, F821
    before = given_name(one)
    monkeypatch.setitem(globals(), "helper", lambda: 2)
    assert given_name(one) != before


def test_what_cannot_be_looked_into_leaves_it_open(tmp_path):
    with (tmp_path / "a").open("w") as file:
        name = given_name(closing_over(file))
    assert not is_known(name)
    assert "+-py" in name


def test_what_it_counts_itself_does_not_make_another_of_it():
    calls, seen = 0, []

    def counting():
        nonlocal calls
        calls += 1

    def noting():
        seen.append(1)

    before = given_name(counting), given_name(noting, values=False)
    counting()
    noting()
    assert (given_name(counting), given_name(noting, values=False)) == before
    assert not any(map(is_known, before))


def test_another_process_with_other_hashes_makes_the_same_name():
    code = (
        "from p2pqg.base.digest import given_name\n"
        "def closing(value): return lambda x: value or x in {'a', 'b', 'c'}\n"
        "print(given_name(closing({'x', 'y', 'z'})))"
    )
    names = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(names) == 1


def test_names_of_an_old_record_or_another_python_are_compared_without_letters():
    new = "given:f#00000000-py310"
    assert comparable(["given:f", new]) == ["given:f", "given:f"]
    assert comparable([new, "given:f#11111111-py312"]) == ["given:f", "given:f"]
    assert comparable([new, "given:f#11111111-py310"]) == [new, "given:f#11111111-py310"]
    told_apart = ["given:f", new, "given:f#11111111-py310"]
    assert comparable(told_apart) == told_apart
    assert bare(f"['{new}', 'x']") == "['given:f', 'x']"
    assert not is_known("given:f")


def test_a_cache_hides_no_code():
    one, other = functools.cache(lambda o, t: 1), functools.cache(lambda o, t: 2)
    assert given_name(one) != given_name(other)
    assert given_name(closing_over(one)) != given_name(closing_over(other))
    assert is_known(given_name(one))
    assert is_known(given_name(closing_over(torch.float32)))


def test_what_is_used_of_a_module_of_ones_own_is_looked_into(monkeypatch):
    package, inner = ModuleType("mine"), ModuleType("mine.losses")
    for module in (package, inner):
        module.__file__ = f"{module.__name__}.py"
    package.losses, inner.above = inner, package  # they know each other
    package.unused = object()
    exec("weight = 1\ndef loss(o, t): return weight", vars(inner))
    monkeypatch.setitem(globals(), "mine", package)
    one = lambda o, t: [mine.losses.loss(o, t), mine.losses.above]  # noqa: E731, F821
    before = given_name(one)
    assert is_known(before)
    inner.weight = 2
    after = given_name(one)
    exec("def loss(o, t): return weight + 1", vars(inner))
    assert len({before, after, given_name(one)}) == 3
    assert not is_known(given_name(closing_over([package])))


def test_a_number_of_any_length_is_one():
    long = 10**5000
    assert given_name(closing_over(long)) != given_name(closing_over(long + 1))


@pytest.mark.parametrize("make", [np.ones, torch.ones, bytes])
def test_large_values_are_not_copied(make):
    large = make(8_000_000)
    given_name(closing_over(make(1)))  # what is imported for it
    tracemalloc.start()
    try:
        assert is_known(given_name(closing_over(large)))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "values",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.array(1.5),
        np.array([], "datetime64[s]"),
        np.array(["a", "bc"]),
        np.array([(1, 2.5)], "i4,f8"),
        torch.arange(6).reshape(2, 3).T,
        torch.tensor(True),
        torch.zeros(2, dtype=torch.bfloat16),
        torch.zeros(2, dtype=torch.complex64),
    ],
)
def test_arrays_of_all_kinds_are_looked_into(values):
    assert is_known(given_name(closing_over(values)))
