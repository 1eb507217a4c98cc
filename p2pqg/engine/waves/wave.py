"""A wave: one stacked call of a block, as it is handed to the algorithm.

In a wave every row has at most one part. Positions count within it: first the block's own clients
whose step it is, in order, then those who are met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from p2pqg.engine.routes import Leg

Ints = np.ndarray


class Stage(NamedTuple):
    """Waves whose gradients are computed together: no client of the block makes two steps in them.

    Attributes:
        rows: int64 [steps], whose, wave by wave; at: the same as an array.
        numbers: int64 [steps], which of their steps.
    """

    rows: Tensor
    at: Ints
    numbers: Ints


@dataclass
class Wave:
    """One stacked call of a block. Rows and positions count from the block's first client.

    Attributes:
        leg: what crosses borders.
        rows: int64 [steps], whose step it is; at: the same as an array.
        clients: the same in the whole network; numbers: which of their steps; rounds: in which.
        elapsed: [steps, ...], of each one's time since its last event, if the algorithm asks.
        stage: to which it belongs; part: where its steps are in that.
        parcels: positions of the rows that other blocks need.
    """

    leg: Leg
    rows: Tensor
    at: Ints
    clients: Ints
    numbers: Ints
    rounds: Ints
    elapsed: Tensor
    stage: Stage
    part: slice
    parcels: list[Tensor]


@dataclass
class MeetingWave(Wave):
    """A wave of meetings.

    Attributes:
        met: int64, rows of clients that are met; met_elapsed: as elapsed, of these.
        other: int64 [steps + met], the position of whom each averages with; its own: with nobody.
            Rows that come from other blocks have the positions after those. Where no block but
            this one is, it is empty.
        joint: pairs that both make a step. Where nothing crosses a border, the steps are those of
            the ones who are with the `met`, in their order; then the ones of `joint` pairs, then
            the others; and those who are alone.
    """

    met: Tensor
    met_elapsed: Tensor
    other: Tensor
    joint: int


@dataclass
class PostWave(Wave):
    """A wave of messages.

    Attributes:
        kept: [steps, 1], see `push`.
        write: int64, positions whose messages are read in this block; to: their slots.
        incoming: int64, slots of the messages that come from other blocks.
        offsets: int64 [steps], the first message that each step reads.
        reads: int64 [reads], the slots of the messages that are read; weights: as of `Inbox`.
        ages: float64 [2, reads], seconds and steps, as of `Inbox`.
        weight: [steps, 1], sum of the weights.
    """

    kept: Tensor
    write: Tensor
    to: Tensor
    incoming: Tensor
    offsets: Tensor
    reads: Tensor
    weights: Tensor
    ages: np.ndarray
    weight: Tensor
