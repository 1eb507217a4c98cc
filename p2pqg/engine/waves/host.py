"""A host of clients that do not wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pqg.engine.host import Host
from p2pqg.engine.rule import Rule
from p2pqg.engine.spec import HostSpec
from p2pqg.engine.waves.block import WaveBlock
from p2pqg.engine.waves.wave import Wave


class WaveHost(Host):
    """A block of clients that learn and do not wait."""

    block: WaveBlock

    def _make_block(self, rule: Rule, routing: Any, index: int, start: Tensor) -> WaveBlock:
        self._taken: list[tuple[np.ndarray, np.ndarray, Tensor]] = []
        self.learner.own_pace = True
        return WaveBlock(
            rule, routing, index, start, self.learner.gradient_of, self.clock, self._on_step
        )

    def _on_step(self, wave: Wave, more: dict[str, Tensor]) -> None:
        """Gradients are applied: now their losses and statistics count."""
        self._taken.append((wave.rounds, wave.at, more["loss"]))
        if "buffers" in more:
            self.learner.buffers = self.learner.buffers.index_copy(0, wave.rows, more["buffers"])

    def timeline(self) -> Mapping[str, np.ndarray]:
        """Where all clients stand."""
        return self.block.timeline.data()

    @property
    def _honest(self) -> np.ndarray | None:
        return None  # nobody lies to clients that do not wait, see `Rule.check_attacks`

    @property
    def _present(self) -> np.ndarray | None:
        return self.block.routing.present()

    def _losses(self) -> np.ndarray:
        """[rounds, k]: the mean over each one's steps in a round; 0 where it made none."""
        shape = self.block.round - self._reported, len(self.clients)
        if not self._taken:
            return np.zeros(shape)
        rounds, rows = (np.concatenate(parts) for parts in list(zip(*self._taken, strict=True))[:2])
        losses = torch.cat([loss for *_, loss in self._taken]).double().cpu().numpy()
        self._taken.clear()
        at = (rounds - self._reported) * shape[1] + rows
        sums = np.bincount(at, losses, shape[0] * shape[1])
        counts = np.bincount(at, minlength=shape[0] * shape[1])
        return (sums / np.maximum(counts, 1)).reshape(shape)


def host_of(spec: HostSpec, test: tuple[np.ndarray, np.ndarray]) -> Host:
    """The host that an algorithm needs."""
    return (Host if spec.rule.waits else WaveHost)(spec, test)
