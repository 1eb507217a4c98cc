"""DSGD by a user who makes mistakes: what a file says that the stress test writes meanwhile."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from p2pqg import algorithm, gossip

FLAG = Path(os.environ["P2PQG_FLAG"])


@dataclass(frozen=True, kw_only=True)
class Params:
    lr: float


class State(NamedTuple):
    x: Tensor  # [clients, params]


def start(x0):
    return State(x=x0)


@algorithm("stressed", params=Params, start=start)
def stressed(s, grad, p):
    """DSGD that does as it is told."""
    half = s.x - p.lr * grad(s.x)
    if len(half) and FLAG.exists():  # not in the driver, which has no clients
        half = half + mistake(half)
    x = yield gossip(half)
    return State(x=x)


def mistake(half):
    """What is added to the models, if anything."""
    nothing = torch.zeros_like(half)
    with suppress(FileNotFoundError):
        what = FLAG.read_text()
        if what == "raise":
            raise RuntimeError("my own mistake")
        while what == "hang" and FLAG.exists():
            time.sleep(0.1)
        if what == "nan":
            FLAG.unlink()  # the first actor that comes, and once
            nothing[0] = torch.nan
    return nothing
