"""Privacy of the samples: gradients clipped sample by sample, and noise on their sum (DP-SGD).

Abadi et al., CCS 2016, arXiv:1607.00133. Of a batch of B samples a client's gradient is

    g = (sum_s g_s min(1, clip / |g_s|) + sigma clip z) / B,      z standard normal.

Weight decay, which knows no sample, is added afterwards. All that an algorithm sends is made of
such gradients, so the guarantee is each client's own, against everybody who sees all that it sends.
What it costs is epsilon, at a delta, for adding or removing one sample. Two are told:

    epsilon             as if every batch took each sample with probability B / shard (Poisson), the
                        usual convention; by the Renyi accountant of `dp-accounting`. Orders
                        that are no whole numbers it bounds from above: up to 20 that is within
                        1.3 % of what Opacus finds, and more beyond, where orders below 2 decide
    epsilon_unsampled   holds for the batches that are drawn, of shuffled epochs: nobody relies on
                        chance. Steps of an epoch see different samples; where batches run on over
                        the border of two epochs one may come twice in a batch
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Annotated

import numpy as np

from p2pqg.base.errors import ConfigError
from p2pqg.base.ranges import broken

ORDERS = (*(k / 10 for k in range(11, 110)), *range(11, 65), 80, 96, 128, 192, 256, 512, 1024)
"""Orders of the Renyi divergence: all that `dp-accounting` looks at, and some more. Where much is
told, an order below 2 says best how much."""

LEAST_NOISE = 1e-100
"""Epsilon is some 1 / sigma^2: that of less noise is beyond all numbers."""

EPSILONS = ("epsilon", "epsilon_unsampled")
"""Columns."""


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """The keys of `privacy:` in a recipe."""

    clip: float | None = None
    """Largest norm of one sample's gradient, > 0; left out, or inf: not clipped."""
    sigma: Annotated[float, ">= 0"] = 0.0
    """Standard deviation of the noise on the sum of a batch, in clips, >= 0."""
    delta: Annotated[float, "(0, 1)"] = 1e-5
    """The delta for which epsilon is computed, in (0, 1)."""

    @property
    def limit(self) -> float:
        """The largest length; inf: gradients are not clipped."""
        return math.inf if self.clip is None else self.clip

    def problems(self) -> Iterator[str]:
        if not self.limit > 0:
            yield f"privacy.clip must be > 0, got {self.clip}"
        if 0 < self.sigma < LEAST_NOISE:
            yield (
                f"privacy.sigma must be 0, or >= {LEAST_NOISE:g}, got {self.sigma}: so little "
                "noise hides nothing; 0.5 to 2 is usual"
            )
        if self.sigma and self.limit == math.inf:
            yield broken(
                f"privacy.sigma {self.sigma} needs a clip: noise is measured in it, and hides no "
                "gradient of any length; set privacy.clip, e.g. 1.0",
                "sigma",
                "clip",
            )

    def check_accountant(self) -> None:
        """Whether it can be told what the noise is worth.

        Raises:
            ConfigError: the accountant is not installed.
        """
        if self.sigma and find_spec("dp_accounting") is None:
            raise ConfigError(
                "privacy.sigma needs the package dp-accounting, which accounts for epsilon; "
                "pip install 'p2pqg[privacy]'"
            )

    def check_shards(self, sizes: np.ndarray, batch_size: int) -> None:
        """Whether no batch has a sample more often than the accounts reckon with.

        Raises:
            ConfigError: a shard is smaller than a batch.
        """
        if self.limit < math.inf and sizes.min() < batch_size:
            client = int(sizes.argmin())
            raise ConfigError(
                f"privacy needs shards of at least a batch: client {client} has {sizes[client]} "
                f"samples, batch_size is {batch_size}; make it smaller, or use fewer clients"
            )


@dataclass(frozen=True)
class Accounts:
    """What the samples of every client have been told of.

    Attributes:
        sizes: [clients], of their shards.
    """

    privacy: Privacy
    batch_size: int
    sizes: np.ndarray

    def epsilons(self, steps: np.ndarray, gradients: int = 1) -> dict[str, np.ndarray]:
        """[clients] each, by name.

        Args:
            steps: [clients], batches that each has drawn.
            gradients: that were computed on each of them, at most.
        """
        sigma = self.privacy.sigma / math.sqrt(max(1, gradients))  # as if they were one
        spent = {name: np.zeros(len(steps)) for name in EPSILONS}
        for client, (size, made) in enumerate(zip(self.sizes.tolist(), steps, strict=True)):
            if made:
                rest = sigma, int(made), self.privacy.delta
                spent["epsilon"][client] = _sampled(self.batch_size / size, *rest)
                spent["epsilon_unsampled"][client] = _shuffled(size, self.batch_size, *rest)
        return spent


@lru_cache(maxsize=4096)
def _sampled(share: float, sigma: float, steps: int, delta: float) -> float:
    return _epsilon(steps * _renyi(share, sigma), delta)


@lru_cache(maxsize=4096)
def _shuffled(size: int, batch_size: int, sigma: float, steps: int, delta: float) -> float:
    """Every pass over the data is a Gaussian mechanism, for a sample is in one of its batches.

    Where it may come twice in one, the sum moves by two clips, which costs as much as four batches.
    """
    passes = -(-steps * batch_size // size)
    times = passes if size % batch_size == 0 else passes + 2 * (passes // 2)
    return _epsilon(times * np.array(ORDERS) / (2 * sigma**2), delta)


@lru_cache(maxsize=2**14)  # one for each size of a shard, each time anybody asks
def _renyi(share: float, sigma: float) -> np.ndarray:
    """Divergence of one step at each of the orders; of several it is the sum."""
    import dp_accounting as dp
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(ORDERS)
    log = logging.getLogger("absl")  # a line for each order whose series does not end soon
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        accountant.compose(dp.PoissonSampledDpEvent(share, dp.GaussianDpEvent(sigma)))
    finally:
        log.setLevel(level)
    # Whoever asks for epsilon after every number of steps would compute it anew each time.
    return np.asarray(accountant._rdp)


def _epsilon(divergences: np.ndarray, delta: float) -> float:
    from dp_accounting.rdp import compute_epsilon

    return float(compute_epsilon(ORDERS, divergences, delta)[0])
