"""Where the models are filed, and the one line a user reads when the data do not fit a model.

A builder is `(num_classes, input_shape, params) -> nn.Module`; its forward takes
[batch, *input_shape] and returns logits [batch, classes]. Weights are drawn elsewhere, see
`_weights.py`: builders run on the meta device and must not depend on what a tensor holds.
"""

from __future__ import annotations

from p2pqg.errors import ConfigError
from p2pqg.registry import Registry

MODELS = Registry("model")


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
