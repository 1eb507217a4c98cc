"""A data class from a mapping: every problem is told once, and none that nobody made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from p2pqg.base.config import read
from p2pqg.base.ranges import broken, broken_rules, shown


def test_a_rule_on_several_keys_is_silent_where_one_of_them_was_refused():
    """It spoke of a default that nobody gave, if the line named that before "got"."""

    @dataclass(frozen=True)
    class Params:
        width: int = 64
        heads: int = 4

        def problems(self):
            if self.width % self.heads:
                told = f"model.width must be a multiple of heads ({self.heads}), got {self.width}"
                yield broken(told, "width", "heads")
            if self.width > 100:
                yield f"model.width must be <= 100, as got of heads by hand, got {self.width}"

    assert read(Params, {"width": 10}, "model.")[1] == [
        "model.width must be a multiple of heads (4), got 10"
    ]
    wrong = {"width": 102, "heads": "three"}
    assert read(Params, wrong, "model.")[1] == [
        "model.heads must be an integer, got 'three'",
        "model.width must be <= 100, as got of heads by hand, got 102",
    ]


@dataclass(frozen=True)
class Ranged:
    beta: Annotated[float, "[0, 1)"] = 0.9
    lr: Annotated[float | None, "> 0"] = None
    tau: Annotated[int, "(a word on it)", ">= 1"] = 1
    form: Literal["cta", "atc"] = "cta"


@dataclass(frozen=True)
class Narrower(Ranged):
    beta: float = 0.5
    tau: Annotated[int, "[2, 3]"] = 2

    def problems(self):
        if self.form == "atc":
            yield "algorithm.form must be cta, got atc"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"beta": 0, "lr": 1e-9, "tau": 1}, []),
        ({"beta": 1}, ["algorithm.beta must be in [0, 1), got 1.0"]),
        (
            {"lr": 0, "tau": 0},
            ["algorithm.lr must be > 0, got 0.0", "algorithm.tau must be >= 1, got 0"],
        ),
        ({"lr": "inf"}, ["algorithm.lr must be > 0, got inf"]),
        ({"beta": "nan"}, ["algorithm.beta must be in [0, 1), got nan"]),
        ({"beta": "much"}, ["algorithm.beta must be a number, got 'much'"]),
        ({"beta": False}, ["algorithm.beta must be a number, got False"]),
        ({"tau": True}, ["algorithm.tau must be an integer, got True"]),
        ({"tau": np.True_}, [f"algorithm.tau must be an integer, got {np.True_!r}"]),
    ],
)
def test_a_number_out_of_the_range_at_its_field_is_refused(values, told):
    assert read(Ranged, values, "algorithm.")[1] == told


def test_ranges_are_inherited_and_come_before_a_class_s_own_rules():
    assert read(Narrower, {"beta": 1, "tau": 1, "form": "atc"}, "algorithm.")[1] == [
        "algorithm.beta must be in [0, 1), got 1.0",
        "algorithm.tau must be in [2, 3], got 1",
        "algorithm.form must be cta, got atc",
    ]


def test_a_flag_is_no_number_of_a_list_either():
    @dataclass(frozen=True)
    class Params:
        delay: int | tuple[int, int] = 0
        switches: tuple[bool, ...] = ()

    assert read(Params, {"delay": [1, 2], "switches": [True]})[0] == Params((1, 2), (True,))
    (line,) = read(Params, {"delay": [True, 2]})[1]
    assert line.startswith("delay must be an integer or a list")


def test_a_path_is_a_text():
    @dataclass(frozen=True)
    class Params:
        path: str = ""

    assert read(Params, {"path": Path("data") / "mine"}) == (Params("data/mine"), [])


def test_a_class_that_pydantic_does_not_know_is_a_type_like_others():
    class Activation:
        pass

    @dataclass(frozen=True)
    class Params:
        activation: Activation = Activation()
        width: int = 3

    mine = Activation()
    assert read(Params, {"activation": mine})[0] == Params(mine)
    (line,) = read(Params, {"activation": "relu", "width": 4})[1]
    assert line == "activation must be Activation, got 'relu'"


def test_a_range_is_for_numbers_and_a_text_beside_them_is_in_it():
    @dataclass(frozen=True)
    class Params:
        beta: Annotated[float | Literal["auto"], "[0, 1)"] = 0.9
        seed: Annotated[int, ">= 0"] = 0

    assert read(Params, {"beta": "auto", "seed": 2**64 - 1})[0] == Params("auto", 2**64 - 1)
    assert read(Params, {"seed": -1})[1] == ["seed must be >= 0, got -1"]
    assert read(Params, {"beta": 1})[1] == ["beta must be in [0, 1), got 1.0"]


def test_numbers_beyond_all_reckoning_are_refused_in_a_short_line_before_any_rule_reckons():
    @dataclass(frozen=True)
    class Params:
        rounds: Annotated[int, ">= 1"] = 1
        radius: float = 0.3
        widths: tuple[int, ...] = ()

        def problems(self):
            yield f"reckoned: {float(self.rounds) + int(self.radius)}"

    def told(**given):
        return read(Params, given)[1]

    most = "must be 9.223e+18 at most, got"
    assert told(rounds=2**63) == [f"rounds {most} 9223372036854775808"]
    assert told(rounds=10**400) == [f"rounds {most} a number of 401 digits"]
    assert told(rounds=-(10**5000)) == ["rounds must be >= 1, got a number of 5001 digits"]
    assert told(widths=[1, 2**63]) == [f"widths {most} 9223372036854775808"]
    assert (
        told(rounds="x" + "9" * 400)[0]
        == "rounds must be an integer, got 'x999999... (400 digits)'"
    )
    assert told(radius=10**5000)[0].endswith("got a number of 5001 digits")
    assert told(rounds=[10**5000])[0].endswith("got a list that cannot be written down")
    assert told(radius=-1e308) == ["radius must be 1.701e+38 at most, got -1e+308"]
    assert told(rounds=2**63 - 1, radius=3.0) == [f"reckoned: {float(2**63) + 3}"]
    for digits in (31, 400, 5000):
        assert (
            shown(10**digits - 1) == shown(-(10 ** (digits - 1))) == f"a number of {digits} digits"
        )


def test_numbers_of_numpy_and_fields_that_are_set_later_keep_to_ranges_without_a_warning():
    @dataclass
    class Params:
        beta: Annotated[Any, "[0, 1)"] = 0.5
        level: Any = 0
        later: Annotated[float, "> 0"] = field(init=False)

    def told(**given):
        return list(broken_rules(Params(**given)))

    assert told(beta=np.float16(0.5), level=np.int64(2**63 - 1)) == []
    assert told(beta=np.float16(1)) == ["beta must be in [0, 1), got 1.0"]
    most = "level must be 9.223e+18 at most, got"
    assert told(level=np.int64(-(2**63))) == [f"{most} -9223372036854775808"]
    assert told(level=np.uint64(2**63)) == [f"{most} 9223372036854775808"]
