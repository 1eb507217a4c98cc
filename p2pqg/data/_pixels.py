"""Image files -> arrays of bytes, as a viewer shows them; what gets lost on the way is said."""

from __future__ import annotations

import functools
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from p2pqg.base.errors import DataError
from p2pqg.base.memory import check_room
from p2pqg.base.wording import counted

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "PPM", "TIFF")
READ = "PNG, JPEG, WebP, BMP, PPM, PGM, TIFF"
MOST_PIXELS = 2**26
"""Pixels of one image, at most; larger ones are an attack on the memory, or need to be scaled."""
PNG_DEPTH = 24
"""Position of the byte in a PNG file that says its bits per channel."""
PPM_HEADER = re.compile(rb"P[36]" + rb"(?:(?:\s|#[^\r\n]*[\r\n])+(\d+))" * 3)
"""Of a color image: width, height, and what its brightest value is."""
BITS = 258
"""The tag of a TIFF file that says how many bits its channels have."""
PHOTOMETRIC = 262
"""The tag of a TIFF file that says what its numbers mean; 0: they count from white to black."""

ALPHA = "is partly transparent: its alpha channel is dropped"
COLOR = "is in color, and made gray"
DEEP = "has 16 bits per channel: the upper 8 are kept"
DIM = 32
"""Where the upper 8 of 16 bits stay below this, most of what images show is in the lower ones."""
FRAMES = "has several frames: the first one is taken"
INK = "holds amounts of ink (CMYK): its colors are approximate"
NIGHT = "is black in the upper 8 of its 16 bits, and what it shows in the lower ones is lost"
TURN = "has EXIF data that cannot be read: it is not turned"

Shape = tuple[int, int, int]
"""(channels, height, width)."""


class Decoded(NamedTuple):
    """Images of one part.

    Attributes:
        x: uint8 [images, channels, height, width]; 3 channels if any image has color.
        notes: what was lost, a line for each kind of loss.
    """

    x: np.ndarray
    notes: tuple[str, ...] = ()


def content_of(path: str) -> bytes:
    """What is in a file; DataError if it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def opened(content: bytes | None, what: str) -> Image:
    """A decoded image; DataError if it is none. `what` says which, for the message."""
    if not content:
        raise DataError(f"{what} is empty; fetch it again")
    Image = _pillow()
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(_too_large(what)) from None
    except Exception as error:  # broken images make Pillow raise a bit of everything
        raise DataError(f"{what} is no image that is read ({READ}); fetch it again") from error
    if image.width * image.height > MOST_PIXELS:
        raise DataError(_too_large(what, f" has {image.width} x {image.height} pixels"))
    try:
        image.load()
    except Exception as error:
        raise DataError(f"{what} is cut short or broken; fetch it again") from error
    return image


@functools.cache
def _pillow() -> Any:
    """Pillow's module Image, which need not warn of what is refused here anyway."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    return Image


def _too_large(what: str, pixels: str = " is too large") -> str:
    return f"{what}{pixels}; images of at most {MOST_PIXELS:,} pixels are read"


