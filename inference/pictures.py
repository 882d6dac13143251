"""Decodes pictures that strangers sent: every format and mode to plain RGB, or one clause that says why not.

Pillow alone, no torch. Blocks for as long as decoding takes: call it in a thread.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import TYPE_CHECKING, cast

from inference.api import BadImage

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_BYTES = 20 * 2**20
# Decoded, this is 160 MB; phones make pictures of 50 megapixels, which JPEG can open at a fraction of their size.
MAX_PIXELS = 40_000_000
# Captioners look at a few hundred pixels a side; larger pictures are reduced while they are decoded.
_WORKING_SIDE = 1024
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def decode(data: bytes) -> Image:
    """The first frame, upright by its EXIF orientation, 8-bit RGB, transparency over white.

    Raises:
        BadImage: not a picture, damaged, or too large; `why` is a clause for a person.
    """
    if len(data) > MAX_BYTES:
        raise BadImage(f"it has {len(data) / 2**20:.0f} MB and the limit is {MAX_BYTES // 2**20} MB")
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of large pictures; our own limits decide.
        warnings.simplefilter("ignore")
        return _decode(data)


def _decode(data: bytes) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]  # builds may lack some
    try:
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            picture.draft("RGB", (_WORKING_SIDE, _WORKING_SIDE))
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise BadImage(f"it has {width:,}×{height:,} pixels and the limit is {MAX_PIXELS // 10**6} megapixels")
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            # The quick first step, which only reduces, is not there for 16-bit grey.
            gap = None if upright.mode.startswith("I;16") else 2.0
            upright.thumbnail((_WORKING_SIDE, _WORKING_SIDE), reducing_gap=gap)
            return _rgb(upright)
    except UnidentifiedImageError as error:
        raise BadImage("it is not a picture that can be read (PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF)") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"it has more than {MAX_PIXELS // 10**6} megapixels") from error
    # Pillow's decoders raise whatever a damaged file leads them to.
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, struct.error) as error:
        raise BadImage("the file is damaged or incomplete") from error


def _rgb(picture: Image) -> Image:
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bit(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layers = picture.convert("RGBA")
    paper = Image.new("RGBA", layers.size, "white")
    return Image.alpha_composite(paper, layers).convert("RGB")


def _eight_bit(picture: Image) -> Image:
    """16-bit and floating-point grey by its range: a plain conversion would clip nearly everything to white."""
    floating = picture.convert("I").convert("F") if picture.mode.startswith("I") else picture
    low, high = cast("tuple[float, float]", floating.getextrema())
    if low >= 0 and high <= 255 and not picture.mode.startswith("I;16"):
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    scale = 255 / ((high - low) or 1)
    return floating.point(lambda value: value * scale - low * scale).convert("L")
