"""The matrices of a model, and vectors that they are multiplied by: those of `powergossip`.

A matrix is a tensor of more than one dimension, [out, in]: convolutions filter by filter. From the
left it is meant transposed, [in, out]. Vectors are those of all matrices in one row of numbers, or
one stack: a step on all of them is a few kernels then, where each by itself would take many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from math import prod

from p2pqg.algorithms.effects import Parameter
from p2pqg.base.lazy import torch
from p2pqg.base.uploading import uploaded


class Matrices:
    """The places of a model's matrices in its row.

    In a stack of vectors, [clients, slots, matrices, longest, rank], matrices of one shape are side
    by side, and what one has not is zero. In a row of numbers they are in the order of the model.

    Attributes:
        tensors: that are matrices, in the order of a stack; rest: all others, such as a bias.
        groups: how many of one shape follow each other.
        ranks: how many vectors each has.
    """

    def __init__(self, tensors: Iterable[Parameter], rank: int) -> None:
        """No matrix has more vectors than it has rows or columns."""
        self.all = list(tensors)
        matrices = [tensor for tensor in self.all if len(tensor.shape) > 1]
        self.tensors = sorted(matrices, key=_shape)
        self.rest = [tensor for tensor in self.all if len(tensor.shape) < 2]
        self.groups = [len(list(same)) for _, same in groupby(self.tensors, key=_shape)]
        self.ranks = [min(*_shape(tensor), rank) for tensor in self.tensors]
        self.order = [self.tensors.index(tensor) for tensor in matrices]

    @property
    def inputs(self) -> int:
        """Numbers in the vectors [in, rank] of all matrices."""
        return sum(size * rank for size, rank in zip(self.sizes(True), self.ranks, strict=True))

    def sizes(self, inputs: bool) -> list[int]:
        """Of a vector of each matrix, from its inputs or outputs."""
        return [_shape(tensor)[int(inputs)] for tensor in self.tensors]

    def vectors(self, v: torch.Tensor, inputs: bool) -> torch.Tensor:
        """Numbers [clients, slots, numbers] -> a stack, of vectors of inputs or outputs."""
        sizes, rank = self.sizes(inputs), max(self.ranks, default=1)
        longest = max(sizes, default=1)
        zeros = v.new_zeros(*v.shape[:2], longest, rank)
        parts = dict[int, torch.Tensor]()
        row = v.split([sizes[m] * self.ranks[m] for m in self.order], 2)
        for m, part in zip(self.order, row, strict=True):
            parts[m] = part.unflatten(2, (sizes[m], self.ranks[m]))
            if self.ranks[m] < rank:
                parts[m] = torch.nn.functional.pad(parts[m], (0, rank - self.ranks[m]))
        pieces = [one for m, size in enumerate(sizes) for one in (parts[m], zeros[:, :, size:])]
        return torch.cat([zeros[:, :, :0], *pieces], 2).unflatten(2, (len(sizes), longest))

    def numbers(self, stack: torch.Tensor, inputs: bool) -> torch.Tensor:
        """The other way round."""
        sizes, parts = self.sizes(inputs), stack.unbind(2)
        kept = [parts[m][:, :, : sizes[m], : self.ranks[m]].flatten(2) for m in self.order]
        return torch.cat([stack[:, :, :0].flatten(2), *kept], 2)

    def products(self, x: torch.Tensor, u: torch.Tensor, inputs: bool) -> torch.Tensor:
        """Matrices in [clients, params] times a stack of vectors: numbers, of the other side."""
        made, first = list[torch.Tensor](), 0
        for count in self.groups:
            same = self.tensors[first : first + count]
            M = torch.stack([tensor.of(x).flatten(2) for tensor in same], 1)
            M = M if inputs else M.mT
            made += (M[:, None] @ u[:, :, first : first + count, : M.shape[3]]).unbind(2)
            first += count
        kept = [made[m][..., : self.ranks[m]].flatten(2) for m in self.order]
        return torch.cat([u[:, :, :0].flatten(2), *kept], 2)

    def row(self, v: torch.Tensor, u: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        """[clients, params]: the sum over slots of v u' for each matrix, and the rest beside them.

        Args:
            v: a stack of vectors of outputs.
            u: of inputs.
            rest: [clients, numbers], what is in no matrix.
        """
        outs, ins, first = self.sizes(False), self.sizes(True), 0
        numbers = rest.split([prod(tensor.shape) for tensor in self.rest], 1)
        parts = {tensor.name: part for tensor, part in zip(self.rest, numbers, strict=True)}
        for count in self.groups:
            at = slice(first, first + count)
            of_out, of_in = v[:, :, at, : outs[first]], u[:, :, at, : ins[first]]
            sums = torch.einsum("csmor,csmir->cmoi", of_out, of_in).flatten(2).unbind(1)
            parts |= {tensor.name: s for tensor, s in zip(self.tensors[at], sums, strict=True)}
            first += count
        return torch.cat([parts[tensor.name] for tensor in self.all], 1)

    def whole(self, x: torch.Tensor) -> torch.Tensor:
        """[clients, numbers]: all that is in no matrix."""
        return torch.cat([x[:, :0], *(x[:, tensor.columns] for tensor in self.rest)], 1)

    def noise(self, v: torch.Tensor, inputs: bool) -> torch.Tensor:
        """[matrices, 1, 1]: what a difference is rounded by, in the largest number of its terms."""
        sizes = zip(self.sizes(inputs), self.ranks, strict=True)
        roots = torch.tensor([(size * rank) ** 0.5 for size, rank in sizes], dtype=torch.float64)
        return uploaded(ROUNDING * torch.finfo(v.dtype).eps * roots, _wide(v))[:, None, None]


def _shape(tensor: Parameter) -> tuple[int, int]:
    """[out, in]."""
    return tensor.shape[0], prod(tensor.shape[1:])


def orthonormal(v: torch.Tensor) -> torch.Tensor:
    """The same columns, made orthonormal: [..., size, rank]."""
    if v.shape[-1] == 1:  # a card would take the matrices one after the other
        return torch.nn.functional.normalize(_wide(v), dim=-2).to(v.dtype)
    return torch.linalg.qr(_wide(v)).Q.to(v.dtype)


ROUNDING = 16
"""What a difference of products is rounded by, in last digits of these: less may be nothing."""


def spanning(
    v: torch.Tensor, products: Sequence[torch.Tensor], noise: torch.Tensor
) -> torch.Tensor:
    """Columns with the span of those of v, without directions that only rounding has.

    A difference of lower rank than v, or of none, leaves such ones; made orthonormal, last digits
    would become first ones, and another machine would have another run. Fixed vectors stand in for
    them, from which the power method finds what the difference gets later.

    Args:
        v: [clients, slots, matrices, size, rank], a difference.
        products: of what, two of the same shape. Whoever swaps them gets the same bits.
        noise: see `Matrices.noise`.
    """
    *_, size, rank = v.shape
    if not v.numel():
        return v
    largest = torch.maximum(*(_wide(M).abs().amax((-2, -1), keepdim=True) for M in products))
    noise = noise * largest
    i = torch.arange(1, size + 1, dtype=largest.dtype, device=v.device)
    rest, found = _wide(v), []
    for k in range(1, rank + 1):  # Gram and Schmidt, the longest first
        longest, which = rest.norm(dim=-2, keepdim=True).max(-1, keepdim=True)
        tells = longest > noise
        unit = rest.take_along_dim(which, -1) / longest.where(tells, 1)
        rest = rest - tells * unit * (unit.mT @ rest)
        found.append(unit.where(tells, (k * i).cos()[:, None]))
    return torch.cat(found, -1).to(v.dtype)


def _wide(v: torch.Tensor) -> torch.Tensor:
    return v.to(torch.promote_types(v.dtype, torch.float32))
