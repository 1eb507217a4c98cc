"""Where the models are filed, and the one line a user reads when the data do not fit a model.

A builder is `(num_classes, input_shape, params) -> nn.Module`; its forward takes
[batch, *input_shape] and returns logits [batch, classes]. Weights are drawn elsewhere, see
`_weights.py`. Registering a model needs no torch: classes of modules are in files with an
underscore, which are imported when a model is built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from p2pqg.base.errors import ConfigError
from p2pqg.base.registry import F, Registry
from p2pqg.models._own import builder_of, settable_of

MODELS = Registry("model")
"""Trait `cost`, where a formula knows it: (num_classes, input_shape, params) -> Cost. Trait
`tokenizer`, of models that read texts: params -> its name, see `p2pqg/data/_tokens.py`. Trait
`encoder`, of models with a frozen part: (params, device) -> what computes it, or None, see
`p2pqg/data/_encoded.py`. Trait `own`: a user's, whose layers draw their own weights."""


def model(
    name: str, *, params: type | None = None, source: str = "", **traits: Any
) -> Callable[[F], F]:
    """File a function `(num_classes, input_shape) -> nn.Module` under its name.

    What else it takes, `width=32` say, are the model's parameters. Its layers draw their own
    weights, keyed by the seed of the run.

    Args:
        name: what users type.
        params: frozen data class of what may be set; then the function is called with an object of
            it as its third argument.
        source: paper or code, for `p2pqg list`.
        traits: what else is known of it, see `MODELS`.
    """

    def file(function: F) -> F:
        build: Callable[..., Any] = function
        if params is None:
            build = builder_of(function)
        settable = settable_of(function, name) if params is None else params
        MODELS.register(name, params=settable, source=source, own=True, **traits)(build)
        return function

    return file


class Cost(NamedTuple):
    """What a model asks for.

    Attributes:
        num_params: floats that a client sends.
        multiply_adds: of one sample's forward pass; a training step costs about three times as
            many.
    """

    num_params: int
    multiply_adds: int


def image_channels(model: str, input_shape: tuple[int, ...], smallest: int) -> int:
    """The number of channels of images that a convolutional model can take.

    Args:
        model: its name, for the message.
        input_shape: of one sample.
        smallest: least height and width that survive the model's strides.

    Raises:
        ConfigError: not [channels, height, width], or too small.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise ConfigError(
            f"model {model} needs images [channels, height >= {smallest}, width >= {smallest}], "
            f"got input shape {tuple(input_shape)}; use mlp or logistic"
        )
    return input_shape[0]


def text_length(model: str, input_shape: tuple[int, ...]) -> int:
    """Tokens of a text that a model is to read.

    Args:
        model: its name, for the message.
        input_shape: of one sample.

    Raises:
        ConfigError: not (length,).
    """
    if len(input_shape) != 1:
        raise ConfigError(
            f"model {model} reads texts, (length,) tokens each, got input shape "
            f"{tuple(input_shape)}; use cnn, resnet20-gn, ..."
        )
    return input_shape[0]
