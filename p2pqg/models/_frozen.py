"""A pretrained classifier whose lower layers are frozen: what they return is computed once a text.

Frozen layers give the same in every round, so an epoch that computes them again only repeats them.
A text then comes to the clients as the lower layers' states, [length, width], zeros where it is
over; the model that they train is the upper layers and the head.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from p2pqg.base.errors import ConfigError
from p2pqg.base.hub import contents_of, version_of
from p2pqg.base.memory import check_room
from p2pqg.models._pretrained import Pretrained, pretrained
from p2pqg.models._reading import shortened
from p2pqg.models.stacked.promises import promised

TEXTS_AT_ONCE = 64
WEIGHT_FILES = ("config.json", "*.safetensors", "*.bin")
RTOL, ATOL = 1e-3, 1e-4
"""How near the two halves must come to the whole, in float32."""


class PartlyFrozen(Pretrained):
    """The classifier, cut in two; only the upper half and the head have gradients.

    Args:
        whole: with its pretrained weights; it is cut.
        trained_layers: of its last ones.
        path: for messages.
        reads: tokens, too; else states alone, and the frozen layers are left out.
    """

    def __init__(
        self, whole: Pretrained, trained_layers: int, path: str, reads: bool = True
    ) -> None:
        lower, upper = _halves(whole.network, trained_layers, path, reads)
        super().__init__(upper, whole.fresh, whole.pad)
        self.lower = lower and lower.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> PartlyFrozen:
        """The frozen layers stay as in evaluation: they drop nothing."""
        super().train(mode)
        if self.lower is not None:
            self.lower.eval()
        return self

    def forward(self, texts: Tensor) -> Tensor:
        """Tokens [batch, length], or their states [batch, length, width] -> [batch, classes]."""
        states = texts if texts.is_floating_point() else self.states(texts)
        states, text = shortened(states, (states != 0).any(-1))
        return self.network(inputs_embeds=states, attention_mask=text.long()).logits

    @torch.no_grad()
    def states(self, tokens: Tensor) -> Tensor:
        """What the frozen layers return.

        Args:
            tokens: integers [batch, length].

        Returns:
            [batch, length, width]; zeros where a text is over.
        """
        assert self.lower is not None, "made for states alone"
        length = tokens.shape[1]
        tokens, text = self.trimmed(tokens)
        states = self.lower(input_ids=tokens, attention_mask=text.long()).last_hidden_state
        return nn.functional.pad(states * text[..., None], (0, 0, 0, length - states.shape[1]))


class _Passed(nn.Module):
    """In place of the embeddings: what comes in goes to the layers as it is."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> Tensor:
        return inputs_embeds


def _halves(
    network: Any, trained_layers: int, path: str, with_lower: bool
) -> tuple[Any | None, Any]:
    """The base without its upper layers, or None, and the classifier without its lower ones."""
    count = getattr(network.config, "num_hidden_layers", 0)
    if trained_layers > count:
        raise ConfigError(
            f"model.trained_layers must be <= {count} for {path}, got {trained_layers}"
        )
    keep = count - trained_layers
    lower = None
    try:
        if with_lower:
            lower = copy.deepcopy(network.base_model)
            _keep_layers(lower, slice(0, keep), count)
            if hasattr(lower, "pooler"):
                lower.pooler = None
        _keep_layers(network.base_model, slice(keep, count), count)
        network.base_model.embeddings = _Passed()
    except (AttributeError, LookupError):
        raise ConfigError(_cannot_be_cut(path)) from None
    return lower, network


def _keep_layers(base: Any, part: slice, count: int) -> None:
    name = _layers(base, count)
    holder = base.get_submodule(name.rpartition(".")[0])
    setattr(holder, name.rpartition(".")[2], base.get_submodule(name)[part])


def _layers(base: nn.Module, count: int) -> str:
    """Where the layers are; LookupError if there is no such list."""
    for name, part in base.named_modules():
        if isinstance(part, nn.ModuleList) and len(part) == count:
            return name
    raise LookupError


