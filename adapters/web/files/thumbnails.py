"""Small pictures for the posts, made from what strangers upload. Slow and hostile: `previews` runs it in processes."""

from __future__ import annotations

import io

from inference.api import BadImage
from inference.processes.worker import Unusable
from inference.tasks.media.pictures import decode

EDGE_PX = 320


def thumbnail(data: bytes) -> bytes:
    """A WebP of at most 320 x 320 pixels, upright, of the first frame. Raises Unusable."""
    try:
        small = decode(data, EDGE_PX, layers=True)
    except BadImage as error:
        raise Unusable(error.why) from error
    out = io.BytesIO()
    small.save(out, "WEBP", quality=80)
    return out.getvalue()
