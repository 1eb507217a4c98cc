"""A small transformer for texts, trained from scratch: for machines without pretrained weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from p2pqg.base.lazy import torch
from p2pqg.base.ranges import broken
from p2pqg.models._registry import MODELS, text_length


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    width: Annotated[int, ">= 1"] = 128
    """Width of a token's vector, a multiple of heads."""
    layers: Annotated[int, ">= 1"] = 2
    heads: Annotated[int, ">= 1"] = 4
    vocabulary: Annotated[int, ">= 2"] = 8192
    """Numbers that words are hashed into, >= 2; number 0 is no word."""
    dropout: Annotated[float, "[0, 1)"] = 0.1
    """Share of entries set to 0 in training, in [0, 1)."""

    def problems(self) -> Iterator[str]:
        if self.heads >= 1 and self.width % self.heads:
            yield broken(
                f"model.width must be a multiple of heads ({self.heads}), got {self.width}",
                "width",
                "heads",
            )


@MODELS.register(
    "transformer",
    params=Params,
    source="Vaswani et al., NeurIPS 2017",
    tokenizer=lambda p: f"words:{p.vocabulary}",
)
def transformer(num_classes: int, input_shape: tuple[int, ...], p: Params) -> torch.nn.Module:
    """A small encoder for texts, trained from scratch; words are hashed, nothing is downloaded."""
    from p2pqg.models._transformer import Transformer

    length = text_length("transformer", input_shape)
    settings = {"vocabulary": p.vocabulary, "width": p.width, "layers": p.layers}
    return Transformer(num_classes, length, heads=p.heads, dropout=p.dropout, **settings)
