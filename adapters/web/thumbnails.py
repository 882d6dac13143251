"""Small pictures for the posts, made from what strangers upload. Slow and hostile: run `thumbnail` off the loop."""

from __future__ import annotations

import io
import logging
import warnings

from PIL import Image, ImageOps

_log = logging.getLogger(__name__)

EDGE_PX = 320
MEDIA_TYPE = "image/webp"
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_MAX_PIXELS = 50_000_000
"""About 200 MB decoded; a 48-megapixel photo of a telephone still passes."""


def thumbnail(data: bytes) -> bytes | None:
    """A WebP of at most 320 x 320 pixels, upright, of the first frame; None for what is no usable picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _shrink(data)
    except Exception as error:  # Pillow raises whatever a broken file makes it raise
        _log.info("no thumbnail: %s", type(error).__name__)
        return None


def _shrink(data: bytes) -> bytes | None:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        if image.width * image.height > _MAX_PIXELS:
            return None
        image.draft("RGB", (2 * EDGE_PX, 2 * EDGE_PX))
        small = ImageOps.exif_transpose(_eight_bits(image))
        small.thumbnail((EDGE_PX, EDGE_PX))
        out = io.BytesIO()
        small.save(out, "WEBP", quality=80)
        return out.getvalue()


def _eight_bits(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something is transparent; 16-bit grey is scaled instead of clipped."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