def _cannot_be_cut(path: str) -> str:
    return (
        f"model.trained_layers: {path} is not a stack of layers over embeddings, as BERT is; "
        "leave it away, and all layers are trained"
    )


def partly_frozen(
    path: str, num_classes: int, input_shape: tuple[int, ...], trained_layers: int
) -> PartlyFrozen:
    """The classifier at `path` with its last layers and its head to be trained.

    Args:
        path: a folder or a name on the Hugging Face hub.
        num_classes: number of logits.
        input_shape: (length,) of tokens; or (length, width) of states: then the frozen layers,
            which have been tried where the states were computed, are left out.
        trained_layers: >= 0; 0: the head alone.

    Raises:
        ConfigError: as `pretrained`; or the network cannot be cut like that.
    """
    whole = pretrained(path, num_classes, input_shape[0]).eval()
    if len(input_shape) > 1:
        return PartlyFrozen(whole, trained_layers, path, reads=False).train()
    tokens = torch.tensor([[token for token in (1, 2, 3) if token != whole.pad]])
    with torch.no_grad():
        expected = whole(tokens)
    halves = PartlyFrozen(whole, trained_layers, path).eval()
    try:
        with torch.no_grad():
            found = halves(tokens)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        raise ConfigError(_cannot_be_cut(path)) from None
    if not torch.allclose(found, expected, RTOL, ATOL):
        raise ConfigError(_cannot_be_cut(path))
    return halves.train()


@dataclass(frozen=True)
class Encoder:
    """The frozen layers of a network, before anybody has loaded them.

    Attributes:
        path: a folder or a name on the Hugging Face hub.
        trained_layers: the last ones, which are left out.
        device: "cpu", "cuda" or "auto", as of a recipe.
    """

    path: str
    trained_layers: int
    device: str = "auto"

    @property
    def key(self) -> str:
        """Changes when what the layers return does: a folder is known by what is in its files."""
        folder = Path(self.path)
        if folder.is_dir():
            return f"{contents_of(folder, WEIGHT_FILES)}|{self.trained_layers}"
        return f"{self.path}|{version_of(self.path)}|{self.trained_layers}"

    @property
    def place(self) -> str:
        """What computes, "cpu" or "cuda": their last digits differ."""
        return "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """The states of texts.

        Args:
            tokens: int32 [texts, length].

        Returns:
            float32 [texts, length, width]; zeros where a text is over.

        Raises:
            ConfigError: as `partly_frozen`, or they do not fit into memory.
        """
        model = partly_frozen(self.path, 2, tokens.shape[1:], self.trained_layers)
        device = torch.device(self.place)
        network: Any = model.network
        width = int(network.config.hidden_size)
        check_room(
            4 * tokens.size * width,
            f"the frozen layers' states of {len(tokens):,} texts",
            "set a smaller dataset.length, or leave model.trained_layers away",
        )
        states = np.empty((*tokens.shape, width), dtype=np.float32)
        model = model.to(device)

        def fill(start: int) -> None:
            some = slice(start, start + TEXTS_AT_ONCE)
            states[some] = model.states(torch.from_numpy(tokens[some]).to(device)).cpu().numpy()

        with promised(), _single_threads() as threads:
            list(threads.map(fill, range(0, len(tokens), TEXTS_AT_ONCE)))
        if device.type == "cuda":  # the card is for the clients now
            del model, network, fill
            torch.cuda.empty_cache()
        return states


@contextlib.contextmanager
def _single_threads() -> Iterator[ThreadPoolExecutor]:
    """A thread for each core, in which torch uses one: the last digit depends on their number."""
    before, cores = torch.get_num_threads(), os.cpu_count() or 1
    try:
        with ThreadPoolExecutor(cores, "frozen", torch.set_num_threads, (1,)) as threads:
            yield threads
    finally:
        torch.set_num_threads(before)
