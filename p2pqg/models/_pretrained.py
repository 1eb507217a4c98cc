"""A sequence classifier of the package transformers, with its pretrained weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from p2pqg.base.draws import torch_keyed
from p2pqg.base.errors import ConfigError
from p2pqg.base.hub import fetch
from p2pqg.models._reading import Reader

CONFIG = ".json"
"""Ending of a file that describes a network and holds no weights."""


class Pretrained(Reader):
    """Any network of transformers that takes token numbers and an attention mask.

    Attributes:
        draws_in_training: it may, from torch's global state; nobody can tell from outside.
    """

    draws_in_training = True

    def __init__(self, network: nn.Module, fresh: set[str], pad: int) -> None:
        """Say which parameters are new, and have no pretrained values."""
        super().__init__(pad)
        self.network = network
        self.fresh = fresh

    def forward(self, tokens: Tensor) -> Tensor:
        """Integers [batch, length] -> [batch, classes]."""
        tokens, text = self.trimmed(tokens)
        return self.network(input_ids=tokens, attention_mask=text.long()).logits

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator) -> None:
        """New matrices N(0, initializer_range), as in BERT; new biases 0, new norms 1."""
        spread = getattr(self.network.config, "initializer_range", 0.02)
        for name, parameter in sorted(self.network.named_parameters()):
            if name not in self.fresh:
                continue
            if parameter.dim() > 1:
                parameter.normal_(0, spread, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def pretrained(path: str, num_classes: int, length: int) -> Pretrained:
    """The classifier at `path`, a folder or a name on the Hugging Face hub; or config.json alone.

    Raises:
        ConfigError: transformers is not installed, there is no such model, it classifies no texts,
            or it cannot read texts that long.
    """
    kind = "AutoModelForSequenceClassification"
    if path.endswith(CONFIG):
        network, fresh = _drawn(kind, path, num_classes)
    else:
        options = {"num_labels": num_classes, "ignore_mismatched_sizes": True}
        network, found = fetch(kind, path, output_loading_info=True, **options)
        changed = {name if isinstance(name, str) else name[0] for name in found["mismatched_keys"]}
        fresh = set(found["missing_keys"]) | changed
    longest = getattr(network.config, "max_position_embeddings", length)
    if length > longest:
        raise ConfigError(f"dataset.length must be <= {longest} for {path}, got {length}")
    return Pretrained(network.float(), fresh, _pad(network.config, path))


def _drawn(kind: str, path: str, num_classes: int) -> tuple[Any, set[str]]:
    """The network of a config, and the names of its parameters, all of which are new."""
    config = fetch("AutoConfig", path, num_labels=num_classes)
    import transformers

    with torch_keyed():  # they are drawn again, by the seed
        network = getattr(transformers, kind).from_config(config)
    return network, {name for name, _ in network.named_parameters()}


def _pad(config: Any, path: str) -> int:
    """The number that fills up short texts; models that know none take the end of the text."""
    if config.pad_token_id is None:
        config.pad_token_id = config.eos_token_id
    if not isinstance(config.pad_token_id, int):
        raise ConfigError(
            f"model.path must be one with a token that pads or ends texts, got {path}; take another"
        )
    return config.pad_token_id
