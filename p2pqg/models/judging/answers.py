"""What a user's model returns for its samples, where that is more than one tensor.

The first one is judged: accuracy and metrics are of it. The user's own loss is given all of them,
as the model returned them. In between they stand side by side, a row for each sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from p2pqg.base.lazy import torch


@dataclass(frozen=True)
class Answer:
    """How several tensors stand in the columns of one.

    Attributes:
        names: of a dict's; empty: they are a tuple.
        shapes: of each, of one sample.
        whole: the types of those that are whole numbers or truth values, None of the others; in
            the columns they are floats, as exact as these are: float32 up to 2^24.
        single: it is one tensor by itself, of more dimensions than a row's.
    """

    names: tuple[Any, ...]
    shapes: tuple[tuple[int, ...], ...]
    whole: tuple[torch.dtype | None, ...] = ()
    single: bool = False

    @classmethod
    def of(cls, outputs: Any) -> Answer | None:
        """The answer of outputs that are a tuple, list or dict of tensors; None: they are not."""
        named = isinstance(outputs, Mapping)
        if not (named or isinstance(outputs, tuple | list)) or not outputs:
            return None
        each = list(outputs.values()) if named else list(outputs)
        if not all(isinstance(one, torch.Tensor) and one.dim() for one in each):
            return None
        return cls(
            tuple(outputs) if named else (),
            tuple(tuple(one.shape[1:]) for one in each),
            tuple(one.dtype if _is_whole(one) else None for one in each),
        )

    @classmethod
    def of_tensor(cls, outputs: Any) -> Answer | None:
        """The answer of outputs that are one tensor of rows of any shape; None: they are not."""
        if not isinstance(outputs, torch.Tensor) or not outputs.dim():
            return None
        whole = outputs.dtype if _is_whole(outputs) else None
        return cls((), (tuple(outputs.shape[1:]),), (whole,), single=True)

    @property
    def width(self) -> int:
        """How many columns there are."""
        return sum(map(math.prod, self.shapes))

    def again(self, columns: Any) -> Any:
        """[samples, width] -> what the model returned."""
        parts = columns.split([math.prod(shape) for shape in self.shapes], 1)
        each = [
            part.reshape(len(columns), *shape)
            for part, shape in zip(parts, self.shapes, strict=True)
        ]
        for number, kind in enumerate(self.whole):
            if kind is not None:
                each[number] = each[number].to(kind)
        if self.single:
            return each[0]
        return dict(zip(self.names, each, strict=True)) if self.names else tuple(each)


def in_columns(outputs: Any) -> Any:
    """[samples, outputs]: several tensors side by side; one of one output may have no column."""
    if isinstance(outputs, torch.Tensor):
        return outputs if outputs.dim() == 2 else outputs.reshape(len(outputs), -1)
    each = outputs.values() if isinstance(outputs, Mapping) else outputs
    # In half precision whole numbers would lose their digits.
    floats = [one.to(torch.float32) if _is_whole(one) else one for one in each]
    return torch.cat([one.reshape(len(one), -1) for one in floats], 1)


def _is_whole(tensor: torch.Tensor) -> bool:
    """Whether it holds whole numbers or truth values."""
    return not (tensor.is_floating_point() or tensor.is_complex())
