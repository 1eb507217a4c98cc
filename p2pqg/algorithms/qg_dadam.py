"""QG-DAdam, quasi-global Adam: Algorithm 2 of Lin et al., ICML 2021, arXiv:2102.04761.

Both moments follow the direction in which the mixed model really went, scaled to length 1; the
gradient enters the step, then leaves again. `paper` is written from secondary sources
(reconstruction); the others are the three files that the authors released:

    variant       g in the first moment            kept as m       corrected    d
    paper         (1 - beta1) g                    direction       no           d / |d|
    official      g                                direction       for bias     d / (|d| + 1e-8)
    official-v1   (1 - beta1) g / (|g| + 1e-8)     direction       for bias     d / (|d| + 1e-8)
    official-v2   (1 - beta1) g                    Adam's own m    for bias     d / (|d| + 1e-8)

v1 scales g filter by filter: of a convolution by output, of a matrix by column, of anything else as
a whole; weight decay is inside, where that code adds it later. `official-v2` is what the authors'
name `decentralized_qg_adam` runs today. With d of length 1, v is about 1 / params whatever the
gradient's scale: tune lr apart from Adam's. Several local steps (ours) leave m and v alone; only
Adam's own m of v2 goes on.

    half = x - lr m' / (sqrt(v') + eps)        m', v': as below, of the gradient g instead of d
    x_new = W half,   d = (x - x_new) / |x - x_new|
    m <- beta1 m + (1 - beta1) d,   v <- beta2 v + (1 - beta2) d^2

    x    [clients, params]  model                       lr            step size of this round
    m v  [clients, params]  moments of the direction    beta1, beta2  their memory
    d    [clients, params]  step the network took       eps           keeps the division finite
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from p2pqg.algorithms import adam
from p2pqg.algorithms.adam import State
from p2pqg.algorithms.effects import Grad, Parameter, Round, algorithm, gossip
from p2pqg.base.lazy import torch

TINY = 1e-8
"""Added to lengths by the released code."""


@dataclass(frozen=True, kw_only=True)
class Params(adam.LocalParams):
    variant: Literal["paper", "official", "official-v1", "official-v2"] = "paper"
    """Which of the table's rows."""


def fixed(p: Params) -> tuple[str, ...]:
    """Also how many steps a round has, from which those of Adam's own moment are counted."""
    return ("variant", "local_steps") if p.variant == "official-v2" else ("variant",)


@algorithm(
    "qg-dadam",
    params=Params,
    start=adam.start,
    source="Lin et al., ICML 2021, Algorithm 2 (reconstruction), and its code",
    reconstruction=True,
    shapes=lambda p: p.variant == "official-v1",
    fixed=fixed,
)
def qg_dadam(s: State, grad: Grad, p: Params, tensors: tuple[Parameter, ...] = ()) -> Round[State]:
    """Quasi-global Adam: the moments follow the direction of the mixed model."""
    if p.variant != "paper":
        return (yield from _released(s, grad, p, tensors))
    half = s.x
    for _ in range(p.local_steps):
        g = grad(half)
        m = p.beta1 * s.m + (1 - p.beta1) * g
        v = p.beta2 * s.v + (1 - p.beta2) * g * g
        half = half - p.lr * m / (v.sqrt() + p.eps)
    x = yield gossip(half)
    d = s.x - x
    length = _length(d)
    d = d / length.where(length > 0, 1)  # where nothing moved there is no direction: 0
    m = p.beta1 * s.m + (1 - p.beta1) * d
    v = p.beta2 * s.v + (1 - p.beta2) * d * d
    return State(x=x, m=m, v=v, t=s.t + 1)


def _released(s: State, grad: Grad, p: Params, tensors: tuple[Parameter, ...]) -> Round[State]:
    """QG-DAdam as the three files of the authors have it, see the table."""
    adams_own = p.variant == "official-v2"
    weight = 1 if p.variant == "official" else 1 - p.beta1
    half, m, t = s.x, s.m, s.t + 1
    for k in range(p.local_steps):
        g = grad(half)
        if p.variant == "official-v1":
            g = torch.cat([_by_filter(tensor.of(g)) for tensor in tensors], 1)
        m = p.beta1 * (m if adams_own else s.m) + weight * g
        v = p.beta2 * s.v + (1 - p.beta2) * g * g
        seen = s.t * p.local_steps + k + 1 if adams_own else t
        m_hat = m / adam.correction(p.beta1, seen, m)
        v_hat = v / adam.correction(p.beta2, t, v)
        half = half - p.lr * m_hat / (v_hat.sqrt() + p.eps)
    x = yield gossip(half)
    d = s.x - x
    d = d / (_length(d) + TINY)
    if not adams_own:
        m = p.beta1 * s.m + (1 - p.beta1) * d
    v = p.beta2 * s.v + (1 - p.beta2) * d * d
    return State(x=x, m=m, v=v, t=t)


def _length(x: torch.Tensor) -> torch.Tensor:
    """[clients, 1]: L2 norm over each client's whole model."""
    return x.norm(dim=1, keepdim=True)


def _by_filter(g: torch.Tensor) -> torch.Tensor:
    """[clients, *shape] -> [clients, size]: scaled to length 1, filter by filter."""
    g = g if g.dim() > 1 else g[:, None]
    dims = tuple(range(2, g.dim())) if g.dim() > 3 else (1,)  # a vector's length, a column's
    return (g / (torch.linalg.vector_norm(g, dim=dims, keepdim=True) + TINY)).flatten(1)
