"""Decodes pictures that strangers sent: every format and mode to plain RGB, or one clause that says why not.

Pillow alone, no torch. Some pictures take minutes or gigabytes: outside tests this runs in the processes of
`picture_decoder`, which have limits.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import cast

from PIL import Image as pillow
from PIL import ImageOps, UnidentifiedImageError
from PIL.Image import DecompressionBombError, Image

from inference.api import BadImage
from inference.processes.worker import Unusable
from inference.tasks.media.jpeg import structure

MAX_BYTES = 20 * 2**20
# Decoded, this is 160 MB; phones make pictures of 50 megapixels, which JPEG can open at a fraction of their size.
MAX_PIXELS = 40_000_000
MAX_SCANS = 50
"""Scans of a JPEG. Encoders make about ten; every one costs a pass over all of the picture."""
SIZE = struct.Struct(">II")
"""Width and height before the rows of a decoded picture."""
# Captioners look at a few hundred pixels a side; larger pictures are reduced while they are decoded.
_WORKING_SIDE = 1024
pillow.init()
_FORMATS: list[str] = [name for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF") if name in pillow.OPEN]


def decoded(data: bytes) -> bytes:
    """What the child process runs: the picture's `SIZE` and its rows of RGB. Raises Unusable."""
    try:
        picture = decode(data)
    except BadImage as error:
        raise Unusable(error.why) from error
    return SIZE.pack(*picture.size) + picture.tobytes()


def decode(data: bytes, side: int = _WORKING_SIDE, *, layers: bool = False) -> Image:
    """The first frame, upright by its EXIF orientation, 8-bit RGB, transparency over white.

    Args:
        side: pixels of the longer side; a larger picture is reduced.
        layers: keep transparency where there is some, as RGBA.

    Raises:
        BadImage: not a picture, damaged, or too large; `why` is a clause for a person.
    """
    if len(data) > MAX_BYTES:
        raise BadImage(_too_many_bytes(data))
    with warnings.catch_warnings():
        # Pillow warns of odd metadata and of large pictures; our own limits decide.
        warnings.simplefilter("ignore")
        return _decode(data, side, layers)


def _too_many_bytes(data: bytes) -> str:
    return f"it has {len(data) / 2**20:.0f} MB and the limit is {MAX_BYTES // 2**20} MB"


def _decode(data: bytes, side: int, layers: bool) -> Image:
    try:
        with pillow.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.format in ("JPEG", "MPO"):
                _check_jpeg(data, picture.size)
            picture.draft("RGB", (side, side))
            _check_size(picture.size, picture.width * picture.height)
            picture.load()
            upright = ImageOps.exif_transpose(picture)
            # The quick first step, which only reduces, is not there for 16-bit grey.
            gap = None if upright.mode.startswith("I;16") else 2.0
            upright.thumbnail((side, side), reducing_gap=gap)
            return _eight_bit_layers(upright) if layers else _rgb(upright)
    except UnidentifiedImageError as error:
        raise BadImage("it is not a picture that can be read (PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF)") from error
    except DecompressionBombError as error:
        raise BadImage(f"it has more than {MAX_PIXELS // 10**6} megapixels") from error
    # Pillow's decoders raise whatever a damaged file leads them to.
    except (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, struct.error) as error:
        raise BadImage("the file is damaged or incomplete") from error


def _check_jpeg(data: bytes, size: tuple[int, int]) -> None:
    found = structure(data)
    if found.scans > MAX_SCANS:
        raise BadImage(f"it is written in {found.scans} scans and the limit is {MAX_SCANS}")
    _check_size(size, found.progressive_pixels)


def _check_size(size: tuple[int, int], pixels: int) -> None:
    if pixels > MAX_PIXELS:
        width, height = size
        raise BadImage(f"it has {width:,}×{height:,} pixels and the limit is {MAX_PIXELS // 10**6} megapixels")


def _eight_bit_layers(picture: Image) -> Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bit(picture)
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _rgb(picture: Image) -> Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bit(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layers = picture.convert("RGBA")
    paper = pillow.new("RGBA", layers.size, "white")
    return pillow.alpha_composite(paper, layers).convert("RGB")


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
