"""Text classifiers of Hugging Face's transformers, fine-tuned: `pip install 'p2pqg[text]'`.

`distilbert` is that of the QG paper: Sanh, Debut, Chaumond, Wolf, arXiv:1910.01108.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from p2pqg.base.lazy import torch
from p2pqg.base.text import user_path
from p2pqg.models._registry import MODELS, text_length

if TYPE_CHECKING:
    from p2pqg.models._frozen import Encoder


@dataclass(frozen=True, kw_only=True)
class Params:
    """What may be set."""

    path: str = ""
    """A folder with a model and its tokenizer, or its name on the Hugging Face hub; or a model's
    config, FILE.json: its network with weights that are drawn, for reading exported models."""
    trained_layers: Annotated[int | None, ">= 0"] = None
    """How many of the last layers are trained, >= 0, and the head; the others drop nothing, and are
    computed once before the first round. None: all are trained, the word vectors, too."""

    def __post_init__(self) -> None:
        """Paths become absolute: actors may run in other folders."""
        if self.path and user_path(self.path).exists():
            object.__setattr__(self, "path", str(user_path(self.path).resolve()))

    def problems(self) -> Iterator[str]:
        if not self.path:
            yield (
                "model.path must be a folder or a name on the Hugging Face hub, such as "
                "distilbert/distilbert-base-uncased"
            )


@dataclass(frozen=True, kw_only=True)
class DistilbertParams(Params):
    """Params of the model in the paper."""

    path: str = "distilbert/distilbert-base-uncased"


def _path(p: Params) -> str:
    return p.path


def _encoder(p: Params, device: str) -> Encoder | None:
    if p.trained_layers is None:
        return None
    from p2pqg.models._frozen import Encoder

    return Encoder(p.path, p.trained_layers, device)


@MODELS.register(
    "transformers",
    params=Params,
    source="Wolf et al., EMNLP 2020",
    tokenizer=_path,
    encoder=_encoder,
)
def transformers(num_classes: int, input_shape: tuple[int, ...], p: Params) -> torch.nn.Module:
    """Any text classifier of the package transformers, by its folder or name (model.path)."""
    if p.trained_layers is not None:
        from p2pqg.models._frozen import partly_frozen

        return partly_frozen(p.path, num_classes, input_shape, p.trained_layers)
    from p2pqg.models._pretrained import pretrained

    return pretrained(p.path, num_classes, text_length("transformers", input_shape))


@MODELS.register(
    "distilbert",
    params=DistilbertParams,
    source="Sanh et al., 2019",
    tokenizer=_path,
    encoder=_encoder,
)
def distilbert(num_classes: int, input_shape: tuple[int, ...], p: Params) -> torch.nn.Module:
    """DistilBERT, pretrained, with a new head: the paper's model for texts."""
    return transformers(num_classes, input_shape, p)
