"""A data class from a mapping: every problem is told once, and none that nobody made."""

from dataclasses import dataclass

from p2pqg.base.config import read
from p2pqg.base.ranges import broken


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
