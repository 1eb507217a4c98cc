"""What a rule makes of the inboxes of one block's clients, all at once (`algorithms.gossip_rules`).

`inbox_groups.py` says which are looked at together, `weighing.py` and `trimming.py` apply the rules
that weigh and trim; functions of a user's own are called here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.algorithms.gossip_rules import GossipRule
from p2pqg.base.draws import Watch, draws_from
from p2pqg.base.errors import AlgorithmError
from p2pqg.base.uploading import uploaded
from p2pqg.engine.call import LOOKS, blame, guarded
from p2pqg.engine.inbox_groups import CACHED, at_once, by_size, group_of
from p2pqg.engine.mixer import Arrivals
from p2pqg.engine.trimming import Trimming
from p2pqg.engine.weighing import Weighing

CALLED_ON = 32 * CACHED
"""Bytes of messages that a user's function is given in one call, on a CPU."""

_asked_twice = weakref.WeakValueDictionary[int, Callable[..., Any]]()
"""By their id, functions of the user's that have been asked twice for the same inbox: where W
changes, there is another mixer in each round."""


class RuleMixer:
    """Applies one rule to one block's inboxes."""

    def __init__(self, arrivals: Arrivals, rule: GossipRule, like: Tensor) -> None:
        self.rule = rule
        self.own: Tensor | slice = slice(0, arrivals.num_clients)  # a view costs nothing
        if not np.array_equal(arrivals.own, np.arange(arrivals.num_clients)):
            self.own = uploaded(torch.from_numpy(arrivals.own), like.device)
        self.groups = [group_of(arrivals, some, like) for some in by_size(arrivals, rule.kind)]
        self._weighing: Weighing | None = None
        self._trimming: Trimming | None = None
        if rule.kind == "weights":
            self._weighing = Weighing(arrivals, rule, self.groups, self.own, like)
        elif rule.kind == "trimmed":
            self._trimming = Trimming(rule, self.groups, self.own)
        self._looped = False
        self._looks = LOOKS

    def __call__(self, columns: Tensor, over: float) -> Tensor:
        """What the clients come to: [columns, ...] -> [own clients, ...].

        Args:
            columns: own rows, those that came in, and lies, as of `Arrivals`.
            over: share of the run that is over.
        """
        flat = columns.reshape(len(columns), -1)
        if self._weighing:
            mixed = self._weighing(flat, over)
        elif self._trimming:
            mixed = self._trimming(flat)
        else:
            mixed = self._by_function(flat)
        return mixed.reshape(-1, *columns.shape[1:])

    def _by_function(self, columns: Tensor) -> Tensor:
        mixed = columns[self.own].clone()
        for group in self.groups:
            per_client = group.columns.shape[1] * columns.shape[1] * columns.element_size()
            for part in group.parts(max(CALLED_ON, at_once(columns)) // max(1, per_client)):
                own, inbox = columns[part.own], columns[part.columns]  # copies, for it to write
                watch = Watch() if self._looks else None
                with watch or nullcontext():
                    found = self._applied(own, inbox, part.weights.clone())
                self._looks = max(0, self._looks - 1)
                # Another thread may have drawn meanwhile; it does not do so each time.
                again = partial(self._applied, own, inbox, part.weights.clone())
                if watch and watch.drawn and draws_from(again):
                    raise AlgorithmError(
                        f"rule {self.rule.entry.name}: draws from {min(watch.drawn)}, which each "
                        "process has for itself; the same inbox must give the same"
                    )
                self._check(found[0] if isinstance(found, torch.Tensor) else found, own[0])
                if _is_new(self.rule.entry.build):
                    with suppress(Exception):  # it need not take what is made up
                        self._applied(
                            -columns[part.own], -columns[part.columns], part.weights.clone()
                        )
                    own, inbox = columns[part.own], columns[part.columns]
                    self._check_same(found, self._applied(own, inbox, part.weights.clone()))
                mixed[part.rows] = found.to(mixed)
        return mixed

    def _applied(self, own: Tensor, inbox: Tensor, weights: Tensor) -> Tensor:
        """The rule on all clients at once, or one by one if its function looks at values."""
        function: Callable[..., Any] = self.rule.entry.build
        if not self._looped:
            try:
                return torch.vmap(function)(own, inbox, weights)
            except Exception as error:
                if wrong := self._misunderstood(str(error)):
                    raise AlgorithmError(f"rule {self.rule.entry.name} {wrong}") from error
                if "data-dependent" not in str(error) and ".item()" not in str(error):
                    blame(error, self.rule.entry)
                    raise
                self._looped = True
        each = zip(own, inbox, weights, strict=True)
        found = [guarded(self.rule.entry, function, *one) for one in each]
        for one in found:
            self._check(one, own[0])
        return torch.stack(found)

    def _check(self, found: Any, own: Tensor) -> None:
        """AlgorithmError where it is no model of a client."""
        if not isinstance(found, torch.Tensor) or found.shape != own.shape:
            got = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise AlgorithmError(
                f"rule {self.rule.entry.name} must return [params], as many as it was given "
                f"({len(own)}), got {got}"
            )

    def _check_same(self, found: Tensor, again: Tensor) -> None:
        """Refuse a function that remembers: nothing of that is saved, forked or taken back."""
        if not torch.allclose(found, again.to(found), equal_nan=True):
            raise AlgorithmError(
                f"rule {self.rule.entry.name} gives something else when the same inbox comes "
                "again; it must depend on own, inbox and weights alone: what a client carries from "
                "round to round is in the State of an algorithm"
            )

    def _misunderstood(self, said: str) -> str:
        """What is wrong with the function, where torch says it in words of its own; else ""."""
        if "must only return Tensors" in said:
            return "must return [params], a tensor; it returns something else, or nothing"
        if "data pointer" in said or "doesn't have storage" in said:
            return "is called for all clients at once; compute with torch, without .numpy()"
        if "randomness" in said:
            return "draws random numbers; the same inbox must give the same"
        return ""


def _is_new(function: Callable[..., Any]) -> bool:
    """Whether it has yet to be asked twice; of an object that cannot be remembered always."""
    if _asked_twice.get(id(function)) is function:
        return False
    with suppress(TypeError):  # with slots, and none for weak references
        _asked_twice[id(function)] = function
    return True
