"""The shortest weighted sum of gradients in which all count enough: the program of `cga`."""

from __future__ import annotations

from collections.abc import Sequence

from p2pqg.base.errors import RunError
from p2pqg.base.lazy import torch

TOLERANCE = 1e-13
"""Slopes up to that part of the gradients' lengths are rounding."""
STEPS = 10
"""For each unknown of a program, after which it has not come to an end. In exact arithmetic it
does: every step lowers what is to be smallest, so no set of free unknowns is met twice. Programs of
1 to 33 gradients, many of them multiples, sums or nearly copies of others, took 2.2 at most."""


def shortest(gradients: torch.Tensor, layers: Sequence[slice], margin: float) -> torch.Tensor:
    """Z = g_own + sum_j v_j g_j with v >= margin such that |z| is smallest, layer by layer.

    Args:
        gradients: [clients, 1 + others, params], of which the first is the own one.
        layers: their columns, each of which has a z of its own; in order.
        margin: how much each counts at least, >= 0.

    Returns:
        [clients, params].
    """
    products = torch.stack([_products(gradients[..., layer]) for layer in layers], 1)
    v = shares(products, margin).to(gradients)
    sums = [torch.einsum("cr,crp->cp", v[:, i], gradients[..., at]) for i, at in enumerate(layers)]
    return torch.cat(sums, 1)


def shares(products: torch.Tensor, margin: float) -> torch.Tensor:
    """How much each gradient counts: 1 for the own one, v >= margin for the others.

    Args:
        products: [..., 1 + others, 1 + others], float64, inner products of gradients; the first
            is the own one.
        margin: >= 0.

    Returns:
        [..., 1 + others]: what makes the weighted sum shortest.
    """
    F = products.flatten(0, -3)
    length = F.diagonal(dim1=1, dim2=2).sqrt()
    unit = torch.where(length > 0, length, 1.0)[:, 1:]
    counts = torch.ones_like(length)
    counts[:, 1:] = margin
    # z = b + sum_j u_j a_j, u >= 0, of unit vectors a: u K u / 2 - c u is to be smallest.
    K = F[:, 1:, 1:] / (unit[:, :, None] * unit[:, None])
    c = -(F[:, 1:] * counts[:, None]).sum(2) / unit
    u = _smallest(K, c, TOLERANCE * (counts * length).sum(1))
    return torch.cat([counts[:, :1], margin + u / unit], 1).view(products.shape[:-1])


def _products(rows: torch.Tensor) -> torch.Tensor:
    """Inner products of rows, [clients, rows, params] -> [clients, rows, rows], in float64."""
    rows = rows.cpu() if rows.device.type == "mps" else rows  # which has no float64
    rows = rows.double()
    return rows @ rows.mT


def _smallest(K: torch.Tensor, c: torch.Tensor, least: torch.Tensor) -> torch.Tensor:
    """The u >= 0 with the smallest u K u / 2 - c u: Lawson and Hanson 1974, batched.

    One u after the other is let go, the one with the steepest slope; those that would turn
    negative are held at 0 again. So the free ones never depend on each other, though K may be
    singular.

    Args:
        K: [programs, unknowns, unknowns], positive semidefinite, with a diagonal of 1 (or 0).
        c: [programs, unknowns].
        least: [programs], the smallest slope that counts.

    Returns:
        [programs, unknowns].

    Raises:
        RunError: a program does not come to an end.
    """
    u, eye = torch.zeros_like(c), torch.eye(c.shape[1], dtype=c.dtype, device=c.device)
    free = new = barred = torch.zeros_like(c, dtype=torch.bool)
    for _ in range(STEPS * c.shape[1]):
        among = (free[:, :, None] & free[:, None]).to(c)
        best = torch.linalg.solve_ex(among * K + eye * ~free[:, None], free * c)[0]
        best = torch.where(best.isfinite().all(1, keepdim=True), best, 0.0)
        # Towards the best of the free ones, as far as none of them turns negative.
        low = free & ~(best > 0)
        part = torch.where(low, (u / (u - best)).nan_to_num(0.0), 1.0)
        way = part.amin(1, keepdim=True)
        stopped = low & (part <= way)
        u = torch.where(stopped, 0.0, u + way * (best - u))
        barred = torch.where(new.any(1, keepdim=True), stopped & new, False) | (
            barred & ~(new & ~stopped).any(1, keepdim=True)
        )  # let go in vain, as rounding has it, and no other one since
        free = free & ~stopped
        slopes = (c - (K * u[:, None]).sum(2)).masked_fill(free | barred, -torch.inf)
        steepest, which = slopes.max(1)
        goes_on = (steepest > least) & ~low.any(1)
        if not (goes_on | low.any(1)).any():
            break
        new = goes_on[:, None] & (eye[which] > 0)
        free = free | new
    else:
        if c.numel():
            raise RunError(
                f"cga: the shares of {c.shape[1]} gradients are not found in "
                f"{STEPS * c.shape[1]} steps; try a larger margin, or a smaller lr"
            )
    return u
