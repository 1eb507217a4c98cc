"""The matrices of a model, and vectors that they are multiplied by: those of `powergossip`.

A matrix is a tensor of more than one dimension, [out, in]: convolutions filter by filter. From the
left it is meant transposed, [in, out]. Vectors are those of all matrices in one row of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from p2pqg.algorithms.effects import Parameter
from p2pqg.base.lazy import torch


class Matrices:
    """The places of a model's matrices in its row.

    Attributes:
        tensors: that are matrices; rest: all others, such as a bias.
        ranks: how many vectors each has.
    """

    def __init__(self, tensors: Iterable[Parameter], rank: int) -> None:
        """No matrix has more vectors than it has rows or columns."""
        tensors = list(tensors)
        self.tensors = [tensor for tensor in tensors if len(tensor.shape) > 1]
        self.rest = [tensor for tensor in tensors if len(tensor.shape) < 2]
        self.ranks = [min(t.shape[0], prod(t.shape[1:]), rank) for t in self.tensors]

    @property
    def inputs(self) -> int:
        """Numbers in the vectors [in, rank] of all matrices."""
        sizes = zip(self.tensors, self.ranks, strict=True)
        return sum(prod(tensor.shape[1:]) * rank for tensor, rank in sizes)

    def of(self, x: torch.Tensor, from_right: bool) -> list[torch.Tensor]:
        """The matrices in [clients, params], [clients, rows, columns] each."""
        found = [tensor.of(x).flatten(2) for tensor in self.tensors]
        return found if from_right else [matrix.mT for matrix in found]

    def vectors(self, v: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
        """[clients, slots, numbers] -> [clients, slots, size, rank] of each matrix."""
        shapes = list(zip(sizes, self.ranks, strict=True))
        parts = v.split([size * rank for size, rank in shapes], 2)
        return [part.unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]

    def add(self, x: torch.Tensor, changes: Iterable[torch.Tensor], from_right: bool) -> None:
        """To the matrices in x, in place: [clients, rows, columns] each."""
        for tensor, change in zip(self.tensors, changes, strict=True):
            x[:, tensor.columns] += (change if from_right else change.mT).flatten(1)

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        """[clients, numbers]: all that is in no matrix."""
        return torch.cat([x[:, :0], *(x[:, tensor.columns] for tensor in self.rest)], 1)

    def put_whole(self, x: torch.Tensor, numbers: torch.Tensor) -> None:
        """The other way round, in place."""
        parts = numbers.split([prod(tensor.shape) for tensor in self.rest], 1)
        for tensor, part in zip(self.rest, parts, strict=True):
            x[:, tensor.columns] = part


def orthonormal(v: torch.Tensor) -> torch.Tensor:
    """The same columns, made orthonormal: [clients, slots, size, rank]."""
    return torch.linalg.qr(_wide(v)).Q.to(v.dtype)


ROUNDING = 16
"""What a difference of products is rounded by, in last digits of these: less may be nothing."""


def spanning(v: torch.Tensor, products: Sequence[torch.Tensor]) -> torch.Tensor:
    """Columns with the span of those of v, without directions that only rounding has.

    A difference of lower rank than v, or of none, leaves such ones; made orthonormal, last digits
    would become first ones, and another machine would have another run. Fixed vectors stand in for
    them, from which the power method finds what the difference gets later.

    Args:
        v: [clients, slots, size, rank], a difference.
        products: of what, two of the same shape. Whoever swaps them gets the same bits.
    """
    *_, size, rank = v.shape
    if not v.numel():
        return v
    largest = torch.maximum(*(_wide(M).abs().amax((2, 3), keepdim=True) for M in products))
    noise = ROUNDING * torch.finfo(v.dtype).eps * (size * rank) ** 0.5 * largest
    i = torch.arange(1, size + 1, dtype=largest.dtype, device=v.device)
    rest, found = _wide(v), []
    for k in range(1, rank + 1):  # Gram and Schmidt, the longest first
        longest, which = rest.norm(dim=2, keepdim=True).max(3, keepdim=True)
        tells = longest > noise
        unit = rest.gather(3, which.expand(-1, -1, size, 1)) / longest.where(tells, 1)
        rest = rest - tells * unit * (unit.mT @ rest)
        found.append(unit.where(tells, (k * i).cos()[:, None]))
    return torch.cat(found, 3).to(v.dtype)


def _wide(v: torch.Tensor) -> torch.Tensor:
    return v.to(torch.promote_types(v.dtype, torch.float32))