def as_seen(image: Image, content: bytes, what: str) -> tuple[Image, list[str]]:
    """A decoded image as a viewer shows it: gray (L) or color (RGB), turned as its EXIF data say.

    Args:
        image: as `opened` gives it, or one of the user's.
        content: of its file; empty: not known.
        what: it is called in a message.

    Returns:
        the image, and what of it is lost, a phrase for each.

    Raises:
        DataError: its numbers are none that a viewer shows.
    """
    from PIL import Image, ImageOps

    _check_shown(image, what)
    lost = []
    if _is_deep(image, content):
        lost.append(DEEP)
    if content and image.format in ("PNG", "WEBP", "TIFF") and getattr(image, "n_frames", 1) > 1:
        lost.append(FRAMES)
    if any(kind in image.info for kind in ("exif", "xmp", "XML:com.adobe.xmp")):
        try:
            image = ImageOps.exif_transpose(image)
        except Exception:  # whatever a camera, or a forger, wrote
            lost.append(TURN)
    if image.mode.startswith("I"):
        # Pillow's own conversion would clip at 255.
        deep = np.asarray(image)
        if 0 < deep.max() < 256:
            lost.append(NIGHT)
        return Image.fromarray((deep >> 8).astype(np.uint8)), lost
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        gray = image.mode in ("1", "L", "LA", "La")
        image = image.convert("LA" if gray else "RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            lost.append(ALPHA)
    if image.mode == "CMYK":
        lost.append(INK)
    return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"), lost


def _check_shown(image: Image, what: str) -> None:
    """Refuse numbers of which nobody knows what is black and what is white."""
    trouble = ""
    if image.mode in ("F", "LAB"):
        trouble = f"holds {'floats' if image.mode == 'F' else 'colors as L*a*b*'}"
    elif image.mode.startswith("I"):
        from_white = getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0
        # Pillow scales what a PGM or PNG file holds to 16 bits.
        if image.format not in ("PNG", "PPM") and (image.mode == "I" or from_white):
            trouble = "holds numbers from white to black" if from_white else "holds whole numbers"
    if trouble:
        raise DataError(
            f"{what} {trouble} (Pillow's mode {image.mode}); save it with 8 bits per channel, or "
            "give its numbers as an array"
        )


def _is_deep(image: Image, content: bytes) -> bool:
    """Whether it has 16 bits per channel."""
    if image.format == "PNG" and content:
        return content[PNG_DEPTH : PNG_DEPTH + 1] == b"\x10"
    if image.format == "PPM" and (header := PPM_HEADER.match(content)):
        return int(header[3]) > 255
    # Pillow says so in the mode of gray images alone.
    return image.mode.startswith("I") or max(getattr(image, "tag_v2", {}).get(BITS, (8,))) > 8


def pixels(
    images: Iterable[tuple[str, bytes | Image | None]],
    count: int,
    what: str,
    *,
    channels: int | None = None,
    size: tuple[int, int] | None = None,
    fit: bool = False,
) -> Decoded:
    """Decode images of one size, one after the other.

    One thread: at 32 x 32 pixels most of the time is Python's, and more threads were slower.

    Args:
        images: what each is called in a message, and the content of its file, or itself.
        count: how many there are.
        what: they are called together.
        channels: 1: color is made gray; 3: gray becomes color, without loss; None: 3 if any image
            has color, else 1.
        size: (height, width) of all; None: of the first.
        fit: scale images of other sizes, and cut off what is too much.

    Raises:
        DataError: some are no images, or of another size, or do not fit into memory.
    """
    from PIL import Image, ImageOps

    decoded: list[np.ndarray] = []
    broken: list[str] = []
    brightest = -1  # of those with 16 bits
    losses: dict[str, list[str]] = {}
    for name, given in images:
        content = given if isinstance(given, bytes) else b""
        try:
            image = given if isinstance(given, Image.Image) else opened(content, name)
            image, lost = as_seen(image, content, name)
        except DataError as error:
            broken.append(str(error))
            continue
        if channels == 1 and image.mode != "L":
            image, lost = image.convert("L"), [*lost, COLOR]
        size = size or (image.height, image.width)
        if fit:
            image = ImageOps.fit(image, size[::-1], Image.Resampling.BILINEAR)
        elif (image.height, image.width) != size:
            raise DataError(
                f"{name} has {image.width} x {image.height} pixels, the others have "
                f"{size[1]} x {size[0]}; set dataset.side to scale them, where it can be set"
            )
        if not decoded:
            each = (channels or len(image.getbands())) * size[0] * size[1]
            # Once as a list, and once as an array.
            check_room(
                2 * count * each,
                f"{what}: {counted(count, 'image')}",
                "set dataset.side, or use fewer",
            )
        decoded.append(np.asarray(image))
        if DEEP in lost and (image.mode != "L" or NIGHT in lost or decoded[-1].any()):
            # Of gray ones it is known which are really black; they say nothing.
            brightest = max(brightest, int(decoded[-1].max()))
        for loss in lost:
            losses.setdefault(loss, []).append(name)
    if broken:
        more = f" ({len(broken) - 1} more are broken, too)" if len(broken) > 1 else ""
        raise DataError(f"{broken[0]}{more}")
    notes = [_line(what, *loss, count) for loss in losses.items()]
    if 0 <= brightest < DIM:
        told = (
            f"{what}: images with 16 bits per channel use the lower ones: of 0 .. 255 the upper 8 "
            f"reach {brightest}; scale them, and save them with 8 bits"
        )
        if brightest == 0 and NIGHT in losses:
            raise DataError(told)
        notes.append(told)
    return Decoded(stacked(decoded, channels), tuple(notes))


def stacked(images: Sequence[np.ndarray], channels: int | None = None) -> np.ndarray:
    """[height, width] or [height, width, 3] each -> [images, channels, height, width]."""
    channels = channels or max(image.ndim for image in images) * 2 - 3
    x = np.empty((len(images), channels, *images[0].shape[:2]), dtype=np.uint8)
    for row, image in zip(x, images, strict=True):
        row[:] = image if image.ndim == 2 else image.transpose(2, 0, 1)
    return x


def _line(what: str, loss: str, names: Sequence[str], count: int) -> str:
    if len(names) == 1:
        return f"{names[0]} {loss}"
    return f"{what}: {len(names):,} of {count:,} images: each {loss} (the first is {names[0]})"


def in_color(x: np.ndarray) -> np.ndarray:
    """Images with three channels; gray ones are repeated, which loses nothing."""
    return x if x.shape[1] == 3 else np.repeat(x, 3, axis=1)
