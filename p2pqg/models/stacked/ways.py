"""Ways to compute gradients that can be captured, and their names."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from p2pqg.models.stacked.batched import Batched
from p2pqg.models.stacked.lanes import STREAMS
from p2pqg.models.stacked.loop import Loop
from p2pqg.models.stacked.stacked import Stacked
from p2pqg.models.stacked.vmap import Vmap

EAGER = "eager"
CAPTURED = "captured "


class Way(NamedTuple):
    """See `Stacked.run_by`."""

    strategy: str
    channels_last: bool | None = None
    lanes: int = 0

    def run(self, stacked: Stacked) -> Batched | Loop | Vmap:
        """The strategy."""
        return stacked.run_by(*self)


WAYS = {
    "batched": Way("batched"),
    "loop": Way("loop", True, STREAMS),
    "loop-nchw": Way("loop", False, STREAMS),
    "vmap": Way("vmap"),
    "vmap-nhwc": Way("vmap", True),
}
"""A loop has a stream per client; nchw, nhwc: the memory order of images, where it is not the
usual one of the strategy."""


def ways_for(stacked: Stacked, inputs: Tensor, vectorised: bool) -> tuple[str, ...]:
    """Ways that a network can be tried in.

    Args:
        stacked: the network.
        inputs: [k, batch, ...].
        vectorised: vmap can run it.
    """
    if stacked.strategy == "batched":
        return ("batched",)
    images = inputs.dim() == 5
    loops = ("loop", "loop-nchw") if images else ("loop",)
    if not vectorised:
        return loops
    return (*loops, "vmap", "vmap-nhwc") if images else (*loops, "vmap")


def name_of(way: str, part: int = 0) -> str:
    """What a captured way is called in a checkpoint and on the screen.

    >>> name_of("loop"), name_of("vmap", 8)
    ('captured loop', 'captured vmap/8')
    """
    return CAPTURED + way + (f"/{part}" if part else "")


def named(name: str) -> tuple[str, int] | None:
    """A way and its part, of such a name; None: it is no captured way, or one of another version.

    >>> named("captured vmap/8"), named("captured loop"), named("eager")
    (('vmap', 8), ('loop', 0), None)
    """
    way, _, part = name.removeprefix(CAPTURED).partition("/")
    if not name.startswith(CAPTURED) or way not in WAYS or not (part or "0").isdigit():
        return None
    return way, int(part or 0)
