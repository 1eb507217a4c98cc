"""PNG and JPEG files -> arrays of bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from p2pqg.base.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG")
MODES = {1: "L", 3: "RGB"}
"""Channels -> Pillow's name: gray or color."""

Shape = tuple[int, int, int]
"""(channels, height, width)."""


def opened(content: bytes | None, what: str) -> Image:
    """A decoded image; DataError if it is none. `what` says which, for the message."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content or b""), formats=FORMATS)
        image.load()
    except Exception as error:  # broken images make Pillow raise a bit of everything
        raise DataError(f"{what} is not a PNG or JPEG image; fetch it again") from error
    return image


def pixels(
    images: Iterable[tuple[str, bytes | None]], shape: Shape, fit: bool = False
) -> np.ndarray:
    """Decode images of one size, one after the other.

    One thread: at 32 x 32 pixels most of the time is Python's, and more threads were slower.

    Args:
        images: what each is called in a message, and its content.
        shape: (channels, height, width), of 1 (gray) or 3 (color) channels.
        fit: scale images of other sizes, and cut off what is too much.

    Returns:
        uint8 [images, channels, height, width].

    Raises:
        DataError: one is no image, or of another size.
    """
    from PIL import Image, ImageOps

    channels, height, width = shape
    decoded = []
    for what, content in images:
        image = opened(content, what).convert(MODES[channels])
        if fit:
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
        elif image.size != (width, height):
            raise DataError(
                f"{what} has {image.size[0]} x {image.size[1]} pixels, the others have "
                f"{width} x {height}; set dataset.side to scale them, where it can be set"
            )
        decoded.append(np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1))
    return np.stack(decoded)


def shape_of(image: Image) -> Shape:
    """(channels, height, width) of an image; what is not gray becomes color."""
    return 1 if image.mode in ("1", "L", "I;16") else 3, image.height, image.width
