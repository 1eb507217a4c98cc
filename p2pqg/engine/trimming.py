"""Rules that trim: means of the values in the middle, entry by entry, of whole rows.

In NumPy and torch by `middle.py`; on a CPU with Numba, faster, by `compiled.py`.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from p2pqg.algorithms.gossip_rules import GossipRule
from p2pqg.engine.distances import LONG
from p2pqg.engine.inbox_groups import Group, at_once
from p2pqg.engine.middle import (
    COMPARED_UP_TO,
    mean_of_the_middle,
    means_of_the_middle,
    plan,
)

if TYPE_CHECKING:
    from p2pqg.engine.compiled import Middles


class Trimming:
    """Applies one rule that trims to one block's inboxes."""

    def __init__(self, rule: GossipRule, groups: list[Group], own: Tensor | slice) -> None:
        self.rule, self.groups, self.own = rule, groups, own
        self._middles: Middles | None = None

    def __call__(self, columns: Tensor) -> Tensor:
        """[columns, params] -> [clients, params]."""
        heard = sum(len(group.rows) for group in self.groups)
        own = columns[self.own]
        # In order, whatever the rows are: who writes into them in one call counts on it.
        mixed = own.new_empty(own.shape) if heard == len(own) else own.contiguous().clone()
        if self._comparable(columns) and (module := compiled()):
            self._in_one_call(module, columns, mixed)
            return mixed
        if not columns.is_cpu or not columns.sum().isfinite():  # a card would have to be asked
            columns = _in_order(columns)
        whole = list[tuple[list[int], Tensor, int]]()
        for group in self.groups:
            num_values = group.columns.shape[1] + 1
            left_out = self._left_out(group)
            index = group.values.T.contiguous()  # [values, k]; what is indexed lies as this does
            if columns.shape[1] >= LONG and columns.is_cpu and num_values <= COMPARED_UP_TO:
                to = [mixed[client] for client in group.rows.tolist()]
                whole += zip(index.T.tolist(), to, [left_out] * len(to), strict=True)
                continue
            size = max(1, at_once(columns) // (num_values * max(1, columns[:1].nbytes)))
            for rows, some in zip(group.rows.split(size), index.split(size, 1), strict=True):
                mixed[rows] = mean_of_the_middle(columns[some], left_out)
        if whole:
            means_of_the_middle(list(columns), whole)
        return mixed

    def _comparable(self, columns: Tensor) -> bool:
        most = max((group.columns.shape[1] for group in self.groups), default=0)
        known = columns.dtype in (torch.float32, torch.float64)
        return known and columns.is_cpu and 0 < most < COMPARED_UP_TO

    def _in_one_call(self, module: ModuleType, columns: Tensor, mixed: Tensor) -> None:
        if self._middles is None:
            values = [(g.values.numpy(), self._left_out(g)) for g in self.groups]
            plans = [plan(some.shape[1], left_out, apart=True) for some, left_out in values]
            to = [group.rows.numpy() for group in self.groups]
            sets = zip(to, (some for some, _ in values), plans, strict=True)
            self._middles = module.Middles(list(sets))
        out, threads = mixed.numpy(), torch.get_num_threads()
        rows = columns.detach().contiguous()
        if not self._middles(rows.numpy(), out, threads):
            self._middles(_in_order(rows).numpy(), out, threads)

    def _left_out(self, group: Group) -> int:
        return self.rule.entry.build(group.columns.shape[1] + 1, self.rule.params)


def _in_order(columns: Tensor) -> Tensor:
    """With infinity for what is not a number: that has its place among others."""
    inf = float("inf")
    return columns.nan_to_num(nan=inf, posinf=inf, neginf=-inf)


@lru_cache
def compiled() -> ModuleType | None:
    """`engine.compiled`, where Numba is installed, and goes with the NumPy that is."""
    if find_spec("numba") is None:
        return None
    try:
        import numba

        from p2pqg.engine import compiled
    except ImportError:
        return None
    return None if numba.config.DISABLE_JIT else compiled
